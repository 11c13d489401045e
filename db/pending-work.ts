import { sql } from "kysely";
import { holdMs } from "../domain/brake.ts";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { ListingProgress } from "../domain/sync.ts";
import type { Connection } from "./database.ts";
import { isUnattended } from "./relay.ts";
import { isResting } from "./rests.ts";
import { skippedForMs } from "./skipped.ts";

/** What the store holds that somebody still has to do something about. */
export interface PendingWork {
  /** Messages to judge. */
  readonly unsettled: number;
  /** Messages without a place that no search has settled yet: gone, or on their way to another folder. */
  readonly missing: number;
  /** A folder is being listed: importHistory has work. */
  readonly needsImport: boolean;
  /** How long until a removal that is held back has to be listed again; null where none is. */
  readonly heldForMs: number | null;
  /** How long until a folder that is left alone may be read again; null where none is. */
  readonly restsForMs: number | null;
  /** How long until a skipped message is tried again; null where none is. */
  readonly skippedForMs: number | null;
  /** Events wait for an endpoint whose relay sleeps. */
  readonly mustTell: boolean;
}

/** Asked after each fetch. Answered by partial indexes that are empty when all is done. */
export async function pendingWork(db: Connection, mailbox: { readonly id: MailboxId; readonly customerId: CustomerId }): Promise<PendingWork> {
  const { rows } = await sql<PendingWork>`
    select count(*) filter (where m.state <> 'missing' or m.missing_since <= b.gone_before) as unsettled,
      count(*) filter (where m.state = 'missing' and (m.missing_since <= b.gone_before) is not true) as missing,
      exists (
        select from folders f where f.mailbox_id = ${mailbox.id} and f.is_synced and f.import_state = 'importing' and not ${isResting}
      ) as "needsImport",
      (
        select extract(epoch from min(f.held_since) - now()) * 1000 + ${holdMs}::float8 from folders f
        where f.mailbox_id = ${mailbox.id} and f.is_synced
      )::float8 as "heldForMs",
      (
        select extract(epoch from min(f.rests_until) - now()) * 1000 from folders f
        where f.mailbox_id = ${mailbox.id} and f.is_synced and ${isResting}
      )::float8 as "restsForMs",
      ${skippedForMs(mailbox.id)} as "skippedForMs",
      exists (
        select from webhook_endpoints
        where customer_id = ${mailbox.customerId} and is_enabled and ${isUnattended} and deleted_at is null
          and exists (select from webhook_deliveries d where d.endpoint_id = webhook_endpoints.id and d.state = 'pending' and d.next_attempt_at <= now())
      ) as "mustTell"
    from mailboxes b left join messages m on m.mailbox_id = b.id and m.state <> 'settled'
    where b.id = ${mailbox.id}
  `.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate answers with one row");
  return {
    unsettled: row.unsettled,
    missing: row.missing,
    needsImport: row.needsImport,
    heldForMs: row.heldForMs,
    restsForMs: row.restsForMs,
    skippedForMs: row.skippedForMs,
    mustTell: row.mustTell,
  };
}

/** How far the folders that are read are listed. */
export async function listingProgress(db: Connection, mailboxId: MailboxId): Promise<ListingProgress> {
  const { rows } = await sql<ListingProgress>`
    select count(*) as folders, count(*) filter (where import_state = 'complete') as "foldersListed",
      coalesce(sum(greatest(import_total, import_done)), 0)::int8 as messages, coalesce(sum(import_done), 0)::int8 as "messagesListed"
    from folders where mailbox_id = ${mailboxId} and is_synced
  `.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate answers with one row");
  const { folders, foldersListed, messages, messagesListed } = row;
  return { folders, foldersListed, messages, messagesListed };
}
