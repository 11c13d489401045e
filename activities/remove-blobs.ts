import type { BlobStore } from "../blobs/store.ts";
import type { Database } from "../db/database.ts";
import { claimRemovals, forgetRemovals } from "../db/message-blobs.ts";
import { mapAtMost } from "./map-at-most.ts";

const batchMax = 200;
const removalsMax = 16;
/** Housekeeping has two minutes for everything. */
const sliceMs = 30_000;

/** Removes blobs that nothing refers to any more, until none is due or the time is up. A store that is away is asked again later, blob by blob. */
export async function removeBlobs({ db, blobs }: { readonly db: Database; readonly blobs: BlobStore }): Promise<number> {
  const endsAt = Date.now() + sliceMs;
  let removed = 0;
  while (Date.now() < endsAt) {
    const keys = await claimRemovals(db, batchMax);
    if (keys.length === 0) break;
    const done = await mapAtMost(removalsMax, keys, async (key) => {
      try {
        await blobs.remove(key);
        return [key];
      } catch {
        // Claimed for some minutes: then it is due again, with longer and longer pauses.
        return [];
      }
    });
    await forgetRemovals(db, done.flat());
    removed += done.flat().length;
    if (done.flat().length === 0) break;
  }
  return removed;
}
