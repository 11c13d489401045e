import { sql } from "kysely";
import type { EventType } from "../domain/events.ts";
import type { CustomerId, EventId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import type { DueEvent } from "./webhook-deliveries.ts";

/** A place in the stream of a customer's events: behind this event, in the order of (transaction, position). */
export interface EventCursor {
  readonly tx: string;
  readonly position: number;
}

export type StreamedEvent = DueEvent & { readonly customerId: CustomerId; readonly cursor: EventCursor };

export interface EventFilter {
  readonly types?: readonly EventType[] | undefined;
  readonly mailboxId?: MailboxId | undefined;
}

/** A cursor as clients keep it: opaque to them, and it sorts nothing. */
export function encodeEventCursor({ tx, position }: EventCursor): string {
  return Buffer.from(`${tx}.${position}`).toString("base64url");
}

/** Undefined for what `encodeEventCursor` never made. */
export function decodeEventCursor(text: string): EventCursor | undefined {
  const [, tx, position] = /^(\d{1,20})\.(\d{1,16})$/.exec(Buffer.from(text, "base64url").toString()) ?? [];
  if (tx === undefined || position === undefined || BigInt(tx) > 2n ** 64n - 1n) return undefined;
  return { tx, position: Number(position) };
}

export function isBehindCursor(event: EventCursor, cursor: EventCursor): boolean {
  const [a, b] = [BigInt(event.tx), BigInt(cursor.tx)];
  return a > b || (a === b && event.position > cursor.position);
}

/**
 * The place behind everything that can no longer change: all transactions before it have ended. What commits later has a place behind it, so who reads up
 * to here and goes on from here misses nothing. A transaction that stays open anywhere in the database server holds it back.
 */
export async function readHorizon(db: Connection): Promise<EventCursor> {
  const { rows } = await sql<{ tx: string }>`select pg_snapshot_xmin(pg_current_snapshot())::text as tx`.execute(db);
  return { tx: rows[0]?.tx ?? "0", position: 0 };
}

/**
 * Events behind `after`, oldest first, of transactions that are older than every running one: an event that commits late comes late, but is never passed.
 * Whose events is the connection's scope; a reader for many customers names them.
 */
export async function readEvents(
  db: Connection,
  options: EventFilter & {
    readonly after?: EventCursor | undefined;
    readonly before?: EventCursor | undefined;
    readonly customerIds?: readonly CustomerId[];
    readonly limit: number;
  },
): Promise<readonly StreamedEvent[]> {
  const { after, before, customerIds, types, mailboxId, limit } = options;
  let query = selectEvents(db);
  query = query.where(sql<boolean>`e.tx < ${before === undefined ? sql`pg_snapshot_xmin(pg_current_snapshot())` : sql`${before.tx}::xid8`}`);
  if (after !== undefined) query = query.where(sql<boolean>`(e.tx, e.position) > (${after.tx}::xid8, ${after.position}::bigint)`);
  if (customerIds !== undefined) query = query.where(sql<boolean>`e.customer_id = any(${customerIds}::text[])`);
  if (types !== undefined) query = query.where("e.type", "in", [...types]);
  if (mailboxId !== undefined) query = query.where("e.mailbox_id", "=", mailboxId);
  const rows = await query.orderBy("e.tx").orderBy("e.position").limit(limit).execute();
  return withAccounts(db, rows);
}

/** One event, as soon as it is committed. */
export async function findEvent(db: Connection, id: EventId): Promise<StreamedEvent | undefined> {
  const [event] = await withAccounts(db, await selectEvents(db).where("e.id", "=", id).execute());
  return event;
}

function selectEvents(db: Connection) {
  return db
    .selectFrom("events as e")
    .select(["e.id", "e.customer_id", "e.type", "e.created_at", "e.mailbox_id", "e.sequence", "e.data", "e.tx", "e.position"]);
}

type EventRow = Awaited<ReturnType<ReturnType<typeof selectEvents>["execute"]>>[number];

/** A second query and not a join: the scope limits each joined table, which would drop the events that have no mailbox. */
async function withAccounts(db: Connection, rows: readonly EventRow[]): Promise<readonly StreamedEvent[]> {
  const ids = [...new Set(rows.flatMap((row) => row.mailbox_id ?? []))];
  const mailboxes = ids.length === 0 ? [] : await db.selectFrom("mailboxes").select(["id", "external_id"]).where("id", "in", ids).execute();
  const accounts = new Map(mailboxes.map((mailbox) => [mailbox.id, mailbox.external_id]));
  return rows.map((row) => ({
    id: row.id,
    customerId: row.customer_id,
    type: row.type,
    createdAt: row.created_at,
    mailboxId: row.mailbox_id,
    account: (row.mailbox_id === null ? undefined : accounts.get(row.mailbox_id)) ?? null,
    sequence: row.sequence,
    data: row.data,
    cursor: { tx: row.tx, position: row.position },
  }));
}
