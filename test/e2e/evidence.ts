import { sql } from "kysely";
import type { Database } from "../../db/database.ts";
import { isSignedBy, type Received } from "../webhooks/receiver.ts";
import type { Arrival, Stored } from "./checker.ts";

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
  const { event_sequence: lastSequence } = await db
    .selectFrom("mailboxes")
    .select("event_sequence")
    .where("id", "=", mailboxId as never)
    .executeTakeFirstOrThrow();
  return { folders: folders.rows, messages: messages.rows, locations: locations.rows, events: events.rows, lastSequence };
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
