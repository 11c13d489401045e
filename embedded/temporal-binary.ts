import { execFile, spawn } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { releaseLock, takeLock } from "./lock.ts";
import { commandLine, StartError } from "./processes.ts";

/** The Temporal CLI that tools/temporal pins; its development server is server 1.31.2. */
export const temporalCliVersion = "1.8.2";

export interface TemporalBinary {
  readonly path: string;
  /** Where it came from, in words for the terminal. */
  readonly source: string;
}

type Say = (line: string) => void;
type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Finds a `temporal` that can run a development server: the one named by EVERPOST_TEMPORAL_CLI or on PATH, the cached one, the official
 * download, and last a build from source through the Go module proxy. The last two end up in the cache, so they happen once per machine.
 */
export async function findTemporalBinary(env: Environment, say: Say): Promise<TemporalBinary> {
  const named = env.EVERPOST_TEMPORAL_CLI;
  if (named !== undefined && named !== "") {
    const path = resolve(named);
    if ((await versionOf(path)) === undefined) throw new StartError(`EVERPOST_TEMPORAL_CLI names ${path}, which is no Temporal CLI that runs here`);
    return { path, source: "EVERPOST_TEMPORAL_CLI" };
  }
  const onPath = executableOnPath("temporal", env);
  if (onPath !== undefined && (await versionOf(onPath)) !== undefined) return { path: onPath, source: "PATH" };

  const cached = join(cacheDir(env), `temporal-${temporalCliVersion}${process.platform === "win32" ? ".exe" : ""}`);
  if ((await versionOf(cached)) !== undefined) return { path: cached, source: "the cache" };

  return withLock(join(cacheDir(env), "making.lock"), say, async () => {
    if ((await versionOf(cached)) !== undefined) return { path: cached, source: "the cache" };
    const work = join(cacheDir(env), `making-${process.pid}`);
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work, { recursive: true });
    try {
      const reasons: string[] = [];
      for (const [source, make] of [
        ["the official download", download],
        ["a build of tools/temporal", build],
      ] as const) {
        const made = await make(work, env, say).catch((error: unknown) => {
          reasons.push(`${source}: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
          return undefined;
        });
        if (made === undefined) continue;
        // A rename within one directory is atomic: nobody ever sees half a binary.
        renameSync(made, cached);
        return { path: cached, source };
      }
      throw new StartError(
        `No Temporal server could be found or made (${reasons.join("; ")}). Install the Temporal CLI (https://docs.temporal.io/cli) or Go, or set TEMPORAL_ADDRESS or EVERPOST_TEMPORAL_CLI`,
      );
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  });
}

/** What `temporal --version` answers, or undefined when this is not a Temporal CLI that runs here. */
export async function versionOf(path: string): Promise<string | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const { stdout } = await promisify(execFile)(path, ["--version"], { timeout: 20_000 });
    return /temporal version (\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

function cacheDir(env: Environment): string {
  const base = env.XDG_CACHE_HOME !== undefined && env.XDG_CACHE_HOME !== "" ? env.XDG_CACHE_HOME : join(env.HOME ?? homedir(), ".cache");
  return join(base, "everpost", "temporal");
}

function executableOnPath(name: string, env: Environment): string | undefined {
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

async function download(work: string, env: Environment, say: Say): Promise<string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const arch = process.arch === "x64" ? "amd64" : process.arch;
  const base = env.EVERPOST_TEMPORAL_DOWNLOAD_URL ?? "https://temporal.download/cli/archive";
  // Where the internet is closed a connection hangs or is refused; neither may keep anyone waiting for long. A slow transfer may.
  const reachable = new AbortController();
  const timer = setTimeout(() => reachable.abort(new Error("no answer within 8 s")), 8_000);
  const response = await fetch(`${base}/v${temporalCliVersion}?platform=${platform}&arch=${arch}`, { signal: reachable.signal }).finally(() =>
    clearTimeout(timer),
  );
  if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`);
  say(`downloading the Temporal CLI ${temporalCliVersion} (about 50 MB, once)`);
  const archive = join(work, "archive");
  writeFileSync(archive, Buffer.from(await withTimeout(response.arrayBuffer(), 300_000, "the download takes longer than five minutes")));
  await promisify(execFile)("tar", ["-xf", archive, "-C", work]);
  const made = join(work, process.platform === "win32" ? "temporal.exe" : "temporal");
  if ((await versionOf(made)) === undefined) throw new Error("what was downloaded does not run here");
  return made;
}

async function build(work: string, env: Environment, say: Say): Promise<string> {
  const go = executableOnPath("go", { ...env, PATH: [env.PATH ?? "", "/usr/local/go/bin"].join(delimiter) });
  if (go === undefined) throw new Error("no `go` on PATH");
  const made = join(work, "temporal");
  // Our own caches, so that the 3 GB which the build leaves can be deleted; they stay after a failure, for the next try to go on from.
  const caches = join(cacheDir(env), "go");
  const flags = `-s -w -X github.com/temporalio/cli/internal/temporalcli.Version=${temporalCliVersion}`;
  const started = performance.now();
  const report = () =>
    say(
      `building the Temporal server ${temporalCliVersion} from source, once; it takes two to four minutes (${Math.round((performance.now() - started) / 1000)} s)`,
    );
  report();
  const ticker = setInterval(report, 15_000);
  try {
    await run(go, ["build", "-trimpath", "-ldflags", flags, "-o", made, "github.com/temporalio/cli/cmd/temporal"], {
      cwd: resolve(import.meta.dirname, "..", "tools", "temporal"),
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
  if ((await versionOf(made)) === undefined) throw new Error("what was built does not run here");
  rmSync(caches, { recursive: true, force: true });
  return made;
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

/** One maker at a time on this machine; the others wait, then find the result in the cache. A lock whose holder is gone is taken over. */
async function withLock<T>(lock: string, say: Say, work: () => Promise<T>): Promise<T> {
  mkdirSync(resolve(lock, ".."), { recursive: true });
  for (let waited = 0; takeLock(lock, (pid) => commandLine(pid) !== undefined) !== undefined; waited += 500) {
    if (waited % 15_000 === 0) say(`another process is getting the Temporal server; waiting for it (${Math.round(waited / 1000)} s)`);
    if (waited > 1_200_000) throw new StartError(`another process has been getting the Temporal server for 20 minutes; if it hangs, delete ${lock}`);
    await delay(500);
  }
  try {
    return await work();
  } finally {
    releaseLock(lock);
  }
}

function withTimeout<T>(promise: Promise<T>, ms: number, message: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(message)), ms);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
