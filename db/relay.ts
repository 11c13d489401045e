import { type RawBuilder, sql } from "kysely";
import type { WebhookEndpointId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** Whether a process drains the endpoint by itself just now. */
export const isHeld = sql<boolean>`coalesce(webhook_endpoints.drained_until > now(), false)`;

/** Nobody is at work on the endpoint: it sleeps, or the process that held it died, for a living one lets go before its hold ends. */
export const isUnattended = sql<boolean>`(not webhook_endpoints.is_awake or webhook_endpoints.drained_until <= now())`;

export function holdFor(ms: number): RawBuilder<Date> {
  return sql<Date>`now() + ${ms}::float8 * interval '1 millisecond'`;
}

/** Says that the relay is at work, so that nobody signals it. While another process holds the endpoint: for how many ms still, and nothing is said. */
export async function startRelay(db: Connection, id: WebhookEndpointId): Promise<number> {
  const { rows } = await sql<{ ms: number }>`
    with held as (
      select extract(epoch from drained_until - now())::float8 * 1000 as ms from webhook_endpoints where id = ${id} and ${isHeld}
    ), started as (
      update webhook_endpoints set is_awake = true, drained_until = null
      where id = ${id} and (not is_awake or drained_until is not null) and not exists (select from held)
    )
    select ms from held
  `.execute(db);
  return rows[0]?.ms ?? 0;
}

/** Takes an endpoint on again that was said to sleep; false if somebody else was faster, who then does what there is to do. */
export async function takeAgain(db: Connection, id: WebhookEndpointId, holdMs: number | null): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("webhook_endpoints")
    .set({ is_awake: true, drained_until: holdMs === null ? null : holdFor(holdMs) })
    .where("id", "=", id)
    .where("is_awake", "=", false)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Leaves what is left to the endpoint's relay, which stays marked as awake: signal it. */
export async function handOver(db: Connection, id: WebhookEndpointId): Promise<void> {
  await db.updateTable("webhook_endpoints").set({ drained_until: null }).where("id", "=", id).execute();
}

/** Endpoints whose holder died with them in its hand, over all customers. A relay that starts takes them on; a signal too many does nothing. */
export async function listAbandonedEndpoints(db: Connection): Promise<readonly WebhookEndpointId[]> {
  const rows = await db
    .selectFrom("webhook_endpoints")
    .select("id")
    .where("is_enabled", "=", true)
    .where("drained_until", "<=", sql<Date>`now()`)
    .execute();
  return rows.map((row) => row.id);
}

/** Says that nobody is at work. What is asked after this has returned sees everything that was committed before somebody found it awake. */
export async function markRelayAsleep(db: Connection, id: WebhookEndpointId): Promise<void> {
  await db.updateTable("webhook_endpoints").set({ is_awake: false, drained_until: null }).where("id", "=", id).execute();
}

/** Since when nothing has arrived at the endpoint; null as soon as something has. */
export async function setFailingSince(db: Connection, id: WebhookEndpointId, failingSince: string | null): Promise<void> {
  await db.updateTable("webhook_endpoints").set({ failing_since: failingSince }).where("id", "=", id).execute();
}

/** When the next delivery of the endpoint is due, over the heads of its lanes; null if none is pending. */
export async function findNextDue(db: Connection, id: WebhookEndpointId): Promise<Date | null> {
  const { rows } = await sql<{ due: Date | null }>`
    with recursive ${laneHeads(sql`${id}`)}
    select min(next_attempt_at) as due from heads
  `.execute(db);
  return rows[0]?.due ?? null;
}

/** Whether a lane of the endpoint has a head that was due at `due`. Deliveries behind a head that waits do not count. */
export function hasDueHead(endpointId: RawBuilder<unknown>, due: RawBuilder<unknown>): RawBuilder<boolean> {
  return sql<boolean>`exists (with recursive ${laneHeads(endpointId)} select from heads where next_attempt_at <= ${due})`;
}

/**
 * `heads`: the lowest pending position of each lane, in the lanes' order, behind the lane `after`. A loose index scan: one probe of the index for
 * each lane however many deliveries wait in it, and none for lanes that a limit outside makes needless.
 */
export function laneHeads(endpointId: RawBuilder<unknown>, after: RawBuilder<unknown> = sql`''`): RawBuilder<unknown> {
  const first = (lane: RawBuilder<unknown>) => sql`
    select lane, next_attempt_at from webhook_deliveries
    where endpoint_id = ${endpointId} and state = 'pending' and lane > ${lane}
    order by lane, position limit 1
  `;
  return sql`heads as (
    (${first(after)})
    union all
    select next.lane, next.next_attempt_at from heads cross join lateral (${first(sql`heads.lane`)}) next
  )`;
}
