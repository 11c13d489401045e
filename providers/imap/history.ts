import type { ImapFlow, SearchObject } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import type { FetchedMessages, HistoryPage, RefRanges, SkippedMessage, SyncCursor, SyncScope } from "../../domain/sync.ts";
import { readHistoryCursor } from "./cursor.ts";
import { fetchMessages } from "./fetch.ts";
import { selectFolder } from "./folder.ts";
import { clipRanges, highest, lowest, takeLast } from "./ranges.ts";
import { listUids, searchUids } from "./search.ts";

/**
 * Listings of folders whose import goes on, so that each page need not search anew. What was there before the first look only shrinks, so a listing may be
 * old: UIDs that went meanwhile are simply not answered. A cursor alone is enough to go on without. A listing names what lies below `below`: a page that
 * is asked for again, because it could not be stored although the next one was fetched already, lies above it and is searched for anew.
 */
export type Listings = Map<string, { readonly uidValidity: string; readonly below: number; readonly ranges: RefRanges }>;

/** The next page, newest first, of what lies below the cursor. */
export async function pullHistory(
  client: ImapFlow,
  listings: Listings,
  scope: SyncScope,
  cursor: SyncCursor,
  options: { readonly limit: number; readonly receivedFrom?: Date | undefined },
): Promise<HistoryPage> {
  const { uidValidity, below } = readHistoryCursor(cursor);
  await select(client, scope.path, uidValidity);
  const ranges = await listingBelow(client, listings, scope.path, uidValidity, below, options.receivedFrom);
  const page = takeLast(ranges, options.limit);
  const first = lowest(page);
  const last = highest(page);
  if (first === undefined || last === undefined) {
    listings.delete(scope.path);
    return { messages: [], skipped: [], cursor: { uidValidity, below: 1 }, more: false };
  }
  // What is not listed of all there is does not exist, and costs nothing to ask for.
  const { messages, skipped } = options.receivedFrom === undefined ? await fetchMessages(client, first, last, page) : await fetchListed(client, page);
  const more = first > (lowest(ranges) ?? first);
  if (!more) listings.delete(scope.path);
  return { messages: messages.toReversed(), skipped, cursor: { uidValidity, below: first }, more };
}

/** UIDs that are not wanted are fetched with those around them if they are no more than this: fewer questions are worth a few answers. */
const gapMax = 10;

/** The messages of a page. A listing that leaves out what is old may be far apart: what lies between is not read. */
async function fetchListed(client: ImapFlow, page: RefRanges): Promise<FetchedMessages> {
  const messages: RemoteMessage[] = [];
  const skipped: SkippedMessage[] = [];
  for (const run of runsOf(page)) {
    const isWanted = ({ ref }: { readonly ref: string }) => run.some(([from, to]) => from <= Number(ref) && Number(ref) <= to);
    const fetched = await fetchMessages(client, lowest(run) ?? 0, highest(run) ?? 0, run);
    messages.push(...fetched.messages.filter(isWanted));
    skipped.push(...fetched.skipped.filter(isWanted));
  }
  return { messages, skipped };
}

/** Ranges that are worth one question each. */
function runsOf(page: RefRanges): readonly RefRanges[] {
  const runs: (readonly [number, number])[][] = [];
  for (const range of page) {
    const last = runs.at(-1);
    const end = last?.at(-1)?.[1];
    if (last !== undefined && end !== undefined && range[0] - end <= gapMax) last.push(range);
    else runs.push([range]);
  }
  return runs;
}

/**
 * Selects anew for each page: a session that goes on with a folder may still be given messages that are long gone. A new UIDVALIDITY means that the
 * page's UIDs are other messages' now: pullChanges says so as a reset, which ends this listing; until it was asked, trying again is right.
 */
async function select(client: ImapFlow, path: string, uidValidity: string): Promise<void> {
  const folder = await selectFolder(client, path);
  if (folder.uidValidity !== uidValidity) throw new MailError("unavailable", { doing: "importing a folder that was made anew meanwhile" });
}

async function listingBelow(
  client: ImapFlow,
  listings: Listings,
  path: string,
  uidValidity: string,
  below: number,
  from: Date | undefined,
): Promise<RefRanges> {
  if (below <= 1) return [];
  const kept = listings.get(path);
  const isEnough = kept !== undefined && kept.uidValidity === uidValidity && below <= kept.below;
  const listed = isEnough ? kept.ranges : await list(client, below - 1, from);
  // The pages before are not needed again: what is kept shrinks as the import goes on.
  const ranges = clipRanges(listed, 1, below - 1);
  listings.set(path, { uidValidity, below, ranges });
  return ranges;
}

/** SINCE knows days only, and in the server's own zone (RFC 9051 §6.4.4): a day more than asked for leaves nothing out. */
export function receivedSince(from: Date | undefined): SearchObject {
  return from === undefined ? {} : { since: new Date(from.getTime() - 36 * 3_600_000) };
}

/** A listing that was cut would end the import before its end, so all is listed and counted; in a folder that never holds still, what is there is taken. */
async function list(client: ImapFlow, last: number, from: Date | undefined): Promise<RefRanges> {
  const all = from === undefined ? await listUids(client) : undefined;
  return all ?? searchUids(client, [[1, last]], receivedSince(from));
}
