import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";

/**
 * Takes a lock file, whose text is our pid. A lock whose holder is gone is taken over; of several that see so at once, one wins. Returns the
 * holder's text when the lock is held.
 */
export function takeLock(file: string, isHolder: (pid: number) => boolean): { readonly heldBy: string } | undefined {
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: "wx", mode: 0o600 });
      return undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = read(file);
    if (holder === undefined) continue;
    // Between its creation and its first write a lock is empty: its maker gets a moment.
    const isHeld = holder.text === "" ? holder.ageMs < 2_000 : Number(holder.text) !== process.pid && isHolder(Number(holder.text));
    if (isHeld) return { heldBy: holder.text };
    putAside(file, holder.text);
  }
}

/** Lets go, unless someone else holds it by now. */
export function releaseLock(file: string): void {
  if (read(file)?.text === String(process.pid)) rmSync(file, { force: true });
}

/** Deleting would race: another process may have taken the lock over since it was read. A rename takes one definite file, which is looked at again. */
function putAside(file: string, stale: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (readFileSync(aside, "utf8").trim() !== stale) {
    try {
      linkSync(aside, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  rmSync(aside, { force: true });
}

function read(file: string): { readonly text: string; readonly ageMs: number } | undefined {
  try {
    return { text: readFileSync(file, "utf8").trim(), ageMs: Date.now() - statSync(file).mtimeMs };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
