import type { ImapFlow, StatusObject } from "imapflow";
import type { ScopeState, SyncCursor } from "../../domain/sync.ts";
import { readFolderCursor } from "./cursor.ts";

const statusQuery = { messages: true, uidNext: true, uidValidity: true, unseen: true, highestModseq: true } as const;

/** From this many folders on, one LIST with STATUS (RFC 5819) is cheaper than a STATUS each. */
const listStatusFrom = 3;

/** What STATUS says of each folder against what its cursor knows. Folders that are gone are left out. */
export async function checkScopes(client: ImapFlow, cursors: ReadonlyMap<string, SyncCursor>): Promise<readonly ScopeState[]> {
  // Of a selected folder STATUS tells what the session saw (RFC 9051 §6.3.11 warns of it), even after it was deleted. Nothing is ever expunged by
  // this CLOSE, because folders are selected read-only.
  if (client.mailbox !== false && cursors.has(client.mailbox.path)) await client.mailboxClose();
  const listed =
    cursors.size >= listStatusFrom && client.capabilities.has("LIST-STATUS") ? await listStatuses(client) : new Map<string, StatusObject>();
  const states: ScopeState[] = [];
  for (const [path, cursor] of cursors) {
    const status = listed.get(path) ?? (await askStatus(client, path));
    if (status === undefined) continue;
    // Refused for a reason of its own: whoever pulls the folder learns it.
    if (status === false) states.push({ path, changed: true, total: 0, unseen: 0 });
    else states.push({ path, changed: differs(cursor, toFolderState(status)), total: status.messages ?? 0, unseen: status.unseen ?? 0 });
  }
  return states;
}

/** What tells whether a folder changed; null where the server did not say. */
export interface FolderState {
  readonly uidValidity: string | null;
  readonly uidNext: number | null;
  readonly modseq: bigint | null;
  readonly exists: number | null;
}

/** Whether a pull would find anything, as far as the numbers tell: flags show only where the server counts changes. */
export function differs(cursor: SyncCursor, state: FolderState): boolean {
  const known = readFolderCursor(cursor);
  if (known.flagRound !== undefined) return true;
  if (state.uidValidity !== null && state.uidValidity !== known.uidValidity) return true;
  if (state.uidNext !== null && state.uidNext !== known.uidNext) return true;
  if (state.exists !== null && state.exists !== known.exists) return true;
  return state.modseq !== null && known.modseq !== null && state.modseq !== BigInt(known.modseq);
}

async function listStatuses(client: ImapFlow): Promise<ReadonlyMap<string, StatusObject>> {
  const folders = await client.list({ listOnly: true, statusQuery });
  return new Map(folders.flatMap(({ path, status }) => (status?.uidValidity === undefined ? [] : [[path, status] as const])));
}

async function askStatus(client: ImapFlow, path: string): Promise<StatusObject | false | undefined> {
  try {
    return await client.status(path, statusQuery);
  } catch (error) {
    if (error instanceof Error && (error as { code?: unknown }).code === "NotFound") return undefined;
    throw error;
  }
}

function toFolderState(status: StatusObject): FolderState {
  return {
    uidValidity: status.uidValidity?.toString() ?? null,
    uidNext: status.uidNext ?? null,
    modseq: status.highestModseq ?? null,
    exists: status.messages ?? null,
  };
}
