import { closeSync, openSync } from "node:fs";
import { readyMessage, spawnEntryPoint } from "./entry-point.ts";
import { keepPid } from "./pid-file.ts";
import { type RunningPart, runningPart, StartError } from "./processes.ts";

export interface AppPartOptions {
  readonly name: string;
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFile: string;
  /** Names the process, for the next start to end it should this one be killed. */
  readonly pidFile: string;
  readonly lastWords: () => string;
}

export interface AppPart extends RunningPart {
  /** What it said of itself once it was up. */
  readonly ready: Readonly<Record<string, unknown>>;
}

const readyMsMax = 90_000;

/** Starts one of our programs and waits until it says that it is ready. */
export async function startAppPart(options: AppPartOptions): Promise<AppPart> {
  const log = openSync(options.logFile, "a", 0o600);
  const child = spawnEntryPoint(options.file, { env: options.env, output: log });
  closeSync(log);
  const part = runningPart(child, "SIGTERM", 15_000);
  keepPid(options.pidFile, part);
  const { promise, resolve, reject } = Promise.withResolvers<Readonly<Record<string, unknown>>>();
  child.on("message", (message) => {
    const ready = readyMessage(message);
    if (ready !== undefined) resolve(ready);
  });
  void part.exited.then(({ code, signal }) =>
    reject(new StartError(`${options.name} ended at once (${signal ?? `exit ${code}`}): ${options.lastWords()}; its log is ${options.logFile}`)),
  );
  const timer = setTimeout(
    () => reject(new StartError(`${options.name} was not ready within ${readyMsMax / 1000} s; its log is ${options.logFile}`)),
    readyMsMax,
  );
  try {
    return { ...part, ready: await promise };
  } catch (error) {
    await part.stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
