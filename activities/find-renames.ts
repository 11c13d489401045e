import type { FolderRename } from "../db/folder-sync.ts";
import type { RemoteFolder } from "../domain/folder.ts";
import type { FolderId } from "../domain/ids.ts";
import type { SyncCursor } from "../domain/sync.ts";
import type { MailProvider } from "../providers/provider.ts";

interface KnownFolder {
  readonly id: FolderId;
  readonly path: string;
  readonly cursor: SyncCursor | null;
  readonly stableId: string | null;
}

/** Questions to the server at most, where nothing but its counts can tell. */
const questionsMax = 200;

/**
 * Folders that vanished and came back under another path in one listing. The server's own id of the folder is proof, even where another folder has taken
 * the old path meanwhile; without one, a new folder whose UIDVALIDITY, UIDNEXT, count and mod-sequence are what the vanished one's cursor says is that
 * folder, as long as no second one is.
 */
export async function findRenames(
  known: readonly KnownFolder[],
  listed: readonly RemoteFolder[],
  provider: MailProvider,
  signal: AbortSignal,
): Promise<readonly FolderRename[]> {
  const knownPaths = new Set(known.map((folder) => folder.path));
  const listedByPath = new Map(listed.map((folder) => [folder.path, folder]));
  const vanished = known.filter((folder) => isGone(folder, listedByPath.get(folder.path)));
  const added = listed.filter((folder) => folder.selectable && !knownPaths.has(folder.path));
  if (vanished.length === 0 || added.length === 0) return [];

  const renames: FolderRename[] = [];
  let questionsLeft = questionsMax;
  /** The one of these folders that is the vanished one; undefined if none is, or more than one may be. */
  const findSame = async (cursor: SyncCursor, candidates: readonly RemoteFolder[]): Promise<string | undefined> => {
    const same: string[] = [];
    for (const { path } of candidates) {
      if (questionsLeft === 0) return undefined;
      questionsLeft -= 1;
      const [state] = await provider.checkScopes(new Map([[path, cursor]]), signal);
      if (state?.changed === false) same.push(path);
    }
    return same.length === 1 ? same[0] : undefined;
  };
  for (const { id, path, cursor, stableId } of vanished) {
    const proven = stableId === null ? undefined : added.find((folder) => folder.stableId === stableId);
    if (proven !== undefined) renames.push({ id, path: proven.path });
    if (cursor === null || proven !== undefined || listedByPath.has(path)) continue;
    const free = added.filter((folder) => !renames.some((rename) => rename.path === folder.path));
    // Who renames a folder renames all below it, and those keep their last names.
    const { alike = [], others = [] } = Object.groupBy(free, (folder) => (hasNameOf(folder, path) ? "alike" : "others"));
    const found = (await findSame(cursor, alike)) ?? (await findSame(cursor, others));
    if (found !== undefined) renames.push({ id, path: found });
  }
  return renames;
}

/** Nothing is listed at its path, or what the server says is another folder. */
function isGone(known: KnownFolder, listed: RemoteFolder | undefined): boolean {
  if (listed === undefined) return true;
  return known.stableId !== null && listed.stableId !== null && known.stableId !== listed.stableId;
}

function hasNameOf(folder: RemoteFolder, path: string): boolean {
  return path === folder.name || path.endsWith(`${folder.delimiter}${folder.name}`);
}
