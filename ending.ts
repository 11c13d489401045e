import type { Logger } from "./logging.ts";

/** The end of a process: what is done for it in order, and the time after which it has ended, whatever hangs. */
export interface Ending {
  /** From now on the time runs. Safe to call twice. */
  begin(): void;
  /** Names what has to be over before the process may end; returns it. */
  awaits<Result>(name: string, work: Promise<Result>): Promise<Result>;
  /** One step: it fails, or is not over so long after the beginning, and the next one has its turn all the same. */
  step(name: string, byMs: number, work: () => Promise<unknown>): Promise<void>;
  /** All is done: the process may live on, as a test's does. */
  over(): void;
}

export interface EndingOptions {
  readonly log: Logger;
  /** After this time the process ends by force, with a line that names what was under way. */
  readonly withinMs: number;
  /** What else is under way, by name. */
  readonly alsoUnderWay?: () => readonly string[];
  readonly exit?: (code: number) => void;
}

/**
 * Whoever stops a process waits for so long and no longer. A line that has died swallows even the good-bye that closing a connection waits for, so no
 * step is waited for without a bound, and the last bound is the process's own.
 */
export function createEnding({ log, withinMs, alsoUnderWay = () => [], exit = process.exit }: EndingOptions): Ending {
  const names = new Map<symbol, string>();
  let beganAt: number | undefined;
  let deadline: NodeJS.Timeout | undefined;

  function begin(): void {
    if (beganAt !== undefined) return;
    beganAt = performance.now();
    deadline = setTimeout(() => {
      log.error({ underWay: [...names.values(), ...alsoUnderWay()] }, `not ended within ${withinMs} ms: the process is broken off`);
      exit(1);
    }, withinMs).unref();
  }

  async function awaits<Result>(name: string, work: Promise<Result>): Promise<Result> {
    const key = Symbol(name);
    names.set(key, name);
    try {
      return await work;
    } finally {
      names.delete(key);
    }
  }

  async function step(name: string, byMs: number, work: () => Promise<unknown>): Promise<void> {
    begin();
    const done = awaits(name, (async () => work())()).then(
      () => true,
      (error: unknown) => {
        log.warn({ step: name, error: error instanceof Error ? error.name : "unknown" }, "a step of the process's end failed");
        return true;
      },
    );
    const overdue = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => overdue.resolve(false), byMs - (performance.now() - (beganAt ?? 0)));
    const isDone = await Promise.race([done, overdue.promise]);
    clearTimeout(timer);
    if (!isDone) log.warn({ step: name, underWay: alsoUnderWay() }, "a step of the process's end is not waited for any longer");
  }

  return { begin, awaits, step, over: () => clearTimeout(deadline) };
}
