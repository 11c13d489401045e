import { Context } from "@temporalio/activity";
import type { Database } from "../db/database.ts";
import { claimSleepingEndpoints } from "../db/events.ts";
import { findMessageTexts } from "../db/message-texts.ts";
import { findNextDue, markRelayAsleep, setFailingSince, startRelay, takeAgain } from "../db/relay.ts";
import type { KeyRing } from "../db/secrets.ts";
import { type AttemptResult, type DueDelivery, forgetDeletedEndpoint, listDueDeliveries, recordAttempts } from "../db/webhook-deliveries.ts";
import { disableWebhookEndpoint, loadRelayEndpoint, openEndpointSecrets, type WebhookEndpointRow } from "../db/webhook-endpoints.ts";
import type { CustomerId, MessageId, WebhookEndpointId } from "../domain/ids.ts";
import { nextRetryDelayMs, type RetrySchedule, webhookRetrySchedule } from "../domain/retry-schedule.ts";
import type { DeliveryOutcome } from "../webhooks/deliver.ts";
import { toldEvent } from "../webhooks/payload.ts";
import { liveSecrets } from "../webhooks/sign.ts";
import type { ActivityDependencies } from "./dependencies.ts";
import { type Attempted, drainLanes } from "./drain-lanes.ts";

export interface DrainDependencies extends Pick<ActivityDependencies, "db" | "keyRing" | "log" | "signals" | "deliverer" | "draining"> {
  /** Tests bring their own figures; the others are right as they are. */
  readonly schedule?: RetrySchedule;
  readonly random?: () => number;
  readonly runMsMax?: number;
}

export interface DrainResult {
  /** `ended`: the endpoint is gone or disabled, and nothing will be due until somebody enables it. */
  readonly state: "asleep" | "more" | "ended";
  readonly customerId: CustomerId | null;
  readonly delivered: number;
  readonly failed: number;
  /** When the next delivery is due, in ms since 1970; null while none is pending. */
  readonly nextDueAt: number | null;
}

export type WebhookActivities = ReturnType<typeof webhookActivities>;

/** Lanes, and so open requests, that one endpoint gets at once. */
const lanesMax = 16;
/** Read ahead so that a slot that becomes free need not wait for the database: bounded by what a payload may weigh. */
const readAhead = { lanesMax: 64, perLaneMax: 32, deliveriesMax: 400 };
/** How soon an event is seen that came while other lanes are held up. */
const lookAgainMs = 100;
/** Well below the heartbeat timeout of workflows/webhook-relay.ts. */
const heartbeatMs = 5_000;
/** Whoever has just taken an endpoint from under a relay has it for no longer. */
const takenMs = 30_000;

export function webhookActivities(deps: DrainDependencies) {
  return {
    /**
     * Delivers what is due at an endpoint, for a minute at most, and says when to come again. A second run beside or after one that died repeats what
     * was not written down, under the same webhook-id, and loses nothing.
     */
    async drainEndpoint({ endpointId }: { readonly endpointId: WebhookEndpointId }): Promise<DrainResult> {
      const context = Context.current();
      const heldMs = await startRelay(deps.db, endpointId);
      // Nothing is known of the customer yet, and nothing is needed: the next drain tells.
      if (heldMs > 0) return { state: "asleep", customerId: null, delivered: 0, failed: 0, nextDueAt: Date.now() + heldMs };
      const drain = createDrain(deps, endpointId, context.cancellationSignal);
      const beat = setInterval(() => context.heartbeat(drain.counts()), heartbeatMs);
      try {
        return await drain.run();
      } catch (error) {
        // A run that was told to stop says so to Temporal, whatever it broke off.
        if (context.cancellationSignal.aborted) await context.cancelled;
        throw error;
      } finally {
        clearInterval(beat);
      }
    },
  };
}

/** Delivers what is due at an endpoint that is marked as awake, by whoever did so; with `holdMs`, by a process that holds it for that long. */
export function createDrain(deps: DrainDependencies, endpointId: WebhookEndpointId, cancelled: AbortSignal, holdMs: number | null = null) {
  const { db } = deps;
  let delivered = 0;
  let failed = 0;
  let disabledBecause: string | undefined;

  const result = (state: DrainResult["state"], customerId: CustomerId | null, nextDueAt: number | null): DrainResult => {
    return { state, customerId, delivered, failed, nextDueAt };
  };

  async function run(): Promise<DrainResult> {
    const stop = AbortSignal.any([cancelled, deps.draining, AbortSignal.timeout(deps.runMsMax ?? 60_000)]);
    for (;;) {
      const endpoint = await loadRelayEndpoint(db, endpointId);
      if (endpoint === undefined) return result("ended", null, null);
      if (endpoint.deleted_at !== null) return forget(endpoint, stop);
      if (!endpoint.is_enabled) return leave(endpoint);
      const { isDrained } = await drainOnce(endpoint, stop);
      cancelled.throwIfAborted();
      if (disabledBecause !== undefined) {
        await disable(endpoint, disabledBecause);
        return result("ended", endpoint.customer_id, null);
      }
      if (!isDrained && stop.aborted) return result("more", endpoint.customer_id, Date.now());
      // Asleep first, looking second: an event that was committed too late for this look finds the relay asleep and wakes it.
      await markRelayAsleep(db, endpointId);
      const due = await findNextDue(db, endpointId);
      if (due === null || due.getTime() > Date.now()) return result("asleep", endpoint.customer_id, due?.getTime() ?? null);
      if (!(await takeAgain(db, endpointId, holdMs))) return result("asleep", endpoint.customer_id, Date.now() + takenMs);
      if (stop.aborted) return result("more", endpoint.customer_id, Date.now());
    }
  }

  async function drainOnce(endpoint: WebhookEndpointRow, stop: AbortSignal): Promise<{ readonly isDrained: boolean }> {
    const failing = createFailing(db, endpoint);
    let current = withSecrets(deps.keyRing, endpoint);
    let texts: ReadonlyMap<MessageId, string> = new Map();
    let isFirst = true;
    return drainLanes({
      lanesMax,
      lookAgainMs,
      stop,
      async claim(afterLane, busyLanes) {
        // Settings, secrets and the switch itself may have changed since the last look.
        const row = isFirst ? endpoint : await loadRelayEndpoint(db, endpointId);
        if (row === undefined || row.deleted_at !== null || !row.is_enabled) return { due: [], isMore: false };
        if (!isFirst) current = withSecrets(deps.keyRing, row);
        isFirst = false;
        const due = await listDueDeliveries(db, endpointId, { ...readAhead, afterLane, busyLanes });
        if (row.includes_text) texts = new Map([...texts, ...(await readTexts(db, due))]);
        return { due, isMore: mayBeMore(due) };
      },
      async attempt(delivery) {
        const at = new Date().toISOString();
        const messageId = messageIdOf(delivery);
        const text = current.includesText && messageId !== undefined ? texts.get(messageId) : undefined;
        const outcome = await deps.deliverer.deliver({
          url: current.url,
          id: delivery.event.id,
          body: JSON.stringify(toldEvent(delivery.event, text)),
          secrets: current.secrets,
          signal: cancelled,
        });
        failing.note(outcome, at);
        return judge(delivery, outcome, at, failing.since());
      },
      async record(results) {
        await recordAttempts(db, results);
        await failing.save();
      },
    });
  }

  function judge(delivery: DueDelivery, outcome: DeliveryOutcome, at: string, failingSince: string | null): Attempted {
    const { id } = delivery;
    const attempt = { at, durationMs: outcome.durationMs, status: outcome.status, error: outcome.error };
    if (outcome.kind === "delivered") {
      delivered++;
      return { result: { id, attempt, state: "delivered" }, next: "go on" };
    }
    failed++;
    const waiting = (ms: number): AttemptResult => ({ id, attempt, state: "pending", nextAttemptAt: new Date(Date.now() + ms).toISOString() });
    if (outcome.kind === "gone") {
      disabledBecause = "It answered 410 Gone.";
      return { result: waiting(0), next: "stop" };
    }
    const delayMs = nextRetryDelayMs(
      deps.schedule ?? webhookRetrySchedule,
      delivery.attemptCount + 1,
      (deps.random ?? Math.random)(),
      outcome.kind === "retry" ? outcome.retryAfterMs : undefined,
    );
    if (delayMs !== undefined) return { result: waiting(delayMs), next: "block lane" };
    if (failingSince === null || failingSince > (delivery.firstAttemptAt ?? at)) {
      // Others arrived while this one failed: it is this event that the receiver does not take, and its lane goes on without it.
      return { result: { id, attempt, state: "failed" }, next: "go on" };
    }
    disabledBecause = `Nothing arrived since ${failingSince}; the last attempt: ${outcome.error}.`;
    return { result: waiting(0), next: "stop" };
  }

  async function disable(endpoint: WebhookEndpointRow, because: string): Promise<void> {
    const reason = `${because} Repair the receiver, then call POST /v1/webhook-endpoints/${endpoint.id}/enable: what is pending is delivered.`;
    await db.transaction().execute((trx) => disableWebhookEndpoint(trx, endpoint, reason));
    deps.log.warn({ endpointId: endpoint.id, customerId: endpoint.customer_id }, "a webhook endpoint was disabled");
    const woken = await claimSleepingEndpoints(db, endpoint.customer_id);
    await Promise.all(woken.map((id) => deps.signals.wakeRelay(id)));
  }

  async function leave(endpoint: WebhookEndpointRow): Promise<DrainResult> {
    await markRelayAsleep(db, endpointId);
    // Enabled in this very moment: whoever did it marks it awake and signals after we said asleep, or we see it now.
    const again = await loadRelayEndpoint(db, endpointId);
    if (again?.is_enabled !== true) return result("ended", endpoint.customer_id, null);
    const isOurs = await takeAgain(db, endpointId, holdMs);
    return isOurs ? result("more", endpoint.customer_id, Date.now()) : result("asleep", endpoint.customer_id, Date.now() + takenMs);
  }

  async function forget(endpoint: WebhookEndpointRow, stop: AbortSignal): Promise<DrainResult> {
    while (!stop.aborted) if (await forgetDeletedEndpoint(db, endpointId)) return result("ended", endpoint.customer_id, null);
    cancelled.throwIfAborted();
    return result("more", endpoint.customer_id, Date.now());
  }

  return { run, counts: () => ({ delivered, failed }) };
}

/** Whether the look was cut short by a bound of `readAhead`. */
function mayBeMore(due: readonly DueDelivery[]): boolean {
  const lanes = Map.groupBy(due, ({ lane }) => lane);
  return due.length >= readAhead.deliveriesMax || lanes.size >= readAhead.lanesMax || lanes.values().some((of) => of.length >= readAhead.perLaneMax);
}

function withSecrets(ring: KeyRing, endpoint: WebhookEndpointRow) {
  const secrets = liveSecrets(openEndpointSecrets(ring, endpoint), new Date());
  return { url: endpoint.url, includesText: endpoint.includes_text, secrets };
}

function messageIdOf({ event }: DueDelivery): MessageId | undefined {
  if (event.type !== "message.created") return undefined;
  return (event.data.message as { readonly id?: MessageId } | undefined)?.id;
}

/** Texts of the messages that these deliveries tell of. Kept beside the events, not in them: endpoints that do not ask for text never see it. */
async function readTexts(db: Database, deliveries: readonly DueDelivery[]): Promise<ReadonlyMap<MessageId, string>> {
  const texts = await findMessageTexts(
    db,
    deliveries.map(messageIdOf).filter((id) => id !== undefined),
  );
  return new Map([...texts].map(([id, { text }]) => [id, text]));
}

/** Since when nothing has arrived, over all lanes; written only when it changes. */
function createFailing(db: Database, endpoint: WebhookEndpointRow) {
  let since = endpoint.failing_since?.toISOString() ?? null;
  let saved = since;
  return {
    since: () => since,
    note(outcome: DeliveryOutcome, at: string): void {
      since = outcome.kind === "delivered" ? null : (since ?? at);
    },
    async save(): Promise<void> {
      if (since === saved) return;
      saved = since;
      await setFailingSince(db, endpoint.id, since);
    },
  };
}
