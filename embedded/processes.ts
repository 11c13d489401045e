import { type ChildProcess, execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A part that runs as a process of its own. */
export interface RunningPart {
  readonly pid: number;
  /** Settles when the process has ended, whoever ended it. */
  readonly exited: Promise<Exit>;
  /** Asks it to end, and ends it by force if it does not. Safe to call twice. */
  stop(): Promise<void>;
}

/** A start that failed for a reason the reader can act on: its message is printed as it stands, without a stack. */
export class StartError extends Error {
  override readonly name = "StartError";
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** The command line of a process, or undefined when there is none: tells our own leftovers from a stranger that got the same pid. */
export function commandLine(pid: number): string | undefined {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim() || undefined;
    return execFileSync("ps", ["-p", String(pid), "-o", "command="], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Sends a signal and ignores that the process may be gone already. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Ends a process that is not our child: asks first, then insists. */
export async function endProcess(pid: number, ask: NodeJS.Signals, patienceMs: number): Promise<void> {
  signal(pid, ask);
  if (await isGone(pid, patienceMs)) return;
  signal(pid, "SIGKILL");
  if (!(await isGone(pid, 5_000))) throw new StartError(`process ${pid} does not end; end it by hand (kill -9 ${pid}) and start again`);
}

export function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once("exit", (code, exitSignal) => resolve({ code, signal: exitSignal }));
    child.once("error", () => resolve({ code: child.exitCode, signal: child.signalCode }));
  });
}

/** Wraps a child: `ask` is the signal that it takes as a request to end in order. */
export function runningPart(child: ChildProcess, ask: NodeJS.Signals, patienceMs: number): RunningPart {
  const { pid } = child;
  if (pid === undefined) throw new StartError(`cannot start ${child.spawnfile}`);
  const exited = exitOf(child);
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    child.kill(ask);
    const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
    await exited;
    clearTimeout(timer);
  };
  return {
    pid,
    exited,
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}

async function isGone(pid: number, patienceMs: number): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (isAlive(pid)) {
    if (performance.now() > deadline) return false;
    await delay(20);
  }
  return true;
}

/** A process that has ended but was not waited for still takes signals; it holds no port and no file. */
function isZombie(pid: number): boolean {
  if (process.platform !== "linux") return false;
  try {
    return /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
