import { claimSleepingEndpoints } from "../db/events.ts";
import { handOver, listAbandonedEndpoints } from "../db/relay.ts";
import { listStaleAwakeEndpoints } from "../db/webhook-deliveries.ts";
import type { WebhookEndpointId } from "../domain/ids.ts";
import type { Relays } from "./dependencies.ts";
import { nameOf } from "./failures.ts";
import { createDrain, type DrainDependencies } from "./webhooks.ts";

export interface RelayOptions {
  /** This process delivers to endpoints anyway: it may begin with it at once. */
  readonly drainsItself: boolean;
  /** After this time what is left is the relay's. */
  readonly drainMsMax?: number;
  /** Between two looks for endpoints that nobody is at work on, whatever they say. */
  readonly lookForStaleMs?: number;
}

/** How long a process may hold an endpoint: a drain, and the attempts that are under way at its end (webhooks/deliver.ts gives each 15 s). */
const holdMs = 30_000;
/** An attempt that is not over by then is broken off, and repeated by the relay: two must not deliver at once. */
const breakOffMs = 27_000;
/** How often each process looks for endpoints whose holder died: without more events nobody else would. */
const lookForAbandonedMs = 5_000;
/** The same for those that were claimed without being held, or deleted, and whose relay was never signalled. */
const lookForStaleMsDefault = 60_000;
/** Endpoints drained at once; beyond this their relays are signalled, who have slots for it. */
const drainsMax = 50;

/**
 * Wakes the relays of endpoints that sleep. Where this process delivers itself, it does so at once, for a moment: an event of a quiet mailbox needs
 * no signal, no workflow task and no activity. It holds the endpoint meanwhile, so that the relay keeps away, and hands over what is not done by
 * then. Whoever dies on the way leaves a due head that any of them finds.
 */
export function createRelays(
  deps: DrainDependencies,
  { drainsItself, drainMsMax = 3_000, lookForStaleMs = lookForStaleMsDefault }: RelayOptions,
): Relays {
  const { db, signals, log } = deps;
  const underWay = new Set<Promise<void>>();

  function begin(endpointId: WebhookEndpointId): void {
    const done = drain(endpointId).finally(() => underWay.delete(done));
    underWay.add(done);
  }

  async function drain(endpointId: WebhookEndpointId): Promise<void> {
    try {
      const breakOff = AbortSignal.timeout(breakOffMs);
      const drained = await createDrain({ ...deps, runMsMax: drainMsMax }, endpointId, breakOff, holdMs).run();
      if (drained.state === "more") await handOver(db, endpointId);
      // Of what waits for its next attempt the relay has to know; of what waited before it knows.
      if (drained.state === "more" || (drained.failed > 0 && drained.nextDueAt !== null)) await signals.wakeRelay(endpointId);
    } catch (error) {
      log.warn({ endpointId, error: nameOf(error) }, "a delivery was broken off, its relay goes on");
      await signals.wakeRelay(endpointId).catch(() => {});
    }
  }

  async function wakeUnattended(list: typeof listAbandonedEndpoints): Promise<void> {
    try {
      for (const id of await list(db)) await signals.wakeRelay(id);
    } catch (error) {
      log.warn({ error: nameOf(error) }, "endpoints whose holder died could not be looked for");
    }
  }

  function lookEvery(ms: number, list: typeof listAbandonedEndpoints): void {
    const timer = setInterval(() => void wakeUnattended(list), ms).unref();
    deps.draining.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  if (drainsItself) {
    lookEvery(lookForAbandonedMs, listAbandonedEndpoints);
    lookEvery(lookForStaleMs, (connection) => listStaleAwakeEndpoints(connection));
  }

  return {
    async wake(customerId) {
      const mayDrain = drainsItself && underWay.size < drainsMax && !deps.draining.aborted;
      const endpointIds = await claimSleepingEndpoints(db, customerId, mayDrain ? { holdMs } : {});
      if (mayDrain) for (const id of endpointIds) begin(id);
      else await Promise.all(endpointIds.map((id) => signals.wakeRelay(id)));
      return endpointIds.length;
    },
    async settled() {
      await Promise.all(underWay);
    },
  };
}
