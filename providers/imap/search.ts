import type { ESearchResult, ImapFlow, SearchObject } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { RefRanges } from "../../domain/sync.ts";
import { parseSequenceSet, toRanges, toSequenceSet } from "./ranges.ts";

/**
 * The UIDs that exist, as ranges: all of them, or those within `within`. ESEARCH (RFC 4731) answers in ranges, so that a million messages are a short
 * line; the plain form is the fallback.
 */
export async function searchUids(client: ImapFlow, within?: RefRanges, criteria: SearchObject = {}): Promise<RefRanges> {
  if (within?.length === 0) return [];
  const query: SearchObject = within === undefined ? { all: true, ...criteria } : { uid: toSequenceSet(within), ...criteria };
  const found = await client.search(query, { uid: true, returnOptions: ["ALL"] });
  if (Array.isArray(found)) return toRanges(found);
  if (found !== false && found !== undefined) return parseSequenceSet((found as ESearchResult).all ?? "");
  // Some servers refuse `SEARCH ALL` and take the same question put otherwise.
  const again = within === undefined ? await client.search({ uid: "1:*", ...criteria }, { uid: true }) : false;
  if (Array.isArray(again)) return toRanges(again);
  throw new MailError("invalid_response", { doing: "listing a folder's messages: the server refused the search" });
}
