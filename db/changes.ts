import { sql } from "kysely";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import { readHorizon } from "./event-stream.ts";
import { loadMessages, type MessageRow } from "./messages.ts";
import type { ScopedConnection } from "./scope.ts";

/** A place in a mailbox's changes: behind this message of this transaction. */
export interface ChangesCursor {
  readonly mailboxId: MailboxId;
  /** All that happened before this transaction was read: by an earlier listing, or it is what this listing lists. */
  readonly since: string;
  readonly tx: string;
  readonly id: string;
}

export interface Changes {
  /** Nothing that was read before holds: this page begins a listing of all there is. */
  readonly reset: boolean;
  readonly upserted: readonly MessageRow[];
  readonly deleted: readonly MessageId[];
  readonly next: ChangesCursor;
  readonly more: boolean;
}

/** A cursor as clients keep it: opaque to them. */
export function encodeChangesCursor({ mailboxId, since, tx, id }: ChangesCursor): string {
  return Buffer.from(`${mailboxId}.${since}.${tx}.${id}`).toString("base64url");
}

/** Undefined for what `encodeChangesCursor` never made for this mailbox. */
export function decodeChangesCursor(mailboxId: MailboxId, text: string): ChangesCursor | undefined {
  const [, owner, since, tx, id] = /^(mbx_\w+)\.(\d{1,20})\.(\d{1,20})\.((?:msg_\w+)?)$/.exec(Buffer.from(text, "base64url").toString()) ?? [];
  if (owner !== mailboxId || since === undefined || tx === undefined || id === undefined) return undefined;
  return BigInt(tx) < 2n ** 64n && BigInt(since) < 2n ** 64n ? { mailboxId, since, tx, id } : undefined;
}

/**
 * What became of a mailbox's messages behind a cursor, each as it is now: a message that changed often is there once. Undefined for a mailbox that is
 * not there.
 *
 * Each row carries the transaction that wrote it last (`messages.revision`, kept by a trigger, so that no writer can forget it), and only those of
 * transactions older than every running one are read: what commits late comes late and is never passed, as in the stream of events.
 */
export async function readChanges(
  db: ScopedConnection,
  mailboxId: MailboxId,
  { after, limit }: { readonly after: ChangesCursor | undefined; readonly limit: number },
): Promise<Changes | undefined> {
  // Before the rows: what is below it by then cannot change any more.
  const { tx: horizon } = await readHorizon(db);
  const mailbox = await db
    .selectFrom("mailboxes")
    .select("changes_floor")
    .where("id", "=", mailboxId)
    .where("deleted_at", "is", null)
    .executeTakeFirst();
  if (mailbox === undefined) return undefined;
  // Too old: deletions since are not on record. Ahead of the database: it is not the one that gave the cursor, but one restored from before.
  const isGood = after !== undefined && BigInt(after.since) > BigInt(mailbox.changes_floor) && BigInt(after.since) <= BigInt(horizon);
  const from = isGood ? after : { since: horizon, tx: "0", id: "" };
  const rows = await db
    .selectFrom("messages")
    .select(["id", "revision", "is_deleted"])
    .where("mailbox_id", "=", mailboxId)
    .where(sql<boolean>`(revision, id) > (${from.tx}::xid8, ${from.id})`)
    .where(sql<boolean>`revision < ${horizon}::xid8`)
    .orderBy("revision")
    .orderBy("id")
    .limit(limit + 1)
    .execute();
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const more = rows.length > limit;
  return {
    reset: !isGood,
    // One that changes in this moment is shown as it will be, and shown again.
    upserted: await loadMessages(
      db,
      shown.filter((row) => !row.is_deleted),
    ),
    deleted: shown.filter((row) => row.is_deleted).map((row) => row.id),
    next:
      more && last !== undefined
        ? { mailboxId, since: from.since, tx: last.revision, id: last.id }
        : { mailboxId, since: horizon, tx: horizon, id: "" },
    more,
  };
}
