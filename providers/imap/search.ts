import type { ESearchResult, ImapFlow, SearchObject } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { RefRanges } from "../../domain/sync.ts";
import { clipRanges, countRanges, intersectRanges, mergeRanges, parseSequenceSet, toRanges, toSequenceSet } from "./ranges.ts";

/**
 * The UIDs within `within`, or all, as ranges. ESEARCH (RFC 4731) answers in ranges, so that a million messages are a short line; the plain form is the
 * fallback, and a server that refuses both has to list everything. Nothing vouches for the answer being whole.
 */
export async function searchUids(client: ImapFlow, within: RefRanges = everyUid, criteria: SearchObject = {}): Promise<RefRanges> {
  if (within.length === 0) return [];
  const found = await search(client, { ...(within === everyUid ? {} : { uid: toSequenceSet(within) }), ...criteria });
  if (found !== undefined) return intersectRanges(found, within);
  if (Object.keys(criteria).length > 0) throw new MailError("invalid_response", { doing: "searching a folder: the server refused" });
  const all = await listUids(client);
  if (all === undefined) throw new MailError("unavailable", { doing: "listing a folder that changes faster than it can be listed" });
  return intersectRanges(all, within);
}

/** UIDs have 32 bits (RFC 9051 §2.3.1.1). */
const everyUid: RefRanges = [[1, 2 ** 32 - 1]];

const listingAttemptsMax = 5;

/**
 * Every UID of the selected folder. A listing counts only if it is as long as the server says the folder is: a truncated one would make us forget
 * messages that are there. Where SEARCH is refused or comes out short, the messages themselves are asked. Undefined if the folder changes too fast to tell.
 */
export async function listUids(client: ImapFlow): Promise<RefRanges | undefined> {
  for (let attempt = 1; attempt <= listingAttemptsMax; attempt += 1) {
    const before = existsNow(client);
    const searched = await searchAll(client);
    if (searched !== undefined && countRanges(searched) === existsNow(client)) return searched;
    // Pending EXPUNGEs come with a command that may carry them.
    await client.noop();
    if (before !== existsNow(client)) continue;
    const fetched = await fetchUids(client);
    if (fetched !== undefined && countRanges(fetched) === existsNow(client)) return fetched;
    await client.noop();
    if (before === existsNow(client) && attempt === listingAttemptsMax) {
      const count = countRanges(searched ?? fetched ?? []);
      throw new MailError("invalid_response", { doing: `listing a folder: the server listed ${count} of ${before} messages` });
    }
  }
  return undefined;
}

function existsNow(client: ImapFlow): number {
  return client.mailbox === false ? 0 : (client.mailbox.exists ?? 0);
}

/** Some servers refuse `SEARCH ALL` and take the same question put otherwise. */
async function searchAll(client: ImapFlow): Promise<RefRanges | undefined> {
  return (await search(client, { all: true })) ?? (await search(client, { uid: "1:*" }));
}

async function search(client: ImapFlow, query: SearchObject): Promise<RefRanges | undefined> {
  const found = await client.search(query, { uid: true, returnOptions: ["ALL"] });
  if (Array.isArray(found)) return toRanges(found);
  return found === false || found === undefined ? undefined : parseSequenceSet((found as ESearchResult).all ?? "");
}

/** Messages that are asked for their UIDs at once: what is read off the wire faster than it is taken waits in memory. */
const fetchedAtOnce = 20_000;

/** The same from FETCH, which no server refuses or cuts short: thirty bytes a message. Undefined if numbers shifted between two questions. */
async function fetchUids(client: ImapFlow): Promise<RefRanges | undefined> {
  const ranges: [number, number][] = [];
  let hasShifted = false;
  const onExpunge = () => {
    hasShifted = true;
  };
  client.on("expunge", onExpunge);
  try {
    for (let from = 1; from <= existsNow(client) && !hasShifted; from += fetchedAtOnce) {
      for await (const { uid } of client.fetch(`${from}:${Math.min(from + fetchedAtOnce - 1, existsNow(client))}`, { uid: true })) {
        const last = ranges.at(-1);
        if (last !== undefined && uid === last[1] + 1) last[1] = uid;
        else ranges.push([uid, uid]);
      }
    }
  } finally {
    client.off("expunge", onExpunge);
  }
  return hasShifted ? undefined : clipRanges(mergeRanges(ranges), 1, Number.MAX_SAFE_INTEGER);
}
