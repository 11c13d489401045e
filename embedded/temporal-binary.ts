import { execFile } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { buildWithGo, cacheDir, type Environment, executableOnPath, madeOnce, type Say } from "./go-build.ts";
import { StartError } from "./processes.ts";

/** The Temporal CLI that tools/temporal pins; its development server is server 1.31.2. */
export const temporalCliVersion = "1.8.2";

export interface TemporalBinary {
  readonly path: string;
  /** Where it came from, in words for the terminal. */
  readonly source: string;
}

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

  return madeOnce(env, say, async () => {
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

/** Half a second of work, which is long where everything else works as well; what is taken for broken is made anew, for minutes. */
const versionTimeoutMs = 120_000;

/** What `temporal --version` answers, or undefined when this is not a Temporal CLI that runs here. */
export async function versionOf(path: string): Promise<string | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const { stdout } = await promisify(execFile)(path, ["--version"], { timeout: versionTimeoutMs });
    return /temporal version (\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
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
  await buildWithGo(
    {
      module: "tools/temporal",
      what: `the Temporal server ${temporalCliVersion}`,
      packages: ["github.com/temporalio/cli/cmd/temporal"],
      linkFlags: `-X github.com/temporalio/cli/internal/temporalcli.Version=${temporalCliVersion}`,
      outDir: work,
    },
    env,
    say,
  );
  const made = join(work, "temporal");
  if ((await versionOf(made)) === undefined) throw new Error("what was built does not run here");
  return made;
}

function withTimeout<T>(promise: Promise<T>, ms: number, message: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(message)), ms);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
