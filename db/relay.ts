import { type RawBuilder, sql } from "kysely";
import type { WebhookEndpointId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** Says that the relay is at work, so that nobody signals it. */
export async function markRelayAwake(db: Connection, id: WebhookEndpointId): Promise<void> {
  await db.updateTable("webhook_endpoints").set({ is_awake: true }).where("id", "=", id).where("is_awake", "=", false).execute();
}

/** Says that the relay sleeps. What is asked after this has returned sees everything that was committed before somebody found it awake. */
export async function markRelayAsleep(db: Connection, id: WebhookEndpointId): Promise<void> {
  await db.updateTable("webhook_endpoints").set({ is_awake: false }).where("id", "=", id).execute();
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
