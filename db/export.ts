import { sql } from "kysely";
import type { FolderId, MailboxId, MessageId } from "../domain/ids.ts";
import type { Flags } from "../domain/message.ts";
import type { Connection } from "./database.ts";

/** A message to be exported, and where it is to be had. */
export interface ExportedMessage {
  readonly id: MessageId;
  readonly receivedAt: Date;
  readonly flags: Flags;
  readonly sizeBytes: number;
  readonly path: string;
  readonly ref: string;
}

/** From which message on, by when it was received; the message itself included or not. */
export interface ExportStart {
  readonly receivedAt: Date;
  readonly id: MessageId;
  readonly isIncluded: boolean;
}

/**
 * The mailbox's messages that lie somewhere, oldest first, each once, from `start` on. What comes while an export is under way comes at its end. Within one
 * instant the ids go down, which is the order in which the index lies.
 */
export async function listExport(
  db: Connection,
  mailboxId: MailboxId,
  options: { readonly folderId?: FolderId | undefined; readonly start: ExportStart | undefined; readonly limit: number },
): Promise<readonly ExportedMessage[]> {
  const { folderId, start, limit } = options;
  const from =
    start === undefined
      ? sql``
      : sql`and m.received_at >= ${start.receivedAt} and (m.received_at > ${start.receivedAt} or m.id ${start.isIncluded ? sql`<=` : sql`<`} ${start.id})`;
  const inFolder = folderId === undefined ? sql`` : sql`and l.folder_id = ${folderId}`;
  const { rows } = await sql<ExportedMessage>`
    select m.id, m.received_at as "receivedAt", m.flags, m.size_bytes as "sizeBytes", p.path, p.ref
    from messages m
    cross join lateral (
      select f.path, l.ref from message_locations l join folders f on f.id = l.folder_id
      where l.message_id = m.id ${inFolder} order by (f.id = m.main_folder_id) desc nulls last limit 1
    ) p
    where m.mailbox_id = ${mailboxId} and not m.is_deleted ${from}
    order by m.received_at, m.id desc
    limit ${limit}
  `.execute(db);
  return rows;
}

/** Where an export goes on that is to begin with this message; undefined if the mailbox never had it. */
export async function findExportStart(db: Connection, mailboxId: MailboxId, id: MessageId): Promise<ExportStart | undefined> {
  const row = await db.selectFrom("messages").select("received_at").where("id", "=", id).where("mailbox_id", "=", mailboxId).executeTakeFirst();
  return row === undefined ? undefined : { receivedAt: row.received_at, id, isIncluded: true };
}
