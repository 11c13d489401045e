import { sql } from "kysely";
import { isMassRemoval } from "../domain/brake.ts";
import type { Problem } from "../domain/errors.ts";
import type { FolderRole, RemoteFolder } from "../domain/folder.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { SyncCursor } from "../domain/sync.ts";
import { isFolderRead, placeRoles, type SyncSettings } from "../domain/sync-settings.ts";
import { confirmRemovals, holdRemoval, isHoldOver, releaseRemoval } from "./brake.ts";
import type { Connection } from "./database.ts";
import { type EventSource, recordEvents } from "./events.ts";
import { derivedId } from "./ids.ts";
import { removeAllPlaces } from "./places.ts";
import { isResting } from "./rests.ts";

/** A folder as sync needs it. */
export interface SyncFolder {
  readonly id: FolderId;
  readonly path: string;
  readonly role: FolderRole;
  readonly cursor: SyncCursor | null;
  readonly historyCursor: SyncCursor | null;
  readonly importState: "pending" | "importing" | "complete";
  /** Messages that its listing has brought so far. */
  readonly importDone: number;
  readonly wasComplete: boolean;
  readonly generation: number;
  /** Since when a removal of most of it waits to be said again. */
  readonly heldSince: Date | null;
  readonly isHoldOver: boolean;
  readonly writes: number;
  /** It is left alone for now: listing it failed, or the server begins it anew again and again. */
  readonly isResting: boolean;
  /** While settings have the folder listed: what it received before this is told to nobody. */
  readonly quietBefore: Date | null;
}

/** The folders that are read, in the order in which they are: where people look first comes first. */
export async function listSyncFolders(db: Connection, mailboxId: MailboxId): Promise<readonly SyncFolder[]> {
  const rows = await db
    .selectFrom("folders")
    .select([
      "id",
      "path",
      "role",
      "cursor",
      "history_cursor",
      "import_state",
      "import_done",
      "was_complete",
      "generation",
      "writes",
      "quiet_before",
      "held_since",
      isHoldOver.as("is_hold_over"),
      isResting.as("is_resting"),
    ])
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
      importDone: row.import_done,
      wasComplete: row.was_complete,
      generation: row.generation,
      heldSince: row.held_since,
      isHoldOver: row.is_hold_over,
      writes: row.writes,
      isResting: row.is_resting,
      quietBefore: row.quiet_before,
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

/** Every folder on record, with what tells it from others. */
export async function listFolderCursors(db: Connection, mailboxId: MailboxId) {
  return db.selectFrom("folders").select(["id", "path", "cursor", "stable_id as stableId"]).where("mailbox_id", "=", mailboxId).execute();
}

/** A folder that goes on under another path. */
export interface FolderRename {
  readonly id: FolderId;
  readonly path: string;
}

/**
 * Makes the folder rows agree with a listing: renamed ones keep their row, new ones are added, changed roles written, vanished ones removed with their
 * places (their messages are then looked for elsewhere before they count as deleted). Where much would vanish, that waits until a later listing says the
 * same, except for `deleted`, which we deleted ourselves. Tells each difference, except when the mailbox is listed for the first time.
 */
export async function saveFolders(
  trx: Connection,
  source: EventSource & { readonly mailboxId: MailboxId },
  listed: readonly RemoteFolder[],
  settings: SyncSettings,
  renames: readonly FolderRename[] = [],
  deleted: ReadonlySet<FolderId> = new Set(),
): Promise<FolderDifference> {
  const before = await lockFolders(trx, source.mailboxId);
  const wanted = placeRoles(listed, settings);
  const renamed = await renameFolders(trx, before, wanted, renames);
  const known = renamed.length === 0 ? before : await lockFolders(trx, source.mailboxId);
  const byPath = new Map(known.map((row) => [row.path, row]));

  const added = wanted.filter((folder) => !byPath.has(folder.path));
  const changed = wanted.filter((folder) => {
    const row = byPath.get(folder.path);
    return row !== undefined && (row.role !== folder.role || row.is_synced !== isFolderRead(folder, settings));
  });
  const paths = new Set(wanted.map((folder) => folder.path));
  const removed = await believedRemovals(
    trx,
    known.filter((row) => !paths.has(row.path)),
    deleted,
  );

  const ids = new Map(known.map((row) => [row.path, row.id]));
  for (const { path } of added) ids.set(path, freshFolderId(source.mailboxId, path, new Set(ids.values())));
  const told = ({ path, role }: RemoteFolder) => ({ id: ids.get(path) ?? folderId(source.mailboxId, path), path, role });
  await upsertFolders(trx, source, [...added, ...changed], settings, (folder) => told(folder).id);
  await recordStableIds(
    trx,
    wanted.flatMap((folder) => {
      const row = byPath.get(folder.path);
      return row === undefined || row.stable_id === folder.stableId ? [] : [{ id: row.id, stableId: folder.stableId }];
    }),
  );
  if (removed.length > 0)
    await removeFolders(
      trx,
      removed.map((row) => row.id),
    );
  if (before.length > 0) {
    await recordEvents(trx, source, [
      ...renamed.map(({ from, folder }) => ({ type: "folder.updated" as const, folder: told(folder), changes: { renamedFrom: from } })),
      ...added.map((folder) => ({ type: "folder.created" as const, folder: told(folder) })),
      ...changed.map((folder) => ({ type: "folder.updated" as const, folder: told(folder) })),
      ...removed.map(({ id, path, role }) => ({ type: "folder.deleted" as const, folder: { id, path, role } })),
    ]);
  }
  return { added: added.length + renamed.length, removed: removed.length };
}

/** The folder's id follows from its path, so that a listing needs no look-up and a repeat makes no second row. */
export function folderId(mailboxId: MailboxId, path: string): FolderId {
  return derivedId("folder", mailboxId, path);
}

/** A renamed folder keeps its id: a new folder at its old path gets another one. */
function freshFolderId(mailboxId: MailboxId, path: string, taken: ReadonlySet<FolderId>): FolderId {
  let id = folderId(mailboxId, path);
  for (let again = 2; taken.has(id); again += 1) id = derivedId("folder", mailboxId, `${path} ${again}`);
  return id;
}

async function lockFolders(trx: Connection, mailboxId: MailboxId) {
  return trx
    .selectFrom("folders")
    .select(["id", "path", "role", "is_synced", "stable_id", "held_since", isHoldOver.as("is_hold_over")])
    .where("mailbox_id", "=", mailboxId)
    .orderBy("id")
    .forUpdate()
    .execute();
}

type KnownFolder = Awaited<ReturnType<typeof lockFolders>>[number];

/** Gives rows their folders' new paths. Their ids, cursors, places and messages stay: nothing happened to the mail. */
async function renameFolders(
  trx: Connection,
  known: readonly KnownFolder[],
  listed: readonly RemoteFolder[],
  renames: readonly FolderRename[],
): Promise<readonly { readonly from: string; readonly folder: RemoteFolder }[]> {
  const done = [];
  for (const { id, path } of renames) {
    const from = known.find((row) => row.id === id)?.path;
    const folder = listed.find((candidate) => candidate.path === path);
    // Another listing was faster, and knows better.
    if (from === undefined || folder === undefined || known.some((row) => row.path === path)) continue;
    await trx.updateTable("folders").set({ path, name: folder.name, delimiter: folder.delimiter }).where("id", "=", id).execute();
    await releaseRemoval(trx, id);
    done.push({ from, folder });
  }
  return done;
}

/** Of the folders that a listing leaves out, those that are gone. Where many messages would go with them, a later listing has to say so too. */
async function believedRemovals(trx: Connection, missing: readonly KnownFolder[], deleted: ReadonlySet<FolderId>): Promise<readonly KnownFolder[]> {
  if (missing.length === 0) return [];
  const places = await trx
    .selectFrom("message_locations")
    .select(["folder_id", (eb) => eb.fn.countAll<number>().as("count")])
    .where(
      "folder_id",
      "in",
      missing.map((row) => row.id),
    )
    .groupBy("folder_id")
    .execute();
  const waiting = missing.filter((row) => !row.is_hold_over && !deleted.has(row.id));
  const counts = new Map(places.map((row) => [row.folder_id, row.count]));
  const lost = waiting.reduce((sum, row) => sum + (counts.get(row.id) ?? 0), 0);
  if (!isMassRemoval(lost, lost)) return missing;
  for (const { id } of waiting) await holdRemoval(trx, id, counts.get(id) ?? 0);
  return missing.filter((row) => row.is_hold_over || deleted.has(row.id));
}

async function upsertFolders(
  trx: Connection,
  source: EventSource & { readonly mailboxId: MailboxId },
  folders: readonly RemoteFolder[],
  settings: SyncSettings,
  idOf: (folder: RemoteFolder) => FolderId,
): Promise<void> {
  if (folders.length === 0) return;
  await trx
    .insertInto("folders")
    .values(
      folders.map((folder) => ({
        id: idOf(folder),
        customer_id: source.customerId,
        mailbox_id: source.mailboxId,
        path: folder.path,
        name: folder.name,
        delimiter: folder.delimiter,
        role: folder.role,
        role_source: folder.roleSource,
        is_selectable: folder.selectable,
        is_synced: isFolderRead(folder, settings),
        stable_id: folder.stableId,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(["mailbox_id", "path"]).doUpdateSet((eb) => ({
        role: eb.ref("excluded.role"),
        role_source: eb.ref("excluded.role_source"),
        is_selectable: eb.ref("excluded.is_selectable"),
        is_synced: eb.ref("excluded.is_synced"),
        stable_id: eb.ref("excluded.stable_id"),
        // A folder that is read from now on was there before: what it holds is history.
        quiet_before: sql<Date | null>`case when excluded.is_synced and not folders.is_synced then now() else folders.quiet_before end`,
      })),
    )
    .execute();
}

/** Ids that the server told of folders that were on record without: it learned to, or they are others now under the same paths. */
async function recordStableIds(trx: Connection, folders: readonly { readonly id: FolderId; readonly stableId: string | null }[]): Promise<void> {
  if (folders.length === 0) return;
  await sql`
    update folders f set stable_id = s."stableId" from jsonb_to_recordset(${JSON.stringify(folders)}::jsonb) as s (id text, "stableId" text) where f.id = s.id
  `.execute(trx);
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

/**
 * Lists a folder once more from `historyCursor` down, beside the live cursor, which stays where it is. What was received before `quietBefore` is told to
 * nobody: it was left out until settings changed.
 */
export async function beginListing(
  db: Connection,
  folder: Pick<SyncFolder, "id" | "generation">,
  listing: { readonly historyCursor: SyncCursor; readonly total: number; readonly quietBefore: Date },
): Promise<void> {
  await db
    .updateTable("folders")
    .set({
      history_cursor: JSON.stringify(listing.historyCursor),
      import_state: "importing",
      import_total: listing.total,
      import_done: 0,
      quiet_before: listing.quietBefore,
    })
    .where("id", "=", folder.id)
    .where("generation", "=", folder.generation)
    .where("is_synced", "=", true)
    .execute();
}

/**
 * Forgets every cursor of a mailbox: the next look lists all folders anew, and tells nothing that the registry knows. Who asks for that wants the
 * server to be believed: what was held back goes, and folders that were left alone are tried.
 */
export async function forgetCursors(db: Connection, mailboxId: MailboxId): Promise<void> {
  await db
    .updateTable("folders")
    .set({ cursor: null, resets: 0, resets_since: null, rests_until: null })
    .where("mailbox_id", "=", mailboxId)
    .execute();
  await confirmRemovals(db, mailboxId);
}
