import type { FolderRole } from "../domain/folder.ts";
import type { MailboxId } from "../domain/ids.ts";
import { isFolderRead, keptFrom, placeRoles, type SyncSettings, unwantedDirections } from "../domain/sync-settings.ts";
import type { ScopedConnection } from "./scope.ts";

interface PreviewedFolder {
  readonly path: string;
  readonly role: FolderRole;
  /** As the server counted them last; null for a folder that it was never asked about. */
  readonly messages: number | null;
}

export interface SettingsPreview {
  readonly foldersAdded: PreviewedFolder[];
  readonly foldersRemoved: PreviewedFolder[];
  readonly messagesToForget: number;
  readonly messagesToImport: number | null;
}

/** What a change of settings would do to what is stored, by what is stored: nothing is written, and no server asked. */
export async function previewSettings(
  db: ScopedConnection,
  id: MailboxId,
  before: SyncSettings,
  after: SyncSettings,
  now: number,
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
  const show = ({ folder, row }: (typeof placed)[number]) => ({
    path: folder.path,
    role: folder.role,
    messages: row === undefined || row.checked_at === null ? null : row.total,
  });
  const foldersAdded = placed.filter(({ row, isRead }) => isRead && row?.is_synced === false).map(show);
  const foldersRemoved = placed.filter(({ row, isRead }) => !isRead && row?.is_synced === true).map(show);
  const read = placed.flatMap(({ row, isRead }) => (isRead && row !== undefined ? [row.id] : []));
  const counts = foldersAdded.map(({ messages }) => messages);
  return {
    foldersAdded,
    foldersRemoved,
    messagesToForget: await countUnwanted(db, id, read, after, now),
    messagesToImport: counts.some((count) => count === null) ? null : counts.reduce<number>((sum, count) => sum + (count ?? 0), 0),
  };
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
