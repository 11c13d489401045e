import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { releaseLock, takeLock } from "./lock.ts";
import { commandLine, StartError } from "./processes.ts";

/** Makes the directory that everything lives in. Others may pass through but not look around: as root, PostgreSQL runs as nobody. */
export function makeDataDir(dir: string): void {
  try {
    mkdirSync(join(dir, "logs"), { recursive: true, mode: 0o700 });
    chmodSync(dir, 0o711);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(`the data directory ${dir} cannot be used (${reason}): set EVERPOST_DATA_DIR to another one`);
  }
}

/** Keeps a second copy out of the same data. A lock whose holder is gone, or is another program by now, is taken over. Returns how to let go. */
export function lockDataDir(dir: string): () => void {
  const file = join(dir, "pid");
  const held = takeLock(file, (pid) => /\bstart\.(ts|js)\b/.test(commandLine(pid) ?? ""));
  if (held === undefined) return () => releaseLock(file);
  throw new StartError(
    `Everpost already runs on ${dir} (process ${held.heldBy}): stop it first, or set EVERPOST_DATA_DIR and the ports for a second one`,
  );
}

/** A secret that is made once and kept beside the data, readable by its owner only. */
export function keptSecret(dir: string, name: string, make: () => string = () => randomBytes(24).toString("base64url")): string {
  const file = join(dir, name);
  const kept = readIfThere(file)?.trim();
  if (kept !== undefined && kept !== "") return kept;
  const secret = make();
  keep(dir, name, secret);
  return secret;
}

/** Writes a private file whole or not at all. */
export function keep(dir: string, name: string, text: string): void {
  const file = join(dir, name);
  writeFileSync(`${file}.new`, `${text}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

export function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}
