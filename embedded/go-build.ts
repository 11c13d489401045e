import { spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, rmSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { releaseLock, takeLock } from "./lock.ts";
import { commandLine, StartError } from "./processes.ts";

export type Say = (line: string) => void;
export type Environment = Readonly<Record<string, string | undefined>>;

export interface GoBuild {
  /** The folder of a Go module of its own, with go.mod and go.sum, seen from the root of the sources. */
  readonly module: string;
  /** What comes out, in words for the terminal. */
  readonly what: string;
  /** What is built of it; each ends up in `outDir` under the last part of its name. */
  readonly packages: readonly string[];
  readonly linkFlags?: string;
  readonly outDir: string;
}

/** Where what was made once is kept for every checkout on this machine. */
export function cacheDir(env: Environment): string {
  const base = env.XDG_CACHE_HOME !== undefined && env.XDG_CACHE_HOME !== "" ? env.XDG_CACHE_HOME : join(env.HOME ?? homedir(), ".cache");
  return join(base, "everpost", "temporal");
}

/** Builds programs from source through the Go module proxy. Its caches are ours and go afterwards: they are gigabytes. */
export async function buildWithGo({ module, what, packages, linkFlags = "", outDir }: GoBuild, env: Environment, say: Say): Promise<void> {
  const go = executableOnPath("go", { ...env, PATH: [env.PATH ?? "", "/usr/local/go/bin"].join(delimiter) });
  if (go === undefined) throw new Error("no `go` on PATH");
  // They stay after a failure, for the next try to go on from.
  const caches = join(cacheDir(env), `go-${basename(module)}`);
  const started = performance.now();
  const report = () =>
    say(`building ${what} from source, once; it takes two to four minutes (${Math.round((performance.now() - started) / 1000)} s)`);
  report();
  const ticker = setInterval(report, 15_000);
  try {
    await run(go, ["build", "-trimpath", "-ldflags", `-s -w ${linkFlags}`.trim(), "-o", `${outDir}/`, ...packages], {
      cwd: resolve(import.meta.dirname, "..", module),
      env: {
        ...env,
        CGO_ENABLED: "0",
        GOFLAGS: "-mod=readonly -modcacherw",
        GOWORK: "off",
        GOMODCACHE: join(caches, "mod"),
        GOCACHE: join(caches, "build"),
      },
    });
  } finally {
    clearInterval(ticker);
  }
  rmSync(caches, { recursive: true, force: true });
}

/** One maker of a thing at a time on this machine; the others wait, then find it in the cache. A lock whose holder is gone is taken over. */
export async function madeOnce<T>(env: Environment, say: Say, work: () => Promise<T>, thing = "the Temporal server"): Promise<T> {
  const lock = join(cacheDir(env), `making-${thing.replaceAll(/\W+/g, "-")}.lock`);
  mkdirSync(resolve(lock, ".."), { recursive: true });
  for (let waited = 0; takeLock(lock, (pid) => commandLine(pid) !== undefined) !== undefined; waited += 500) {
    if (waited % 15_000 === 0) say(`another process is getting ${thing}; waiting for it (${Math.round(waited / 1000)} s)`);
    if (waited > 1_200_000) throw new StartError(`another process has been getting ${thing} for 20 minutes; if it hangs, delete ${lock}`);
    await delay(500);
  }
  try {
    return await work();
  } finally {
    releaseLock(lock);
  }
}

export function executableOnPath(name: string, env: Environment): string | undefined {
  const file = process.platform === "win32" ? `${name}.exe` : name;
  return (env.PATH ?? "")
    .split(delimiter)
    .filter((dir) => dir !== "")
    .map((dir) => join(dir, file))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function run(file: string, args: readonly string[], options: { cwd: string; env: Environment }): Promise<void> {
  return new Promise((done, reject) => {
    const child = spawn(file, args, { cwd: options.cwd, env: { ...options.env }, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    // The supervisor may be asked to end while this runs for minutes.
    const end = () => child.kill("SIGTERM");
    process.once("exit", end);
    child.once("error", reject);
    child.once("exit", (code) => {
      process.off("exit", end);
      code === 0 ? done() : reject(new Error(said.trim().split("\n").at(-1) ?? `${file} ended with ${code}`));
    });
  });
}
