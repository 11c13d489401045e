import type { FetchMessageObject, FetchQueryObject, ImapFlow } from "imapflow";
import type { RemoteMessage } from "../../domain/message.ts";
import type { RefRanges } from "../../domain/sync.ts";
import { traitHeaders } from "../../domain/traits.ts";
import { isRefusal } from "./errors.ts";
import { toRemoteMessage } from "./mapping.ts";
import { countRanges, missingFrom, toRanges } from "./ranges.ts";
import { type RepairedRow, repairEnvelopes } from "./raw-headers.ts";
import { searchUids } from "./search.ts";

/** Everything that a listing tells of a message, in one question. */
const everything: FetchQueryObject = {
  uid: true,
  flags: true,
  internalDate: true,
  size: true,
  envelope: true,
  bodyStructure: true,
  threadId: true,
  headers: ["References", ...traitHeaders],
};

/** For a message whose structure or envelope cannot be read: less is known of it, but it is there. */
const lessAndLess: readonly FetchQueryObject[] = [
  { uid: true, flags: true, internalDate: true, size: true, envelope: true },
  { uid: true, flags: true, internalDate: true, size: true },
  { uid: true, flags: true },
];

/**
 * The messages with UIDs from `first` to `last`, oldest first; UIDs that are gone are left out. `expected` names those that were just listed: one of
 * them that the server cannot give, or gives in a form that cannot be parsed, is asked for again with less, and never keeps the others back.
 */
export async function fetchMessages(client: ImapFlow, first: number, last: number, expected?: RefRanges): Promise<readonly RemoteMessage[]> {
  const rows = await fetchRows(client, first, last, everything);
  const messages = toMessages(rows, await repairEnvelopes(client, rows));
  if (expected === undefined || rows.size >= countRanges(expected)) return messages;
  const recovered = await recoverMessages(client, missingFrom(expected, new Set(rows.keys())));
  return [...messages, ...recovered].toSorted((a, b) => Number(a.ref) - Number(b.ref));
}

/** Those of these UIDs that still exist, with as much as the server can tell of each. */
export async function recoverMessages(client: ImapFlow, uids: readonly number[]): Promise<readonly RemoteMessage[]> {
  const stillThere = await searchUids(client, toRanges(uids));
  const recovered: RemoteMessage[] = [];
  for (const uid of missingFrom(stillThere, new Set())) {
    for (const query of lessAndLess) {
      const rows = await fetchRows(client, uid, uid, query);
      recovered.push(...toMessages(rows, await repairEnvelopes(client, rows)));
      if (rows.size > 0) break;
    }
  }
  return recovered;
}

/** A server that refuses this many parts of one page refuses on principle. */
const refusalsMax = 64;

/**
 * Rows by UID. A range that the server refuses as a whole is halved until the message that it cannot give stands alone, and is left out.
 */
export async function fetchRows(
  client: ImapFlow,
  first: number,
  last: number,
  query: FetchQueryObject,
  refusals: { count: number } = { count: 0 },
): Promise<Map<number, FetchMessageObject>> {
  const rows = new Map<number, FetchMessageObject>();
  if (first > last) return rows;
  try {
    for (const row of await client.fetchAll(`${first}:${last}`, query, { uid: true })) {
      // A range that names nothing makes some servers answer with the newest message; changes of other messages come in between.
      if (row.uid >= first && row.uid <= last) rows.set(row.uid, rows.has(row.uid) ? { ...rows.get(row.uid), ...row } : row);
    }
    return rows;
  } catch (error) {
    refusals.count += 1;
    if (!isRefusal(error) || refusals.count > refusalsMax) throw error;
    if (first === last) return rows;
    const middle = Math.floor((first + last) / 2);
    for (const [from, to] of [
      [first, middle],
      [middle + 1, last],
    ] as const) {
      for (const [uid, row] of await fetchRows(client, from, to, query, refusals)) rows.set(uid, row);
    }
    return rows;
  }
}

function toMessages(rows: ReadonlyMap<number, FetchMessageObject>, repaired: ReadonlyMap<number, RepairedRow>): readonly RemoteMessage[] {
  return [...rows.values()]
    .toSorted((a, b) => a.uid - b.uid)
    .map((row) => {
      const better = repaired.get(row.uid);
      return better === undefined ? toRemoteMessage(row) : toRemoteMessage(better.row, better.defects);
    });
}
