import { ActivityFailure, continueAsNew, defineSignal, isCancellation, setCurrentDetails, setHandler, sleep } from "@temporalio/workflow";
import { idleActivities } from "./proxies.ts";

/** Sent with every assignment, to start the shard if it rests; the shard itself hears of assignments from the database. */
export const assignSignal = defineSignal("assign");

/** Before the activity is started anew after a fault of ours. */
const pauseMs = 5_000;

/** Keeps one shard's activity alive: it ends by itself when nothing is assigned, and is handed on after a day or a fault. */
export async function idleShard({ shard }: { readonly shard: number }): Promise<void> {
  let isAssigned = false;
  setHandler(assignSignal, () => {
    isAssigned = true;
  });
  setCurrentDetails(`Holds the IDLE connections of shard ${shard}. Its activity's heartbeat says how many.`);
  try {
    const { isEmpty } = await idleActivities().idleShard({ shard });
    if (isEmpty && !isAssigned) return;
  } catch (error) {
    if (isCancellation(error) && !(error instanceof ActivityFailure)) throw error;
    await sleep(pauseMs, { summary: "the shard's activity failed" });
  }
  await continueAsNew<typeof idleShard>({ shard });
}
