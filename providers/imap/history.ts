import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { HistoryPage, RefRanges, SyncCursor, SyncScope } from "../../domain/sync.ts";
import { readHistoryCursor } from "./cursor.ts";
import { fetchMessages } from "./fetch.ts";
import { selectFolder } from "./folder.ts";
import { clipRanges, highest, lowest, takeLast } from "./ranges.ts";
import { searchUids } from "./search.ts";

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
  options: { readonly limit: number },
): Promise<HistoryPage> {
  const { uidValidity, below } = readHistoryCursor(cursor);
  await select(client, scope.path, uidValidity);
  const ranges = await listingBelow(client, listings, scope.path, uidValidity, below);
  const page = takeLast(ranges, options.limit);
  const first = lowest(page);
  const last = highest(page);
  if (first === undefined || last === undefined) {
    listings.delete(scope.path);
    return { messages: [], cursor: { uidValidity, below: 1 }, more: false };
  }
  const messages = await fetchMessages(client, first, last, page);
  const more = first > (lowest(ranges) ?? first);
  if (!more) listings.delete(scope.path);
  return { messages: messages.toReversed(), cursor: { uidValidity, below: first }, more };
}

/**
 * Selects anew for each page: a session that goes on with a folder may still be given messages that are long gone. A new UIDVALIDITY means that the
 * page's UIDs are other messages' now: pullChanges says so as a reset, which ends this listing; until it was asked, trying again is right.
 */
async function select(client: ImapFlow, path: string, uidValidity: string): Promise<void> {
  const folder = await selectFolder(client, path);
  if (folder.uidValidity !== uidValidity) throw new MailError("unavailable", { doing: "importing a folder that was made anew meanwhile" });
}

async function listingBelow(client: ImapFlow, listings: Listings, path: string, uidValidity: string, below: number): Promise<RefRanges> {
  if (below <= 1) return [];
  const kept = listings.get(path);
  const isEnough = kept !== undefined && kept.uidValidity === uidValidity && below <= kept.below;
  const listing = isEnough ? kept : { ranges: await searchUids(client, [[1, below - 1]]) };
  // The pages before are not needed again: what is kept shrinks as the import goes on.
  const ranges = clipRanges(listing.ranges, 1, below - 1);
  listings.set(path, { uidValidity, below, ranges });
  return ranges;
}
