import { setTimeout as delay } from "node:timers/promises";
import type { RunningPart } from "./processes.ts";

export interface Supervised<T extends RunningPart> {
  /** The process of this moment; the last one while a new one is being started. */
  readonly now: T;
  /** Ends it for good. */
  stop(): Promise<void>;
}

export interface SupervisionOptions {
  readonly name: string;
  readonly say: (line: string) => void;
  /** What the process said last, for the line that tells of its death. */
  readonly lastWords: () => string;
}

/** A life as long as this shows that the part runs, and its earlier deaths are forgotten. */
const goodLifeMs = 60_000;
const pauseMsMax = 15_000;
const deathsToShout = 4;

/** Starts a part and starts it again whenever it ends by itself. A first start that fails is the caller's to report; later ones are tried again, more and more slowly. */
export async function supervise<T extends RunningPart>(begin: () => Promise<T>, options: SupervisionOptions): Promise<Supervised<T>> {
  let now = await begin();
  const stopped = new AbortController();

  const watch = async () => {
    let deaths = 0;
    for (;;) {
      const startedAt = performance.now();
      const { code, signal } = await now.exited;
      if (stopped.signal.aborted) return;
      deaths = performance.now() - startedAt > goodLifeMs ? 1 : deaths + 1;
      options.say(`${options.name} ended (${signal ?? `exit ${code}`}${signal === "SIGKILL" ? "" : `, ${options.lastWords()}`}); starting it again`);
      deaths = await beginAgain(deaths);
      if (stopped.signal.aborted) return;
      options.say(`${options.name} runs again`);
    }
  };
  const beginAgain = async (before: number): Promise<number> => {
    for (let deaths = before; ; deaths += 1) {
      if (deaths >= deathsToShout)
        options.say(`${options.name} KEEPS DYING (${deaths} times): ${options.lastWords()}. What depends on it stands still.`);
      await delay(pauseAfter(deaths), undefined, { signal: stopped.signal }).catch(() => {});
      if (stopped.signal.aborted) return deaths;
      try {
        now = await begin();
        if (stopped.signal.aborted) await now.stop();
        return deaths;
      } catch (error) {
        options.say(`${options.name} could not be started: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
      }
    }
  };

  const watching = watch();
  return {
    get now() {
      return now;
    },
    stop: async () => {
      stopped.abort();
      await now.stop();
      await watching;
    },
  };
}

/** The first death is answered almost at once; a part that dies again and again must not eat the machine. */
function pauseAfter(deaths: number): number {
  return Math.min(100 * 3 ** (deaths - 1), pauseMsMax);
}
