import type { ImapFlow } from "imapflow";
import type { SyncScope } from "../../domain/sync.ts";
import { selectFolder } from "./folder.ts";
import { receivedSince } from "./history.ts";
import { countRanges } from "./ranges.ts";
import { searchUids } from "./search.ts";

/** How many messages a folder holds, or holds of those that a listing since then would name. */
export async function countMessages(client: ImapFlow, scope: SyncScope, receivedFrom: Date | undefined): Promise<number> {
  const { exists } = await selectFolder(client, scope.path);
  if (receivedFrom === undefined || exists === 0) return exists;
  return countRanges(await searchUids(client, undefined, receivedSince(receivedFrom)));
}
