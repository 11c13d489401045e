import type { FetchMessageObject, FetchQueryObject, ImapFlow } from "imapflow";
import type { ImapFlowError } from "imapflow/lib/errors.js";
import { enhanceCommandError } from "imapflow/lib/tools.js";
import { MailError } from "../../domain/errors.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import type { FetchedMessages, RefRanges, SkippedMessage } from "../../domain/sync.ts";
import { traitHeaders } from "../../domain/traits.ts";
import { isRefusal, toMailError } from "./errors.ts";
import { toRemoteMessage } from "./mapping.ts";
import { countRanges, missingFrom, toRanges } from "./ranges.ts";
import { type RepairedRow, repairEnvelopes } from "./raw-headers.ts";
import { tapRows } from "./row-tap.ts";
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
export async function fetchMessages(client: ImapFlow, first: number, last: number, expected?: RefRanges): Promise<FetchedMessages> {
  const refusals = noRefusals();
  const rows = await fetchRows(client, first, last, everything, refusals);
  const fetched = { messages: toMessages(rows, await repairEnvelopes(client, rows)), skipped: [] };
  const isComplete = expected === undefined ? refusals.byUid.size === 0 : rows.size >= countRanges(expected);
  if (isComplete) return fetched;
  const missing = expected === undefined ? [...refusals.byUid.keys()] : missingFrom(expected, new Set(rows.keys()));
  return joinFetched(fetched, await recoverMessages(client, missing));
}

/** Two answers as one, oldest first. */
export function joinFetched(one: FetchedMessages, other: FetchedMessages): FetchedMessages {
  if (other.messages.length === 0) return { messages: one.messages, skipped: [...one.skipped, ...other.skipped] };
  return {
    messages: [...one.messages, ...other.messages].toSorted((a, b) => Number(a.ref) - Number(b.ref)),
    skipped: [...one.skipped, ...other.skipped],
  };
}

/** A server that lists this many messages and gives none of them is not asked for each alone. */
export const recoveredMax = 1_000;

/** Those of these UIDs that still exist, with as much as the server can tell of each; those of which it tells nothing are skipped. */
export async function recoverMessages(client: ImapFlow, uids: readonly number[]): Promise<FetchedMessages> {
  const asked = toRanges(uids.toSorted((a, b) => a - b));
  const stillThere = await searchUids(client, asked);
  const count = countRanges(stillThere);
  if (count > recoveredMax) throw new MailError("invalid_response", { doing: `reading messages: the server lists ${count} that it does not give` });
  const messages: RemoteMessage[] = [];
  const skipped: SkippedMessage[] = [];
  for (const uid of missingFrom(stillThere, new Set())) {
    const refusals = noRefusals();
    const found = await recoverMessage(client, uid, refusals);
    if (found.length > 0) messages.push(...found);
    else skipped.push(toSkipped(uid, refusals.byUid.get(uid)));
  }
  return { messages, skipped };
}

async function recoverMessage(client: ImapFlow, uid: number, refusals: Refusals): Promise<readonly RemoteMessage[]> {
  for (const query of [everything, ...lessAndLess]) {
    const rows = await fetchRows(client, uid, uid, query, refusals);
    if (rows.size > 0) return toMessages(rows, await repairEnvelopes(client, rows));
  }
  return [];
}

function toSkipped(uid: number, refusal: unknown): SkippedMessage {
  const doing = "reading a message";
  const error =
    refusal === undefined ? new MailError("invalid_response", { doing }) : toMailError(refusal, { doing, protocol: "imap", preset: null });
  return { ref: String(uid), code: error.code, serverSaid: error.serverSaid ?? null };
}

/** A server that refuses this many parts of one page refuses on principle. */
const refusalsMax = 64;

interface Refusals {
  count: number;
  /** What was said of a message that was refused on its own. */
  readonly byUid: Map<number, unknown>;
}

function noRefusals(): Refusals {
  return { count: 0, byUid: new Map() };
}

/** Whether a refusal may be about what was asked for: asking again in smaller parts does not help against a limit, and makes it worse. */
function isOfMessages(error: unknown): boolean {
  if (!isRefusal(error)) return false;
  const { code } = toMailError(error, { doing: "reading messages", protocol: "imap", preset: null });
  return code === "rejected" || code === "unavailable" || code === "not_found" || code === "permission_denied";
}

/**
 * Rows by UID. A range that the server refuses as a whole is halved until the message that it cannot give stands alone, and is left out.
 */
export async function fetchRows(
  client: ImapFlow,
  first: number,
  last: number,
  query: FetchQueryObject,
  refusals: Refusals = noRefusals(),
): Promise<Map<number, FetchMessageObject>> {
  const rows = new Map<number, FetchMessageObject>();
  if (first > last) return rows;
  const keep = (row: FetchMessageObject) => {
    // A range that names nothing makes some servers answer with the newest message; changes of other messages come in between.
    if (row.uid >= first && row.uid <= last) rows.set(row.uid, rows.has(row.uid) ? { ...rows.get(row.uid), ...row } : row);
  };
  try {
    const others = await tapRows(client, keep, () => client.fetchAll(`${first}:${last}`, query, { uid: true }));
    for (const row of others) keep(row);
    return rows;
  } catch (error) {
    rows.clear();
    refusals.count += 1;
    // FETCH alone leaves the server's words out of what it throws.
    if (isRefusal(error)) await enhanceCommandError(error as ImapFlowError);
    if (!isOfMessages(error) || refusals.count > refusalsMax) throw error;
    if (first === last) {
      refusals.byUid.set(first, error);
      return rows;
    }
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
