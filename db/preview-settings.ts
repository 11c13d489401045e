import type { FolderRole } from "../domain/folder.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import { isFolderRead, keptFrom, placeRoles, reachesFurther, type SyncSettings, unwantedDirections } from "../domain/sync-settings.ts";
import type { ScopedConnection } from "./scope.ts";

interface PreviewedFolder {
  readonly path: string;
  readonly role: FolderRole;
  /** As the server counts them now, or counted them last; null for a folder that it was never asked about. */
  readonly messages: number | null;
}

/** How many messages these folders hold that were received since then, as far as their server tells. */
export type CountMessages = (folders: readonly FolderId[], receivedFrom: Date | undefined) => Promise<ReadonlyMap<FolderId, number>>;

export interface SettingsPreview {
  readonly foldersAdded: PreviewedFolder[];
  readonly foldersRemoved: PreviewedFolder[];
  readonly messagesToForget: number;
  readonly messagesToImport: number | null;
}

/**
 * What a change of settings would do: to what is stored by what is stored, and to what the server holds by what it answers. Nothing is written. What would
 * be imported is an upper bound where only one direction is wanted, for that is seen by reading.
 */
export async function previewSettings(
  db: ScopedConnection,
  id: MailboxId,
  { before, after, now }: { readonly before: SyncSettings; readonly after: SyncSettings; readonly now: number },
  count: CountMessages,
): Promise<SettingsPreview> {
  const rows = await db
    .selectFrom("folders")
    .select(["id", "path", "name", "delimiter", "role", "role_source", "is_selectable", "is_synced", "total", "checked_at"])
    .where("mailbox_id", "=", id)
    .orderBy("path")
    .execute();
  const listed = rows.map((row) => {
    const folder = { ...row, roleSource: row.role_source, selectable: row.is_selectable, stableId: null };
    // Rows do not say whose a folder is: one that is left out although today's settings take it is somebody else's.
    return { ...folder, isShared: !row.is_synced && isFolderRead(folder, before) };
  });
  const placed = placeRoles(listed, after).map((folder, index) => ({ folder, row: rows[index], isRead: isFolderRead(folder, after) }));
  const from = keptFrom(after, now);
  const isAdded = ({ row, isRead }: (typeof placed)[number]) => isRead && row?.is_synced === false;
  const isListedAgain = ({ row, isRead }: (typeof placed)[number]) => isRead && row?.is_synced === true && reachesFurther(before, after);
  const asked = placed.filter((one) => isAdded(one) || isListedAgain(one)).flatMap(({ row }) => (row === undefined ? [] : [row]));
  const counted =
    asked.length === 0
      ? new Map<FolderId, number>()
      : await count(
          asked.map((row) => row.id),
          from,
        );
  const known = (row: (typeof rows)[number] | undefined) => (row === undefined || row.checked_at === null ? null : row.total);
  const show = ({ folder, row }: (typeof placed)[number]) => ({
    path: folder.path,
    role: folder.role,
    messages: (row === undefined ? undefined : counted.get(row.id)) ?? known(row),
  });
  const foldersAdded = placed.filter(isAdded).map(show);
  const foldersRemoved = placed.filter(({ row, isRead }) => !isRead && row?.is_synced === true).map(show);
  const read = placed.flatMap(({ row, isRead }) => (isRead && row !== undefined ? [row.id] : []));
  const again = placed.filter(isListedAgain).flatMap(({ row }) => (row === undefined ? [] : [row]));
  const stored = await countPlaces(
    db,
    again.map((row) => row.id),
    from,
  );
  const leftOut = again.map((row) => {
    const total = counted.get(row.id) ?? known(row);
    return total === null ? null : Math.max(0, total - (stored.get(row.id) ?? 0));
  });
  const counts = [...foldersAdded.map(({ messages }) => messages), ...leftOut];
  return {
    foldersAdded,
    foldersRemoved,
    messagesToForget: await countUnwanted(db, id, read, after, now),
    messagesToImport: counts.some((count) => count === null) ? null : counts.reduce<number>((sum, count) => sum + (count ?? 0), 0),
  };
}

/** What is stored of folders, received since then. */
async function countPlaces(db: ScopedConnection, folders: readonly FolderId[], from: Date | undefined): Promise<ReadonlyMap<FolderId, number>> {
  if (folders.length === 0) return new Map();
  let query = db
    .selectFrom("message_locations as l")
    .innerJoin("messages as m", "m.id", "l.message_id")
    .select(["l.folder_id", (eb) => eb.fn.countAll<number>().as("count")])
    .where("l.folder_id", "in", folders);
  if (from !== undefined) query = query.where("m.received_at", ">=", from);
  const rows = await query.groupBy("l.folder_id").execute();
  return new Map(rows.map((row) => [row.folder_id, row.count]));
}

async function countUnwanted(db: ScopedConnection, id: MailboxId, read: readonly string[], after: SyncSettings, now: number): Promise<number> {
  const before = keptFrom(after, now);
  // What lies in the trash went the way that its sender says: it is looked at one by one when the change is carried out.
  const directions = unwantedDirections(after).filter((direction) => direction !== "trash");
  const { count } = await db
    .selectFrom("messages as m")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("m.mailbox_id", "=", id)
    .where("m.is_deleted", "=", false)
    .where((eb) =>
      eb.or([
        eb.not(
          eb.exists(
            eb
              .selectFrom("message_locations as l")
              .select("l.ref")
              .whereRef("l.message_id", "=", "m.id")
              .where("l.folder_id", "in", read.length === 0 ? ["" as never] : (read as readonly never[])),
          ),
        ),
        ...(before === undefined ? [] : [eb("m.received_at", "<", before)]),
        ...(directions.length === 0 ? [] : [eb("m.direction", "in", directions)]),
      ]),
    )
    .executeTakeFirstOrThrow();
  return count;
}
