import { sql } from "kysely";
import type { BlobStore } from "../../blobs/store.ts";
import { openContent } from "../../blobs/vault.ts";
import type { Database } from "../../db/database.ts";
import { blobKeyContext } from "../../db/message-blobs.ts";
import { type KeyRing, type Sealed, unseal } from "../../db/secrets.ts";
import type { BlobKey } from "../../domain/ids.ts";
import { isSignedBy, type Received } from "../webhooks/receiver.ts";
import type { Arrival, Kept, Stored } from "./checker.ts";
import { digest } from "./mail.ts";

/** What the tables hold about a mailbox, for the checker to judge. */
export async function readStored(db: Database, mailboxId: string): Promise<Stored> {
  const folders = await sql<Stored["folders"][number]>`
    select path, import_state as "importState", cursor, history_cursor as "historyCursor", total, unseen, problem
    from folders where mailbox_id = ${mailboxId} and is_synced
  `.execute(db);
  const messages = await sql<Stored["messages"][number]>`
    select id, coalesce(message_id, '') as "messageId", state, is_deleted as "isDeleted", told_at is not null as "isTold"
    from messages where mailbox_id = ${mailboxId}
  `.execute(db);
  const locations = await sql<Stored["locations"][number]>`
    select f.path, l.ref::int as uid, coalesce(m.message_id, '') as "messageId"
    from message_locations l join folders f on f.id = l.folder_id join messages m on m.id = l.message_id
    where l.mailbox_id = ${mailboxId}
  `.execute(db);
  const events = await sql<Stored["events"][number]>`
    select id, type, sequence, data -> 'message' ->> 'messageId' as "messageId" from events where mailbox_id = ${mailboxId} order by sequence
  `.execute(db);
  const stuck = await sql<{ what: string }>`
    select 'delivery ' || id || ' waits since ' || next_attempt_at as what from webhook_deliveries
    where mailbox_id = ${mailboxId} and state <> 'delivered' and next_attempt_at < now()
    union all select 'folder ' || path || ' rests until ' || rests_until from folders where mailbox_id = ${mailboxId} and rests_until > now()
    union all select 'folder ' || path || ' holds removals back' from folders where mailbox_id = ${mailboxId} and held_since is not null
    union all select 'message ' || ref || ' was skipped: ' || code from skipped_messages where mailbox_id = ${mailboxId}
    union all select 'change of ' || message_id || ' is left ' || state from message_action_items
    where mailbox_id = ${mailboxId} and state in ('queued', 'begun')
    union all select 'content of ' || message_id || ' is left ' || content_state from messages
    where mailbox_id = ${mailboxId} and content_state in ('pending', 'failed')
    union all select 'a change of what is kept is left half done' from mailboxes
    where id = ${mailboxId} and jsonb_typeof(content_plan -> 'change') = 'object'
  `.execute(db);
  const { event_sequence: lastSequence } = await db
    .selectFrom("mailboxes")
    .select("event_sequence")
    .where("id", "=", mailboxId as never)
    .executeTakeFirstOrThrow();
  return {
    folders: folders.rows,
    messages: messages.rows,
    locations: locations.rows,
    events: events.rows,
    lastSequence,
    stuck: stuck.rows.map(({ what }) => what),
  };
}

export interface Vault {
  readonly keyRing: KeyRing;
  readonly blobs: BlobStore;
}

/** Every content that is kept of a mailbox, opened. */
export async function readKept(db: Database, { keyRing, blobs }: Vault, mailboxId: string): Promise<Kept> {
  const texts = await sql<{ messageId: string; text: string }>`
    select coalesce(m.message_id, '') as "messageId", t.text from message_texts t join messages m on m.id = t.message_id
    where t.mailbox_id = ${mailboxId} and t.is_kept
  `.execute(db);
  const rows = await sql<{ key: BlobKey; messageId: string; part: string; sizeBytes: number; sealed: Sealed }>`
    select b.key, coalesce(m.message_id, '') as "messageId", b.part, b.size_bytes as "sizeBytes", b.sealed_key as sealed
    from message_blobs b join messages m on m.id = b.message_id where b.mailbox_id = ${mailboxId}
  `.execute(db);
  const contents: { readonly messageId: string; readonly part: string; readonly digest: string | null }[] = [];
  for (const { key, messageId, part, sizeBytes, sealed } of rows.rows) {
    const bytes = await openBlob().catch(() => undefined);
    async function openBlob(): Promise<readonly Buffer[]> {
      const dataKey = Buffer.from(String(unseal(keyRing, blobKeyContext(key), sealed)), "base64");
      return (await openContent(blobs, { key, sizeBytes, dataKey })).toArray();
    }
    contents.push({ messageId, part, digest: bytes === undefined ? null : digest(Buffer.concat(bytes)) });
  }
  return { texts: texts.rows, sources: contents.filter(({ part }) => part === ""), attachments: contents.filter(({ part }) => part !== "") };
}

/** A request at the receiver, read as a customer reads it. */
export function toArrival(secret: string, request: Received, clockErrorMaxS?: number): Arrival {
  const told = JSON.parse(request.body) as {
    readonly type: string;
    readonly mailboxId: string | null;
    readonly sequence: number | null;
    readonly data: { readonly message?: { readonly messageId?: string } };
  };
  return {
    webhookId: String(request.headers["webhook-id"]),
    isSigned: isSignedBy(secret, request, clockErrorMaxS),
    mailboxId: told.mailboxId,
    sequence: told.sequence,
    type: told.type,
    messageId: told.data.message?.messageId ?? null,
    body: request.body,
  };
}
