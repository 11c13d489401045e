import { sql } from "kysely";
import type { MailErrorCode } from "../domain/errors.ts";
import type { CustomerId, FolderId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import type { ScopedConnection } from "./scope.ts";

/** A message that could not be fetched or stored, and why. */
export interface Skipped {
  readonly ref: string;
  readonly code: MailErrorCode;
  readonly reason: string | null;
}

/** Five minutes after the first try, then ever later, and once a day at last. */
const firstPauseSeconds = 300;
const longestPauseSeconds = 86_400;

/** When a message is tried again that was tried `attempts` times. */
function nextAttempt(attempts: ReturnType<typeof sql<number>>) {
  const seconds = sql`least(${firstPauseSeconds}::int * 2 ^ least(${attempts} - 1, 20), ${longestPauseSeconds}::int)`;
  return sql<Date>`now() + ${seconds} * interval '1 second'`;
}

/**
 * Notes messages that a page goes past. `tellsFrom`, in ms since 1970, is what the page says of new messages: told if they were received since then,
 * -Infinity always, Infinity never.
 */
export async function recordSkipped(
  trx: Connection,
  owner: { readonly mailboxId: MailboxId; readonly customerId: CustomerId },
  folder: FolderId,
  skipped: readonly Skipped[],
  tellsFrom: number,
): Promise<void> {
  if (skipped.length === 0) return;
  await sql`
    insert into skipped_messages as s (folder_id, ref, customer_id, mailbox_id, code, reason, tells_from, next_attempt_at)
    select ${folder}, n.ref, ${owner.customerId}, ${owner.mailboxId}, n.code, n.reason, ${instantOf(tellsFrom)}, ${nextAttempt(sql<number>`1`)}
    from jsonb_to_recordset(${JSON.stringify(skipped)}::jsonb) as n (ref text, code text, reason text)
    on conflict (folder_id, ref) do update set
      code = excluded.code, reason = excluded.reason, attempts = s.attempts + 1, updated_at = now(),
      next_attempt_at = ${nextAttempt(sql<number>`(s.attempts + 1)`)}
  `.execute(trx);
}

function instantOf(ms: number) {
  return sql`${Number.isFinite(ms) ? new Date(ms).toISOString() : ms > 0 ? "infinity" : "-infinity"}::timestamptz`;
}

/** A skipped message whose time has come. */
export interface DueSkipped {
  readonly folderId: FolderId;
  readonly ref: string;
  readonly tellsFrom: number;
}

/** What is tried: in folders that are read, and not left alone for now. */
const isTried = sql<boolean>`f.is_synced and f.cursor is not null and not coalesce(f.rests_until > now(), false)`;

/**
 * The skipped message that has waited longest, counted as tried before it is: one that takes the connection with it, or the process, holds up the next
 * attempt at itself and nothing else.
 */
export async function claimDueSkipped(db: Connection, mailboxId: MailboxId): Promise<DueSkipped | undefined> {
  const { rows } = await sql<{ folder_id: FolderId; ref: string; tells_from: Date | number }>`
    update skipped_messages s set attempts = s.attempts + 1, updated_at = now(), next_attempt_at = ${nextAttempt(sql<number>`(s.attempts + 1)`)}
    from (
      select d.folder_id, d.ref from skipped_messages d join folders f on f.id = d.folder_id
      where d.mailbox_id = ${mailboxId} and d.next_attempt_at <= now() and ${isTried}
      order by d.next_attempt_at, d.folder_id, d.ref limit 1 for update of d skip locked
    ) due
    where s.folder_id = due.folder_id and s.ref = due.ref
    returning s.folder_id, s.ref, s.tells_from
  `.execute(db);
  const [row] = rows;
  return row === undefined ? undefined : { folderId: row.folder_id, ref: row.ref, tellsFrom: Number(row.tells_from) };
}

/** How long until a skipped message is to be tried again; null where none is. */
export function skippedForMs(mailboxId: MailboxId) {
  return sql<number | null>`(
    select extract(epoch from min(s.next_attempt_at) - now()) * 1000 from skipped_messages s join folders f on f.id = s.folder_id
    where s.mailbox_id = ${mailboxId} and ${isTried}
  )::float8`;
}

/** Why it was not read this time either. */
export async function recordSkippedAgain(trx: Connection, folder: FolderId, { ref, code, reason }: Skipped): Promise<void> {
  await trx.updateTable("skipped_messages").set({ code, reason }).where("folder_id", "=", folder).where("ref", "=", ref).execute();
}

/** It was read, or is gone. */
export async function forgetSkipped(trx: Connection, folder: FolderId, ref: string): Promise<void> {
  await trx.deleteFrom("skipped_messages").where("folder_id", "=", folder).where("ref", "=", ref).execute();
}

/** Has all skipped messages of a mailbox tried at its next look; gives how many. */
export async function hastenSkipped(db: ScopedConnection, mailboxId: MailboxId): Promise<number> {
  const { numUpdatedRows } = await db
    .updateTable("skipped_messages")
    .set({ next_attempt_at: sql<Date>`now()` })
    .where("mailbox_id", "=", mailboxId)
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** Of a folder that begins anew: its refs mean nothing any more. */
export async function forgetAllSkipped(trx: Connection, folders: readonly FolderId[]): Promise<void> {
  await trx.deleteFrom("skipped_messages").where("folder_id", "in", folders).execute();
}

/** What is shown at once: who skips more has another problem than single messages. */
const shownMax = 1_000;

/** The messages of a mailbox that are skipped, oldest first. */
export async function listSkipped(db: ScopedConnection, mailboxId: MailboxId) {
  return db
    .selectFrom("skipped_messages as s")
    .innerJoin("folders as f", "f.id", "s.folder_id")
    .select(["s.folder_id", "f.path", "s.ref", "s.code", "s.reason", "s.attempts", "s.next_attempt_at", "s.created_at", "s.updated_at"])
    .where("s.mailbox_id", "=", mailboxId)
    .orderBy("s.created_at")
    .orderBy("s.folder_id")
    .orderBy("s.ref")
    .limit(shownMax)
    .execute();
}
