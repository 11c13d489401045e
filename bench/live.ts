import { setTimeout as delay } from "node:timers/promises";
import type { CustomerId } from "../domain/ids.ts";
import type { BenchContext } from "./harness.ts";

const showEveryMs = 5_000;

/** Resolves when a customer's mailboxes, so many, are listened to and their first syncs done. */
export async function untilLive({ db, progress }: BenchContext, customerId: CustomerId, count: number, everyMs = 200): Promise<void> {
  const deadline = performance.now() + 120_000 + count * 500;
  let showAt = performance.now() + showEveryMs;
  for (;;) {
    const rows = await db.selectFrom("mailboxes").select(["watch_state", "import_finished_at"]).where("customer_id", "=", customerId).execute();
    const live = rows.filter((row) => row.watch_state === "watching" && row.import_finished_at !== null).length;
    if (live === count) return;
    const now = performance.now();
    if (now > deadline) throw new Error(`${live} of ${count} mailboxes are live`);
    if (now > showAt) {
      progress(`${live} of ${count} mailboxes are live`);
      showAt = now + showEveryMs;
    }
    await delay(everyMs);
  }
}
