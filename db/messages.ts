import { type ToldMessage, toToldMessage } from "../domain/events.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { FolderId, MailboxId, MessageId, ThreadId } from "../domain/ids.ts";
import type { Direction } from "../domain/message.ts";
import { isBehind, type Page, type PageRequest, pageInstant, toPage } from "./pages.ts";
import type { ScopedConnection } from "./scope.ts";

export interface MessageFilter {
  readonly mailboxId?: MailboxId | undefined;
  readonly folderId?: FolderId | undefined;
  readonly role?: FolderRole | undefined;
  readonly threadId?: ThreadId | undefined;
  readonly direction?: Direction | undefined;
  /** At or after. */
  readonly receivedFrom?: string | undefined;
  /** Before. */
  readonly receivedBefore?: string | undefined;
}

/** Messages that still lie somewhere, newest first. */
export async function listMessages(db: ScopedConnection, filter: MessageFilter, { limit, after }: PageRequest): Promise<Page<MessageRow>> {
  let query = selectMessages(db).where("m.is_deleted", "=", false);
  const { mailboxId, folderId, role, threadId, direction, receivedFrom, receivedBefore } = filter;
  if (mailboxId !== undefined) query = query.where("m.mailbox_id", "=", mailboxId);
  if (role !== undefined) query = query.where("m.special_use", "=", role);
  if (threadId !== undefined) query = query.where("m.thread_id", "=", threadId);
  if (direction !== undefined) query = query.where("m.direction", "=", direction);
  if (receivedFrom !== undefined) query = query.where("m.received_at", ">=", new Date(receivedFrom));
  if (receivedBefore !== undefined) query = query.where("m.received_at", "<", new Date(receivedBefore));
  if (folderId !== undefined) {
    // Scope limits the outer query's tables; a location belongs to the customer of its message.
    query = query.where((eb) =>
      eb.exists(eb.selectFrom("message_locations as l").select("l.ref").whereRef("l.message_id", "=", "m.id").where("l.folder_id", "=", folderId)),
    );
  }
  if (after !== undefined) query = query.where(isBehind("m.received_at", "m.id", after));
  const rows = await query
    .orderBy("m.received_at", "desc")
    .orderBy("m.id")
    .limit(limit + 1)
    .execute();
  return toPage(rows, limit);
}

/** The message, unless it is gone from every folder. */
export async function findMessage(db: ScopedConnection, id: MessageId): Promise<MessageRow | undefined> {
  return selectMessages(db).where("m.id", "=", id).where("m.is_deleted", "=", false).executeTakeFirst();
}

/** The message as its events told it. */
export function readMessage(row: MessageRow): ToldMessage {
  return toToldMessage({
    id: row.id,
    threadId: row.thread_id,
    mailboxId: row.mailbox_id,
    account: row.external_id,
    direction: row.direction,
    main: { folderId: row.folder_id, path: row.path, role: row.folder_role, ref: row.main_ref },
    envelope: row.envelope,
    flags: row.flags,
    sizeBytes: row.size_bytes,
    receivedAt: row.received_at,
    attachments: row.attachments,
    snippet: row.snippet,
    traits: row.traits,
    defects: row.defects,
    recipientsTotal: row.recipients_total,
  });
}

export type MessageRow = Awaited<ReturnType<ReturnType<typeof selectMessages>["executeTakeFirstOrThrow"]>>;

/** Inner joins only: the scope's conditions on a joined table would turn an outer join into one anyway. */
function selectMessages(db: ScopedConnection) {
  return db
    .selectFrom("messages as m")
    .innerJoin("mailboxes as b", "b.id", "m.mailbox_id")
    .innerJoin("folders as f", "f.id", "m.main_folder_id")
    .select(["b.external_id", "f.path", "f.id as folder_id", "f.role as folder_role"])
    .select([
      "m.id",
      "m.mailbox_id",
      "m.thread_id",
      "m.message_id",
      "m.envelope",
      "m.subject",
      "m.flags",
      "m.size_bytes",
      "m.received_at",
      "m.attachments",
      "m.snippet",
      "m.traits",
      "m.defects",
      "m.recipients_total",
      "m.direction",
      "m.special_use",
      "m.main_ref",
    ])
    .select(pageInstant("m.received_at").as("page_at"));
}
