import { sweepConnectionTests } from "../db/connection-tests.ts";
import { sweepIdempotencyKeys } from "../db/idempotency.ts";
import { listContentWork } from "../db/kept-content.ts";
import { listLostMailboxes } from "../db/lost-mailboxes.ts";
import { expireMessageActions, listWaitingMailboxes, sweepMessageActions } from "../db/message-actions.ts";
import { sweepMessageTexts } from "../db/message-texts.ts";
import { writeMissingTerms } from "../db/missing-terms.ts";
import { sweepOldMessages } from "../db/retention.ts";
import { moveAllMergedMessages } from "../db/threads.ts";
import { listShards } from "../db/watches.ts";
import { toProblem } from "../domain/errors.ts";
import type { ActivityDependencies } from "./dependencies.ts";
import { removeBlobs } from "./remove-blobs.ts";

/** What keeps the house in order, each safe to repeat and to run twice at once. */
export function housekeepingActivities({ db, signals, log, blobs }: ActivityDependencies) {
  return {
    /**
     * Starts the workflows of mailboxes that nobody looks after: the API wrote the row and could not reach Temporal, or a namespace was lost. Likewise
     * shards. Relays are looked after by whoever delivers (activities/relays.ts).
     */
    async startLostWorkflows(): Promise<{ readonly mailboxes: number; readonly shards: number }> {
      const mailboxes = await listLostMailboxes(db);
      for (const id of mailboxes) await signals.wakeMailbox(id, []);
      const shards = await listShards(db);
      for (const shard of shards) await signals.startShard(shard);
      for (const id of await listWaitingMailboxes(db)) await signals.wakeActions(id);
      for (const id of await listContentWork(db)) await signals.keepContent(id);
      if (mailboxes.length > 0) log.warn({ mailboxes: mailboxes.length }, "started workflows that were lost");
      return { mailboxes: mailboxes.length, shards: shards.length };
    },

    /** Removes what is kept for a while only, and finishes what a page had to leave. */
    async sweep(): Promise<Readonly<Record<string, number>>> {
      return {
        connectionTests: await sweepConnectionTests(db),
        idempotencyKeys: await sweepIdempotencyKeys(db),
        texts: await sweepMessageTexts(db),
        oldMessages: await sweepOldMessages(db),
        terms: await writeMissingTerms(db),
        threads: await moveAllMergedMessages(db),
        expiredActions: await expireMessageActions(db, toProblem({ code: "expired" }, new Date().toISOString())),
        messageActions: await sweepMessageActions(db),
        blobs: await removeBlobs({ db, blobs }),
      };
    },
  };
}
