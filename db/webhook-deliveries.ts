import { type Selectable, sql } from "kysely";
import type { EventType } from "../domain/events.ts";
import type { CustomerId, EventId, MailboxId, WebhookDeliveryId, WebhookEndpointId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { insertDeliveries } from "./events.ts";
import { newId } from "./ids.ts";
import { hasDueHead, laneHeads } from "./relay.ts";
import type { DeliveryAttempt, WebhookDeliveriesTable } from "./schema.ts";

/** A delivery that is to be made, with the event that it tells. */
export interface DueDelivery {
  readonly id: WebhookDeliveryId;
  readonly lane: string;
  readonly attemptCount: number;
  /** When it was first tried since its schedule began; null if it never was. */
  readonly firstAttemptAt: string | null;
  readonly event: DueEvent;
}

export interface DueEvent {
  readonly id: EventId;
  readonly type: EventType;
  readonly createdAt: Date;
  readonly mailboxId: MailboxId | null;
  readonly account: string | null;
  readonly sequence: number | null;
  readonly data: Record<string, unknown>;
}

/**
 * What may be delivered now: of each lane whose head is due, in the order of the lanes behind `afterLane`, the first deliveries in their order. Reads only:
 * an endpoint has one relay, and what a second one would do while the first is dying is to repeat, which receivers know by the event's id.
 */
export async function listDueDeliveries(
  db: Connection,
  endpointId: WebhookEndpointId,
  options: {
    readonly afterLane: string;
    readonly busyLanes: readonly string[];
    readonly lanesMax: number;
    readonly perLaneMax: number;
    readonly deliveriesMax: number;
  },
): Promise<readonly DueDelivery[]> {
  const { rows } = await sql<DueRow>`
    with recursive ${laneHeads(sql`${endpointId}`, sql`${options.afterLane}`)},
    due as (select lane from heads where next_attempt_at <= now() and lane <> all(${[...options.busyLanes]}::text[]) limit ${options.lanesMax}),
    picked as materialized (
      select d.* from due
      cross join lateral (
        select id, lane, position, event_id, attempt_count, attempts, next_attempt_at from webhook_deliveries
        where endpoint_id = ${endpointId} and state = 'pending' and lane = due.lane
        order by position limit ${options.perLaneMax}
      ) d
      where d.next_attempt_at <= now()
      order by d.lane, d.position
      limit ${options.deliveriesMax}
    )
    -- What is picked is few, which the planner cannot know: without the lateral it reads the whole outbox to hash it.
    select d.id, d.lane, d.attempt_count, d.attempts -> -d.attempt_count ->> 'at' as first_attempt_at,
           e.id as event_id, e.type, e.created_at, e.mailbox_id, m.external_id as account, e.sequence, e.data
    from picked d
    cross join lateral (select * from events where id = d.event_id limit 1) e
    left join mailboxes m on m.id = e.mailbox_id
    order by d.lane, d.position
  `.execute(db);
  return rows.map((row) => ({
    id: row.id,
    lane: row.lane,
    attemptCount: row.attempt_count,
    firstAttemptAt: row.attempt_count === 0 ? null : row.first_attempt_at,
    event: {
      id: row.event_id,
      type: row.type,
      createdAt: row.created_at,
      mailboxId: row.mailbox_id,
      account: row.account,
      sequence: row.sequence,
      data: row.data,
    },
  }));
}

interface DueRow {
  id: WebhookDeliveryId;
  lane: string;
  attempt_count: number;
  first_attempt_at: string | null;
  event_id: EventId;
  type: EventType;
  created_at: Date;
  mailbox_id: MailboxId | null;
  account: string | null;
  sequence: number | null;
  data: Record<string, unknown>;
}

/** What became of one attempt. `pending` carries the time of the next one. */
export type AttemptResult = { readonly id: WebhookDeliveryId; readonly attempt: DeliveryAttempt } & (
  | { readonly state: "delivered" | "failed" }
  | { readonly state: "pending"; readonly nextAttemptAt: string }
);

/** Writes down what became of these attempts, in one statement. What is no longer pending stays as it is. */
export async function recordAttempts(db: Connection, results: readonly AttemptResult[]): Promise<void> {
  if (results.length === 0) return;
  const rows = results.map((result) => ({
    id: result.id,
    state: result.state,
    attempt: [result.attempt],
    next: result.state === "pending" ? result.nextAttemptAt : null,
  }));
  await sql`
    update webhook_deliveries d
    set state = r.state,
        attempts = (case when jsonb_array_length(d.attempts) >= ${attemptsKept} then d.attempts - 0 else d.attempts end) || r.attempt,
        attempt_count = d.attempt_count + 1,
        next_attempt_at = coalesce(r.next, d.next_attempt_at),
        delivered_at = case when r.state = 'delivered' then now() end
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as r (id text, state text, attempt jsonb, next timestamptz)
    where d.id = r.id and d.state = 'pending'
  `.execute(db);
}

/** An endpoint that was enabled again and again could make the list grow; a schedule has ten attempts. */
const attemptsKept = 30;

/**
 * The endpoints whose due deliveries nobody has touched for a while, whatever they say of being awake: between a commit and a signal, a process may die.
 * Likewise deleted ones that are still there. Their relays are to be signalled; a signal too many does nothing. Over all customers, for a schedule.
 */
export async function listStaleAwakeEndpoints(db: Connection, olderThanMs = 60_000): Promise<readonly WebhookEndpointId[]> {
  const before = sql`now() - ${olderThanMs} * interval '1 millisecond'`;
  const { rows } = await sql<{ id: WebhookEndpointId }>`
    select w.id from webhook_endpoints w
    where (w.is_enabled and ${hasDueHead(sql`w.id`, before)}) or w.deleted_at < ${before}
  `.execute(db);
  return rows.map((row) => row.id);
}

/** Removes some deliveries of an endpoint that is deleted, and in the end the endpoint itself; true when nothing is left. */
export async function forgetDeletedEndpoint(db: Connection, id: WebhookEndpointId, batch = 5_000): Promise<boolean> {
  const { numAffectedRows = 0n } = await sql`
    delete from webhook_deliveries where id in (select id from webhook_deliveries where endpoint_id = ${id} limit ${batch})
  `.execute(db);
  if (Number(numAffectedRows) === batch) return false;
  await db.deleteFrom("webhook_endpoints").where("id", "=", id).where("deleted_at", "is not", null).execute();
  return true;
}

export type WebhookDeliveryRow = Selectable<WebhookDeliveriesTable> & { readonly event_type: EventType };

/** The delivery log of an endpoint, newest first; `before` is the position behind which it goes on. */
export async function listDeliveries(
  db: Connection,
  endpointId: WebhookEndpointId,
  filter: { readonly state?: WebhookDeliveriesTable["state"]["__select__"] | undefined; readonly eventId?: EventId | undefined },
  { limit, before }: { readonly limit: number; readonly before?: number | undefined },
): Promise<{ readonly rows: readonly WebhookDeliveryRow[]; readonly next: number | undefined }> {
  let query = db
    .selectFrom("webhook_deliveries as d")
    .innerJoin("events as e", "e.id", "d.event_id")
    .selectAll("d")
    .select("e.type as event_type")
    .where("d.endpoint_id", "=", endpointId);
  if (filter.state !== undefined) query = query.where("d.state", "=", filter.state);
  if (filter.eventId !== undefined) query = query.where("d.event_id", "=", filter.eventId);
  if (before !== undefined) query = query.where("d.position", "<", before);
  const rows = await query
    .orderBy("d.position", "desc")
    .limit(limit + 1)
    .execute();
  const shown = rows.slice(0, limit);
  return { rows: shown, next: rows.length > limit ? shown.at(-1)?.position : undefined };
}

/** Queues one event for this endpoint, whatever its filter says. */
export async function queueForEndpoint(
  trx: Connection,
  endpoint: { readonly id: WebhookEndpointId; readonly customerId: CustomerId },
  event: { readonly id: EventId; readonly mailboxId: MailboxId | null },
  options: { readonly isReplay: boolean },
): Promise<void> {
  await insertDeliveries(
    trx,
    { customerId: endpoint.customerId, mailboxId: event.mailboxId },
    [{ endpoint_id: endpoint.id, event_id: event.id }],
    options,
  );
}

/**
 * Queues every event of the time from `from` to before `to` that the endpoint's filter wants, once more and in order; returns how many. They come behind
 * what is pending in their lanes. Refuses, with -1, to queue more than `max`.
 */
export async function replayRange(
  trx: Connection,
  endpoint: {
    readonly id: WebhookEndpointId;
    readonly customer_id: CustomerId;
    readonly event_types: readonly string[] | null;
    readonly mailbox_ids: readonly string[] | null;
  },
  { from, to, max }: { readonly from: Date; readonly to: Date; readonly max: number },
): Promise<number> {
  const { rows: events } = await sql<{ id: EventId; mailbox_id: MailboxId | null }>`
    select id, mailbox_id from events
    where customer_id = ${endpoint.customer_id} and created_at >= ${from} and created_at < ${to} and type <> 'webhook.test'
      and (${endpoint.event_types}::text[] is null or type = any(${endpoint.event_types}::text[]))
      and (${endpoint.mailbox_ids}::text[] is null or mailbox_id = any(${endpoint.mailbox_ids}::text[]))
    order by tx, position
    limit ${max + 1}
  `.execute(trx);
  if (events.length > max) return -1;
  const rows = events.map((event, order) => ({
    id: newId("webhookDelivery"),
    event_id: event.id,
    mailbox_id: event.mailbox_id,
    lane: event.mailbox_id ?? endpoint.id,
    order,
  }));
  await sql`
    insert into webhook_deliveries (id, customer_id, endpoint_id, event_id, mailbox_id, lane, is_replay)
    select d.id, ${endpoint.customer_id}, ${endpoint.id}, d.event_id, d.mailbox_id, d.lane, true
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as d (id text, event_id text, mailbox_id text, lane text, "order" int)
    order by d."order"
  `.execute(trx);
  return rows.length;
}
