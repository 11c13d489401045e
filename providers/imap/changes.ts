import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import { normaliseFlags } from "../../domain/message.ts";
import type { ChangePage, FetchedMessages, FlagChange, RefRanges, SyncCursor, SyncScope } from "../../domain/sync.ts";
import { type FolderCursor, readFolderCursor } from "./cursor.ts";
import { fetchMessages, fetchRows, joinFetched, recoveredMax, recoverMessages } from "./fetch.ts";
import { type SelectedFolder, selectFolder } from "./folder.ts";
import { clipRanges, countRanges, highest, lowest, missingFrom, takeFirst } from "./ranges.ts";
import { listUids, searchUids } from "./search.ts";

/**
 * The next page of a folder's changes: new messages first, page by page; flags and removals with the last of them, so that the cursor's mod-sequence never
 * runs ahead of a message that was not listed (which would lose it for ever). Everything is judged by what SELECT said at one instant; what happens
 * while the page is read is the next page's.
 */
export async function pullChanges(
  client: ImapFlow,
  scope: SyncScope,
  cursor: SyncCursor | undefined,
  options: { readonly limit: number; readonly isThorough?: boolean | undefined },
): Promise<ChangePage> {
  const folder = await selectFolder(client, scope.path);
  const known = cursor === undefined ? undefined : readFolderCursor(cursor);
  // UIDs only grow under one UIDVALIDITY; a server that takes them back has broken that promise, and nothing that was known holds.
  if (known === undefined || known.uidValidity !== folder.uidValidity || folder.uidNext < known.uidNext) return firstLook(folder);

  const arrived = await pullNew(client, folder, known, options.limit);
  if (arrived.uidNext < folder.uidNext) {
    const exists = known.exists < 0 ? -1 : known.exists + arrived.messages.length + arrived.skipped.length;
    const next = { ...known, uidNext: arrived.uidNext, exists };
    return { ...emptyPage, added: arrived.messages, skipped: arrived.skipped, cursor: next, more: true, total: folder.exists };
  }
  const removals = await pullRemovals(client, folder, known, arrived, options.isThorough === true);
  const trust = judgeModseq(folder, known, arrived.messages.length);
  const isDoubted = trust.ignoresModseq === true && known.ignoresModseq !== true;
  const counted = trust.ignoresModseq === true ? { ...folder, modseq: null } : folder;
  const flags = await pullFlags(client, counted, known, isDoubted || options.isThorough === true);
  return {
    ...emptyPage,
    added: removals.messages,
    skipped: removals.skipped,
    flagChanges: flags.changes,
    present: removals.present,
    cursor: withoutUndefined({ ...trust, ...flags.cursor, uidValidity: folder.uidValidity, uidNext: folder.uidNext, exists: removals.exists }),
    more: flags.cursor.flagRound !== undefined,
    total: folder.exists,
  };
}

const emptyPage = {
  added: [],
  flagChanges: [],
  removed: [],
  skipped: [],
  present: undefined,
  more: false,
  reset: false,
  historyCursor: undefined,
} as const;

function firstLook(folder: SelectedFolder): ChangePage {
  const { uidValidity, uidNext, exists } = folder;
  return {
    ...emptyPage,
    cursor: { uidValidity, uidNext, modseq: folder.modseq?.toString() ?? null, exists },
    reset: true,
    historyCursor: { uidValidity, below: uidNext },
    total: exists,
  };
}

/** A counter that was set back this often is no counter. Once is an index that was built anew. */
const setBacksMax = 3;

/**
 * Whether the folder's mod-sequences can be believed. They only grow, and every new message has one of its own (RFC 7162 §3.1): a counter that stood still
 * while messages arrived, or goes back again and again, says nothing about flags either, which are then read as on a server without one.
 */
function judgeModseq(folder: SelectedFolder, known: FolderCursor, arrivedCount: number): Pick<FolderCursor, "ignoresModseq" | "setBacks"> {
  const { ignoresModseq, setBacks } = known;
  if (ignoresModseq === true || folder.modseq === null || known.modseq === null || known.flagRound !== undefined) return { ignoresModseq, setBacks };
  const before = BigInt(known.modseq);
  const count = (setBacks ?? 0) + (folder.modseq < before ? 1 : 0);
  const isLying = count >= setBacksMax || (arrivedCount > 0 && folder.modseq === before);
  return { ignoresModseq: isLying ? true : undefined, setBacks: count === 0 ? undefined : count };
}

/** The oldest `limit` messages that came since the cursor, and the UID up to which nothing is left out. */
async function pullNew(
  client: ImapFlow,
  folder: SelectedFolder,
  known: FolderCursor,
  limit: number,
): Promise<FetchedMessages & { readonly uidNext: number }> {
  const first = known.uidNext;
  const last = folder.uidNext - 1;
  const { uidNext } = folder;
  if (first > last) return { messages: [], skipped: [], uidNext };
  // Few enough even if every UID exists: no need to ask which do. What is missing shows in the count.
  if (last - first < limit) return { ...(await fetchMessages(client, first, last)), uidNext };
  const listed = await listNew(client, folder, known);
  const page = takeFirst(listed, limit);
  const pageLast = highest(page);
  if (pageLast === undefined) return { messages: [], skipped: [], uidNext };
  const fetched = await fetchMessages(client, lowest(page) ?? first, pageLast, page);
  return { ...fetched, uidNext: pageLast === highest(listed) ? uidNext : pageLast + 1 };
}

/**
 * The UIDs that came since the cursor. With those that were there before, they are no fewer than the folder holds: a listing that is shorter was cut, and
 * what the next page would begin after is not known by it.
 */
async function listNew(client: ImapFlow, folder: SelectedFolder, known: FolderCursor): Promise<RefRanges> {
  const searched = await searchUids(client, [[known.uidNext, folder.uidNext - 1]]);
  if (known.exists < 0 || known.exists + countRanges(searched) >= folder.exists) return searched;
  const all = await listUids(client);
  return all === undefined ? searched : clipRanges(all, known.uidNext, folder.uidNext - 1);
}

/** The new messages, with those that only the listing brought to light. */
interface Removals extends FetchedMessages {
  readonly present: RefRanges | undefined;
  readonly exists: number;
}

/**
 * Whether anything went, by counting: what was there, plus what came, is what there is now, or else something is missing. Only then is the folder
 * listed, or when thoroughness is asked for.
 */
async function pullRemovals(
  client: ImapFlow,
  folder: SelectedFolder,
  known: FolderCursor,
  { messages, skipped }: FetchedMessages,
  isThorough: boolean,
): Promise<Removals> {
  const arrived = { messages, skipped };
  if (!isThorough && known.exists >= 0 && known.exists + messages.length + skipped.length === folder.exists)
    return { ...arrived, present: undefined, exists: folder.exists };
  const present = await listUids(client);
  // Messages come and go faster than they can be counted: the next look tries again.
  if (present === undefined) return { ...arrived, present: undefined, exists: -1 };
  const exists = countRanges(clipRanges(present, 1, folder.uidNext - 1));
  const missing = missingAmong(clipRanges(present, known.uidNext, folder.uidNext - 1), arrived);
  return { ...(missing.length === 0 ? arrived : joinFetched(arrived, await recoverMessages(client, missing))), present, exists };
}

/** The new UIDs that the page lacks; far too many of them are no gap but a server that makes them up. */
function missingAmong(listed: RefRanges, { messages, skipped }: FetchedMessages): readonly number[] {
  const fetched = new Set([...messages, ...skipped].map(({ ref }) => Number(ref)));
  const count = countRanges(listed) - fetched.size;
  if (count > recoveredMax)
    throw new MailError("invalid_response", { doing: `reading new messages: the server lists ${count} that it does not give` });
  return missingFrom(listed, fetched);
}

interface FlagRound {
  readonly changes: readonly FlagChange[];
  readonly cursor: Pick<FolderCursor, "modseq" | "flagRound">;
}

/** Flag changes in one page; more wait for the next, so that "mark all as read" in a large folder stays a small answer. */
const flagPageMax = 10_000;
/** How many of the newest messages are looked at where the server keeps no mod-sequences: flags of old mail hardly change. */
const recentMax = 1_000;

async function pullFlags(client: ImapFlow, folder: SelectedFolder, known: FolderCursor, isThorough: boolean): Promise<FlagRound> {
  const last = known.uidNext - 1;
  const modseq = folder.modseq?.toString() ?? null;
  const done = { modseq };
  if (last < 1) return { changes: [], cursor: done };
  if (known.flagRound !== undefined) return pullFlagRound(client, known, { ...known.flagRound, last });
  if (folder.modseq !== null && known.modseq !== null && folder.modseq >= BigInt(known.modseq)) {
    if (folder.modseq === BigInt(known.modseq)) return { changes: [], cursor: done };
    const changes = await fetchFlags(client, 1, last, known.modseq, flagPageMax + 1);
    if (changes.length <= flagPageMax) return { changes, cursor: done };
    return pullFlagRound(client, known, { from: 1, modseq, last });
  }
  // No counter, or one that was set back: the flags themselves have to be read.
  if (isThorough || folder.modseq !== null) return pullFlagRound(client, { ...known, modseq: null }, { from: 1, modseq, last });
  const from = Math.max(1, folder.exists - recentMax + 1);
  if (folder.exists === 0) return { changes: [], cursor: done };
  const rows = await client.fetchAll(`${from}:*`, { uid: true, flags: true });
  return { changes: rows.flatMap((row) => toFlagChange(row, 1, last)), cursor: done };
}

/** A page of a round over all UIDs: those that changed since the cursor's mod-sequence, or simply all of them. */
async function pullFlagRound(
  client: ImapFlow,
  known: FolderCursor,
  round: { readonly from: number; readonly modseq: string | null; readonly last: number },
): Promise<FlagRound> {
  const { from, modseq, last } = round;
  if (from > last) return { changes: [], cursor: { modseq } };
  const criteria = known.modseq === null ? {} : { modseq: BigInt(known.modseq) + 1n };
  const listed = await searchUids(client, [[from, last]], criteria).catch((error: unknown) => {
    if (error instanceof MailError && error.code === "invalid_response") return searchUids(client, [[from, last]]);
    throw error;
  });
  const page = takeFirst(listed, flagPageMax);
  const pageFirst = lowest(page);
  const pageLast = highest(page);
  if (pageFirst === undefined || pageLast === undefined) return { changes: [], cursor: { modseq } };
  const changes = await fetchFlags(client, pageFirst, pageLast, known.modseq);
  if (pageLast === highest(listed)) return { changes, cursor: { modseq } };
  return { changes, cursor: { modseq: known.modseq, flagRound: { from: pageLast + 1, modseq } } };
}

/** Flags of the UIDs from `first` to `last` that changed since `modseq`. Beyond `countMax` the rest is read off the wire and dropped. */
async function fetchFlags(
  client: ImapFlow,
  first: number,
  last: number,
  modseq: string | null,
  countMax = Number.POSITIVE_INFINITY,
): Promise<readonly FlagChange[]> {
  const query = { uid: true, flags: true };
  if (modseq === null) return [...(await fetchRows(client, first, last, query)).values()].flatMap((row) => toFlagChange(row, first, last));
  const changes: FlagChange[] = [];
  for await (const row of client.fetch(`${first}:${last}`, query, { uid: true, changedSince: BigInt(modseq) })) {
    changes.push(...toFlagChange(row, first, last));
    if (changes.length >= countMax) break;
  }
  return changes;
}

function toFlagChange(row: { readonly uid: number; readonly flags?: Set<string> | undefined }, first: number, last: number): readonly FlagChange[] {
  if (row.flags === undefined || row.uid < first || row.uid > last) return [];
  return [{ ref: String(row.uid), flags: normaliseFlags(row.flags) }];
}

/** JSON has no undefined, and a cursor must compare equal to itself after being stored. */
function withoutUndefined(cursor: FolderCursor): SyncCursor {
  return Object.fromEntries(Object.entries(cursor).filter(([, value]) => value !== undefined));
}
