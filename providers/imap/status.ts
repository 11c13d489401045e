import type { ImapFlow, StatusObject } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { ScopeState, SyncCursor } from "../../domain/sync.ts";
import { readFolderCursor } from "./cursor.ts";
import { isMissing } from "./errors.ts";
import { byName, existsMax } from "./folder.ts";
import type { Lane } from "./lane.ts";
import { listMailboxes } from "./list.ts";

const statusQuery = { messages: true, uidNext: true, uidValidity: true, unseen: true, highestModseq: true } as const;

/** From this many folders on, one LIST with STATUS (RFC 5819) is cheaper than a STATUS each. */
const listStatusFrom = 3;

/** Folders that are asked about in one call where each needs a question of its own: ten thousand would outlast any call's time, and keep others waiting. */
const statusesAtOnce = 50;

/** How many of `count` folders are worth one call. */
export function askedAtOnce(hasListStatus: boolean, count: number): number {
  return hasListStatus && count >= listStatusFrom ? count : statusesAtOnce;
}

/** The values in slices of the size that `sizeOf` gives for those that are left; no values are one empty slice. */
export function* inSlices<T>(values: readonly T[], sizeOf: (count: number) => number): Generator<readonly T[]> {
  let at = 0;
  do {
    const size = sizeOf(values.length - at);
    yield values.slice(at, at + size);
    at += size;
  } while (at < values.length);
}

/** The same for any number of folders: what else waits for the connection comes between the slices. */
export async function checkAllScopes(lane: Lane, cursors: ReadonlyMap<string, SyncCursor>, signal?: AbortSignal): Promise<readonly ScopeState[]> {
  const states: ScopeState[] = [];
  for (const some of inSlices([...cursors], (count) => askedAtOnce(lane.offers("LIST-STATUS"), count))) {
    states.push(...(await lane.run({ doing: "asking whether folders changed", signal }, (client) => checkScopes(client, new Map(some)))));
  }
  return states;
}

/** What STATUS says of each folder against what its cursor knows. Folders that are gone are left out. */
export async function checkScopes(client: ImapFlow, cursors: ReadonlyMap<string, SyncCursor>): Promise<readonly ScopeState[]> {
  // Of a selected folder STATUS tells what the session saw (RFC 9051 §6.3.11 warns of it), even after it was deleted. Nothing is ever expunged by
  // this CLOSE, because folders are selected read-only.
  if (client.mailbox !== false && cursors.has(client.mailbox.path)) await client.mailboxClose();
  const listed = cursors.size >= listStatusFrom && client.capabilities.has("LIST-STATUS") ? await listStatuses(client) : new Map<string, Status>();
  const states: ScopeState[] = [];
  for (const [path, cursor] of cursors) {
    const status = listed.get(path) ?? (await askStatus(client, path));
    if (status === undefined) continue;
    // Refused for a reason of its own: whoever pulls the folder learns it.
    if (status === false) states.push({ path, changed: true, total: 0, unseen: 0, countsFlags: true });
    else states.push(toScopeState(path, cursor, status));
  }
  return states;
}

/** The same for the one folder that is selected, on a connection that has just read it and hears of what becomes of it. */
export async function checkSelected(client: ImapFlow, path: string, cursor: SyncCursor): Promise<readonly ScopeState[]> {
  const status = await askStatus(client, path);
  return status === undefined || status === false ? [] : [toScopeState(path, cursor, status)];
}

function toScopeState(path: string, cursor: SyncCursor, status: Status): ScopeState {
  const countsFlags = status.modseq !== null && readFolderCursor(cursor).modseq !== null;
  const [total, unseen] = [Math.min(status.exists ?? 0, existsMax), Math.min(status.unseen, existsMax)];
  return { path, changed: differs(cursor, status), total, unseen, countsFlags };
}

/** What tells whether a folder changed; null where the server did not say. */
export interface FolderState {
  readonly uidValidity: string | null;
  readonly uidNext: number | null;
  readonly modseq: bigint | null;
  readonly exists: number | null;
}

interface Status extends FolderState {
  readonly unseen: number;
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

async function listStatuses(client: ImapFlow): Promise<ReadonlyMap<string, Status>> {
  const items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", ...(client.capabilities.has("CONDSTORE") ? ["HIGHESTMODSEQ"] : [])];
  const statuses = new Map<string, Status>();
  for (const { path, status } of await listMailboxes(client, "*", items)) {
    if (status?.get("UIDVALIDITY") !== undefined) statuses.set(path, readStatus(status));
  }
  return statuses;
}

function readStatus(status: ReadonlyMap<string, string>): Status {
  const digits = (item: string) => /^\d{1,19}$/.exec(status.get(item) ?? "")?.[0];
  const number = (item: string) => {
    const text = digits(item);
    return text === undefined ? null : Number(text);
  };
  const modseq = digits("HIGHESTMODSEQ");
  return {
    uidValidity: digits("UIDVALIDITY") ?? null,
    uidNext: number("UIDNEXT"),
    modseq: modseq === undefined ? null : BigInt(modseq),
    exists: number("MESSAGES"),
    unseen: number("UNSEEN") ?? 0,
  };
}

async function askStatus(client: ImapFlow, path: string): Promise<Status | false | undefined> {
  try {
    const status = await byName(client, path, () => client.status(path, statusQuery));
    if (status !== false) return toStatus(status);
    // ImapFlow says the same of a refusal and of a connection that is gone, which would be taken for news of every folder.
    if (!client.usable) throw new MailError("unavailable", { doing: "asking whether a folder changed" });
    return false;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function toStatus(status: StatusObject): Status {
  return {
    uidValidity: status.uidValidity?.toString() ?? null,
    uidNext: status.uidNext ?? null,
    modseq: status.highestModseq ?? null,
    exists: status.messages ?? null,
    unseen: status.unseen ?? 0,
  };
}
