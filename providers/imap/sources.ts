import type { ImapFlow } from "imapflow";
import type { SyncScope } from "../../domain/sync.ts";
import { isRefusal } from "./errors.ts";
import { selectFolder } from "./folder.ts";
import { isUid } from "./pieces.ts";
import { toRanges, toSequenceSet } from "./ranges.ts";

/**
 * The whole sources of several messages in one FETCH: a round trip for each costs more than its transfer. Those that are gone are left out, and so is one
 * that the server refuses to give.
 */
export async function fetchSources(client: ImapFlow, scope: SyncScope, refs: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
  const sources = new Map<string, Buffer>();
  const uids = refs.filter(isUid).map(Number);
  if (uids.length === 0) return sources;
  await selectFolder(client, scope.path);
  await fetchInto(
    client,
    uids.toSorted((a, b) => a - b),
    sources,
  );
  return sources;
}

async function fetchInto(client: ImapFlow, uids: readonly number[], sources: Map<string, Buffer>): Promise<void> {
  const wanted = new Set(uids);
  try {
    for (const row of await client.fetchAll(toSequenceSet(toRanges(uids)), { uid: true, source: true }, { uid: true })) {
      if (row.source !== undefined && wanted.has(row.uid)) sources.set(String(row.uid), row.source);
    }
  } catch (error) {
    // A set that is refused as a whole is halved until the message that cannot be given stands alone.
    if (!isRefusal(error)) throw error;
    if (uids.length === 1) return;
    const middle = Math.ceil(uids.length / 2);
    await fetchInto(client, uids.slice(0, middle), sources);
    await fetchInto(client, uids.slice(middle), sources);
  }
}
