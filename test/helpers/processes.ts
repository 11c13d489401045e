import { readdirSync, readFileSync } from "node:fs";
import { afterAll, afterEach } from "vitest";
import { readyMessage, spawnEntryPoint } from "../../embedded/entry-point.ts";
import { type Exit, exitOf } from "../../embedded/processes.ts";

export interface SpawnedProcess extends AsyncDisposable {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** What it has written so far. */
  logs(): string;
  /** Sends the signal and waits until the process has ended. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
}

export interface SpawnedApi extends SpawnedProcess {
  readonly port: number;
  /** Without a slash at its end. */
  readonly url: string;
}

/** In characters, at the end: enough for the whole of a short test at the level trace. */
const logsMax = 5_000_000;

type Env = Readonly<Record<string, string | undefined>>;

/** Runs the real worker as a process of its own; resolves when it polls. End it in the test; what is left over ends with the file. */
export async function spawnWorker(env: Env): Promise<SpawnedProcess> {
  return (await spawnReady("workers/worker.ts", env)).process;
}

/** Runs the real API as a process of its own, on a free port unless told otherwise; resolves when it listens. */
export async function spawnApi(env: Env): Promise<SpawnedApi> {
  const { process: api, ready } = await spawnReady("api/server.ts", { EVERPOST_API_PORT: "0", ...env });
  const port = Number(ready.port);
  return { ...api, port, url: `http://127.0.0.1:${port}` };
}

/** Runs any entry point that says when it is ready. */
export async function spawnReady(
  file: string,
  env: Env,
  timeoutMs = 180_000,
): Promise<{ process: SpawnedProcess; ready: Readonly<Record<string, unknown>> }> {
  const child = spawnEntryPoint(file, { env: { ...process.env, ...env }, output: "pipe" });
  const exited = exitOf(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      text = (text + chunk).slice(-logsMax);
    });
  }
  const kill = async (signal: NodeJS.Signals = "SIGTERM") => {
    child.kill(signal);
    return exited;
  };
  const spawned: SpawnedProcess = {
    pid: child.pid ?? -1,
    exited,
    logs: () => text,
    kill,
    [Symbol.asyncDispose]: async () => void (await endPatiently(spawned)),
  };
  running.set(spawned, file);
  void exited.then(() => ended.add(spawned));

  const { promise, resolve, reject } = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  child.on("message", (message) => {
    const ready = readyMessage(message);
    if (ready !== undefined) resolve(ready);
  });
  void exited.then(({ code, signal }) => reject(new Error(`${file} ended (${signal ?? code}) before it was ready:\n${lastLines(text)}`)));
  const timer = setTimeout(() => reject(new Error(`${file} was not ready after ${timeoutMs} ms:\n${lastLines(text)}`)), timeoutMs);
  try {
    return { process: spawned, ready: await promise };
  } catch (error) {
    await kill("SIGKILL");
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Workers promise to end within 25 seconds of SIGTERM; a machine with too much to do may take longer to let them. */
const endsWithinMs = 120_000;

/** Asks all of them to end, and waits until they have. Whoever has not by then is killed, and named by the failure. */
export async function endAll(processes: readonly SpawnedProcess[], withinMs = endsWithinMs): Promise<void> {
  const left = new Set(processes);
  const all = Promise.all(processes.map((one) => one.kill("SIGTERM").then(() => left.delete(one))));
  const overdue = Promise.withResolvers<void>();
  const timer = setTimeout(overdue.resolve, withinMs);
  await Promise.race([all, overdue.promise]);
  clearTimeout(timer);
  if (left.size === 0) return;
  const words = [...left].map((one) => `--- ${running.get(one)}, process ${one.pid}, last lines ---\n${lastLines(one.logs())}`);
  await Promise.all([...left].map((one) => one.kill("SIGKILL")));
  throw new Error(`${words.length} processes had not ended ${withinMs} ms after SIGTERM:\n${words.join("\n")}`);
}

const running = new Map<SpawnedProcess, string>();
const ended = new Set<SpawnedProcess>();

afterEach((context) => {
  if (context.task.result?.state !== "fail") return;
  for (const [spawned, file] of running) console.error(`--- ${file}, process ${spawned.pid}, last lines ---\n${lastLines(spawned.logs())}`);
});

afterAll(async () => {
  await Promise.all([...running.keys()].filter((spawned) => !ended.has(spawned)).map(endPatiently));
});

async function endPatiently(spawned: SpawnedProcess): Promise<void> {
  if (ended.has(spawned)) return;
  const timer = setTimeout(() => void spawned.kill("SIGKILL"), 20_000);
  await spawned.kill("SIGTERM");
  clearTimeout(timer);
}

function lastLines(text: string): string {
  return text.trim().split("\n").slice(-40).join("\n");
}

/**
 * The processes below one. Dovecot is many: without their master they live on for a while as half a server; a machine that loses power loses all.
 */
export function descendants(root: number): readonly number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), parent: parentOf(Number(name)) }));
  const found = [root];
  for (const pid of found) found.push(...parents.filter(({ parent }) => parent === pid).map((child) => child.pid));
  return found.slice(1);
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/\) \S+ (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}
