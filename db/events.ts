import { type RawBuilder, sql } from "kysely";
import type { EventData, EventType } from "../domain/events.ts";
import type { CustomerId, EventId, MailboxId, WebhookEndpointId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { newId } from "./ids.ts";
import { hasDueHead, holdFor, isHeld, isUnattended } from "./relay.ts";

export interface EventSource {
  readonly customerId: CustomerId;
  readonly mailboxId: MailboxId | null;
}

/**
 * Tells these events: puts them into the outbox and a delivery for each endpoint that wants them, in the caller's transaction, so that they exist
 * exactly if what they tell of was committed. Takes the mailbox row's lock to number them without gaps, so keep what follows in the transaction
 * short. Whoever commits then wakes the relays (`claimSleepingEndpoints`).
 */
export async function recordEvents(trx: Connection, source: EventSource, events: readonly EventData[]): Promise<readonly EventId[]> {
  if (events.length === 0) return [];
  const rows = events.map(({ type, ...data }, index) => ({ id: newId("event"), index, type, data }));
  const turn = source.mailboxId === null ? sql`select null::bigint as first, pg_current_xact_id() as tx` : takeTurn(source.mailboxId, events.length);
  const { numAffectedRows } = await sql`
    with turn as (${turn})
    insert into events (id, customer_id, mailbox_id, sequence, type, data, tx)
    select e.id, ${source.customerId}, ${source.mailboxId}, turn.first + e.index, e.type, e.data, turn.tx
    from turn cross join jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as e (id text, index int, type text, data jsonb)
    order by e.index
  `.execute(trx);
  if (numAffectedRows === 0n) throw new Error(`there is no mailbox ${source.mailboxId} to tell events of`);
  await fanOut(trx, source, rows);
  return rows.map((row) => row.id);
}

/** One delivery for each endpoint that wants the event, in the events' order. */
async function fanOut(trx: Connection, source: EventSource, events: readonly { readonly id: EventId; readonly type: EventType }[]): Promise<void> {
  const endpoints = await trx
    .selectFrom("webhook_endpoints")
    .select(["id", "event_types", "mailbox_ids"])
    .where("customer_id", "=", source.customerId)
    .where("is_enabled", "=", true)
    .where("deleted_at", "is", null)
    .execute();
  const deliveries = endpoints.flatMap((endpoint) =>
    events
      .filter(({ type }) => type !== "webhook.test" && (endpoint.event_types === null || endpoint.event_types.includes(type)))
      .filter(() => endpoint.mailbox_ids === null || (source.mailboxId !== null && endpoint.mailbox_ids.includes(source.mailboxId)))
      .map((event) => ({ endpoint_id: endpoint.id, event_id: event.id })),
  );
  await insertDeliveries(trx, source, deliveries);
}

/** Queues these deliveries behind what their lanes hold already. */
export async function insertDeliveries(
  trx: Connection,
  source: EventSource,
  deliveries: readonly { readonly endpoint_id: WebhookEndpointId; readonly event_id: EventId }[],
  options: { readonly isReplay?: boolean } = {},
): Promise<void> {
  if (deliveries.length === 0) return;
  const rows = deliveries.map((delivery, order) => ({ ...delivery, id: newId("webhookDelivery"), order }));
  await sql`
    insert into webhook_deliveries (id, customer_id, endpoint_id, event_id, mailbox_id, lane, is_replay)
    select d.id, ${source.customerId}, d.endpoint_id, d.event_id, ${source.mailboxId}, coalesce(${source.mailboxId}, d.endpoint_id), ${options.isReplay ?? false}
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as d (id text, endpoint_id text, event_id text, "order" int)
    order by d."order"
  `.execute(trx);
}

/**
 * Numbers `count` events of a mailbox. The row's lock keeps them in the order of their commits; the transaction that they carry in the stream is never
 * below that of the events before them, although this one may have begun earlier, so the stream shows a mailbox's events in their sequence.
 */
function takeTurn(mailboxId: MailboxId, count: number): RawBuilder<unknown> {
  return sql`
    update mailboxes set event_sequence = event_sequence + ${count}, event_tx = greatest(event_tx, pg_current_xact_id())
    where id = ${mailboxId} returning event_sequence - ${count} + 1 as first, event_tx as tx
  `;
}

/**
 * The endpoints of a customer that have something to deliver and nobody at work on it, marked as awake: whoever gets an id here must signal its relay,
 * or with `holdMs` drain it by itself within that time. Call it after the commit. The relay, before it sleeps, marks itself asleep first and looks for
 * work second, so one of the two always sees the other. What waits behind a failed delivery of its lane wakes nobody: the relay of a broken endpoint
 * sleeps until the next attempt.
 */
export async function claimSleepingEndpoints(
  db: Connection,
  customerId: CustomerId,
  { holdMs }: { readonly holdMs?: number } = {},
): Promise<readonly WebhookEndpointId[]> {
  let query = db
    .updateTable("webhook_endpoints")
    .set({ is_awake: true, drained_until: holdMs === undefined ? sql<Date>`case when ${isHeld} then drained_until end` : holdFor(holdMs) })
    .where("customer_id", "=", customerId)
    .where("is_enabled", "=", true)
    .where(isUnattended)
    .where("deleted_at", "is", null)
    .where(hasDueHead(sql.ref("webhook_endpoints.id"), sql`now()`));
  // Its holder looks once more before it lets go.
  if (holdMs !== undefined) query = query.where((eb) => eb.not(isHeld));
  const rows = await query.returning("id").execute();
  return rows.map((row) => row.id);
}
