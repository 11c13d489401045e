import { Context } from "@temporalio/activity";

/** Well below the heartbeat timeouts of workflows/proxies.ts: a worker that died is noticed, and its work done elsewhere, within seconds. */
const everyMs = 3_000;

/** Runs an activity's work while saying that somebody is at it, which is also how it hears of cancellations. `details` are shown to operators. */
export async function withHeartbeat<Result>(work: () => Promise<Result>, details: () => unknown = () => undefined): Promise<Result> {
  const context = Context.current();
  const beat = setInterval(() => context.heartbeat(details()), everyMs);
  try {
    return await work();
  } finally {
    clearInterval(beat);
  }
}
