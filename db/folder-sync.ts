import { sql } from "kysely";
import type { Problem } from "../domain/errors.ts";
import { type FolderRole, folderRoles, isSyncedByDefault, type RemoteFolder } from "../domain/folder.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { SyncCursor } from "../domain/sync.ts";
import type { SyncSettings } from "../domain/sync-settings.ts";
import type { Connection } from "./database.ts";
import { type EventSource, recordEvents } from "./events.ts";
import { derivedId } from "./ids.ts";
import { removeAllPlaces } from "./places.ts";

/** A folder as sync needs it. */
export interface SyncFolder {
  readonly id: FolderId;
  readonly path: string;
  readonly role: FolderRole;
  readonly cursor: SyncCursor | null;
  readonly historyCursor: SyncCursor | null;
  readonly importState: "pending" | "importing" | "complete";
  readonly wasComplete: boolean;
  readonly generation: number;
}

/** The folders that are read, in the order in which they are: where people look first comes first. */
export async function listSyncFolders(db: Connection, mailboxId: MailboxId): Promise<readonly SyncFolder[]> {
  const rows = await db
    .selectFrom("folders")
    .select(["id", "path", "role", "cursor", "history_cursor", "import_state", "was_complete", "generation"])
    .where("mailbox_id", "=", mailboxId)
    .where("is_synced", "=", true)
    .execute();
  return rows
    .map((row) => ({
      id: row.id,
      path: row.path,
      role: row.role,
      cursor: row.cursor,
      historyCursor: row.history_cursor,
      importState: row.import_state,
      wasComplete: row.was_complete,
      generation: row.generation,
    }))
    .sort((a, b) => readingOrder(a) - readingOrder(b) || a.path.localeCompare(b.path));
}

const order: readonly FolderRole[] = ["inbox", "sent", "none", "archive", "all", "drafts", "junk", "trash", "important", "flagged"];

function readingOrder(folder: Pick<SyncFolder, "role">): number {
  return order.indexOf(folder.role);
}

/** How many folders a listing brought and took away. */
export interface FolderDifference {
  readonly added: number;
  readonly removed: number;
}

/**
 * Makes the folder rows agree with a listing: new ones are added, changed roles written, vanished ones removed with their places (their messages are
 * then looked for elsewhere before they count as deleted). Tells each difference, except when the mailbox is listed for the first time.
 */
export async function saveFolders(
  trx: Connection,
  source: EventSource & { readonly mailboxId: MailboxId },
  listed: readonly RemoteFolder[],
  settings: SyncSettings,
): Promise<FolderDifference> {
  const known = await trx
    .selectFrom("folders")
    .select(["id", "path", "role", "is_synced"])
    .where("mailbox_id", "=", source.mailboxId)
    .forUpdate()
    .execute();
  const isFirst = known.length === 0;
  const wanted = listed.map((folder) => withOverride(folder, settings));
  const byPath = new Map(known.map((row) => [row.path, row]));

  const added = wanted.filter((folder) => !byPath.has(folder.path));
  const changed = wanted.filter((folder) => {
    const row = byPath.get(folder.path);
    return row !== undefined && (row.role !== folder.role || row.is_synced !== isSynced(folder, settings));
  });
  const paths = new Set(wanted.map((folder) => folder.path));
  const removed = known.filter((row) => !paths.has(row.path));

  await upsertFolders(trx, source, [...added, ...changed], settings);
  if (removed.length > 0)
    await removeFolders(
      trx,
      removed.map((row) => row.id),
    );
  if (!isFirst) {
    await recordEvents(trx, source, [
      ...added.map((folder) => ({
        type: "folder.created" as const,
        folder: { id: folderId(source.mailboxId, folder.path), path: folder.path, role: folder.role },
      })),
      ...changed.map((folder) => ({
        type: "folder.updated" as const,
        folder: { id: folderId(source.mailboxId, folder.path), path: folder.path, role: folder.role },
      })),
      ...removed.map((row) => ({ type: "folder.deleted" as const, folder: { id: row.id, path: row.path, role: row.role } })),
    ]);
  }
  return { added: added.length, removed: removed.length };
}

/** The folder's id follows from its path, so that a listing needs no look-up and a repeat makes no second row. */
export function folderId(mailboxId: MailboxId, path: string): FolderId {
  return derivedId("folder", mailboxId, path);
}

function withOverride(folder: RemoteFolder, settings: SyncSettings): RemoteFolder {
  const role = folderRoles.find((known) => known === settings.roleOverrides[folder.path]);
  return role === undefined ? folder : { ...folder, role, roleSource: "override" };
}

function isSynced(folder: RemoteFolder, settings: SyncSettings): boolean {
  if (!folder.selectable || settings.excludePaths.includes(folder.path)) return false;
  return isSyncedByDefault(folder) || settings.includePaths.includes(folder.path);
}

async function upsertFolders(
  trx: Connection,
  source: EventSource & { readonly mailboxId: MailboxId },
  folders: readonly RemoteFolder[],
  settings: SyncSettings,
): Promise<void> {
  if (folders.length === 0) return;
  await trx
    .insertInto("folders")
    .values(
      folders.map((folder) => ({
        id: folderId(source.mailboxId, folder.path),
        customer_id: source.customerId,
        mailbox_id: source.mailboxId,
        path: folder.path,
        name: folder.name,
        delimiter: folder.delimiter,
        role: folder.role,
        role_source: folder.roleSource,
        is_selectable: folder.selectable,
        is_synced: isSynced(folder, settings),
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(["mailbox_id", "path"]).doUpdateSet((eb) => ({
        role: eb.ref("excluded.role"),
        role_source: eb.ref("excluded.role_source"),
        is_selectable: eb.ref("excluded.is_selectable"),
        is_synced: eb.ref("excluded.is_synced"),
      })),
    )
    .execute();
}

/** Removes folders and their places; what lay there is looked for elsewhere. */
async function removeFolders(trx: Connection, ids: readonly FolderId[]): Promise<void> {
  await removeAllPlaces(trx, ids);
  await trx
    .deleteFrom("folders")
    .where("id", "in", [...ids])
    .execute();
}

/** What the server says a folder holds, as of now. */
export async function recordFolderCounts(
  db: Connection,
  counts: readonly { readonly id: FolderId; readonly total: number; readonly unseen: number }[],
): Promise<void> {
  if (counts.length === 0) return;
  await sql`
    update folders f set total = c.total, unseen = c.unseen, checked_at = now()
    from jsonb_to_recordset(${JSON.stringify(counts)}::jsonb) as c (id text, total int, unseen int)
    where f.id = c.id and (f.total, f.unseen) is distinct from (c.total, c.unseen)
  `.execute(db);
}

/** What keeps one folder from being read while the others go on; null when it is read again. */
export async function recordFolderProblem(db: Connection, id: FolderId, problem: Problem | null): Promise<void> {
  await db
    .updateTable("folders")
    .set({ problem: problem === null ? null : JSON.stringify(problem) })
    .where("id", "=", id)
    .execute();
}

/** Forgets every cursor of a mailbox: the next look lists all folders anew, and tells nothing that the registry knows. */
export async function forgetCursors(db: Connection, mailboxId: MailboxId): Promise<void> {
  await db.updateTable("folders").set({ cursor: null }).where("mailbox_id", "=", mailboxId).execute();
}
