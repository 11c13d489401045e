import type { AttemptResult, DueDelivery } from "../db/webhook-deliveries.ts";

/** What became of one attempt, for its lane: it goes on, it waits, or the whole drain ends. */
export interface Attempted {
  readonly result: AttemptResult;
  readonly next: "go on" | "block lane" | "stop";
}

export interface Claimed {
  readonly due: readonly DueDelivery[];
  /** More was due than one claim may bring. */
  readonly isMore: boolean;
}

export interface DrainOptions {
  /** Due deliveries of lanes behind `afterLane` that are not busy, in order within each lane. */
  readonly claim: (afterLane: string, busyLanes: readonly string[]) => Promise<Claimed>;
  readonly attempt: (delivery: DueDelivery) => Promise<Attempted>;
  /** Writes results down, many at a time. */
  readonly record: (results: readonly AttemptResult[]) => Promise<void>;
  /** Lanes that are worked on at once. */
  readonly lanesMax: number;
  /** How often to look for work again while some lanes are still busy. */
  readonly lookAgainMs: number;
  /** From then on nothing new begins; what is under way is finished. */
  readonly stop: AbortSignal;
}

/**
 * Delivers everything that is due: lanes beside each other, each lane in its order, the next delivery of a lane as soon as the one before has
 * succeeded. A lane that waits for a slow receiver holds its own slot only. What was done is written down while the rest goes on; a lane is claimed
 * anew only when its results are written. Resolves when nothing was due at the last look, or after `stop`.
 */
export async function drainLanes(options: DrainOptions): Promise<{ readonly isDrained: boolean }> {
  const { claim, lanesMax, lookAgainMs, stop } = options;
  const recorder = createRecorder(options.record);
  const busy = new Map<string, Promise<void>>();
  const waiting: (readonly DueDelivery[])[] = [];
  let failure: { readonly error: unknown } | undefined;
  let isStopped = false;
  let afterLane = "";
  /** All that was due at the last look is done or under way. */
  let hasSeenAll = false;

  const runLane = async (lane: string, deliveries: readonly DueDelivery[]): Promise<void> => {
    let written: Promise<void> | undefined;
    try {
      for (const delivery of deliveries) {
        if (isStopped || stop.aborted) break;
        const { result, next } = await options.attempt(delivery);
        written = recorder.push(result);
        // Seen at once by whoever awaits it below; until then a failing database must not become an unhandled rejection.
        written.catch(() => {});
        if (next === "stop") isStopped = true;
        if (next !== "go on") break;
      }
      await written;
    } catch (error) {
      isStopped = true;
      failure ??= { error };
    } finally {
      busy.delete(lane);
    }
  };

  try {
    while (failure === undefined) {
      while (busy.size < lanesMax && waiting.length > 0 && !isStopped && !stop.aborted) {
        const deliveries = waiting.shift() ?? [];
        const lane = deliveries[0]?.lane ?? "";
        busy.set(lane, runLane(lane, deliveries));
      }
      const mayClaim = waiting.length === 0 && busy.size < lanesMax && !isStopped && !stop.aborted;
      if (mayClaim && !hasSeenAll) {
        const { due, isMore } = await claim(afterLane, [...busy.keys()]);
        waiting.push(...byLane(due));
        // A look that began in the middle has not seen what came to the lanes before.
        hasSeenAll = !isMore && afterLane === "";
        afterLane = isMore ? (due.at(-1)?.lane ?? "") : "";
      } else if (busy.size === 0) {
        break;
      } else {
        await Promise.race([...busy.values(), ...(mayClaim ? [after(lookAgainMs)] : [])]);
        hasSeenAll = false;
      }
    }
  } catch (error) {
    isStopped = true;
    throw error;
  } finally {
    await Promise.allSettled(busy.values());
    await recorder.settled();
  }
  // A lane may have broken during the last look.
  if (failure !== undefined) throw failure.error;
  return { isDrained: !isStopped && !stop.aborted };
}

/** Splits what is ordered by lane. */
function byLane(deliveries: readonly DueDelivery[]): (readonly DueDelivery[])[] {
  return [...Map.groupBy(deliveries, ({ lane }) => lane).values()];
}

/** Writes one batch at a time; what comes meanwhile is the next batch, so that a busy drain needs few statements and a quiet one does not wait. */
function createRecorder(record: (results: readonly AttemptResult[]) => Promise<void>) {
  let gathered: AttemptResult[] = [];
  let next: Promise<void> | undefined;
  let last: Promise<void> = Promise.resolve();
  return {
    push(result: AttemptResult): Promise<void> {
      gathered.push(result);
      next ??= last = last
        .catch(() => {})
        .then(() => {
          const batch = gathered;
          gathered = [];
          next = undefined;
          return record(batch);
        });
      return next;
    },
    settled: () => last.catch(() => {}),
  };
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
