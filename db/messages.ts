import { sql } from "kysely";
import { type ToldMessage, toToldMessage } from "../domain/events.ts";
import type { MessageId } from "../domain/ids.ts";
import { type FoundMessage, findMessages, type MessageFilter, type MessageOrder } from "./message-search.ts";
import type { Page, PageRequest } from "./pages.ts";
import type { Scope, ScopedConnection } from "./scope.ts";

/** Messages that still lie somewhere, in the order of time. A page may be short, or even empty, although more follow: `next` alone tells. */
export async function listMessages(
  db: ScopedConnection,
  scope: Scope,
  filter: MessageFilter,
  request: PageRequest & { readonly order: MessageOrder },
): Promise<Page<MessageRow>> {
  const { rows: found, next } = await findMessages(db, scope, filter, request);
  return { rows: await loadMessages(db, found), next };
}

/** These messages, in this order; what was deleted meanwhile is left out. */
export async function loadMessages(db: ScopedConnection, found: readonly Pick<FoundMessage, "id">[]): Promise<readonly MessageRow[]> {
  if (found.length === 0) return [];
  const ids = found.map((row) => row.id);
  const rows = await selectMessages(db).where("m.id", "in", ids).where("m.is_deleted", "=", false).execute();
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.flatMap((id) => byId.get(id) ?? []);
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
    attachments: row.hides_attachments ? [] : row.attachments,
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
    .select(sql<boolean>`coalesce(b.sync ->> 'attachments', 'metadata') = 'skip'`.as("hides_attachments"))
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
    ]);
}
