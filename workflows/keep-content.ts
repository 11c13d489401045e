import {
  ActivityFailure,
  ApplicationFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import { catalogue, isMailErrorCode } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import { contentActivities } from "./proxies.ts";

export interface KeepContentInput {
  readonly mailboxId: MailboxId;
  /** What an earlier run hands on; absent on the first. */
  readonly state?: KeepContentState;
}

export interface KeepContentState {
  readonly v: 1;
  kept: number;
  failed: number;
  /** Slices in a row that broke. */
  broken: number;
}

/** Content waits. A signal: whoever stored a page waits for nothing. */
export const keepSignal = defineSignal("keep");

const historyLengthMax = 1_000;
const pauseMsMin = 10_000;
const pauseMsMax = 15 * 60_000;

/**
 * Fetches the lines of preview that a first sync left out, and what a mailbox's settings want kept of its messages, beside the mailbox's own workflow, so
 * that neither first syncs nor new mail ever wait for contents. It ends when nothing waits, and where only the owner can help; whoever stores the next page, or opens the mailbox again, starts it anew.
 */
export async function keepContent({ mailboxId, state: carried }: KeepContentInput): Promise<void> {
  const state: KeepContentState = { ...(carried ?? { v: 1, kept: 0, failed: 0, broken: 0 }) };
  let isWoken = true;
  setHandler(keepSignal, () => {
    isWoken = true;
  });
  let more = true;
  let waiting = 0;
  while (more || isWoken) {
    isWoken = false;
    more = await slice();
    const broken = state.broken === 0 ? "" : `, ${state.broken} slice(s) broken in a row`;
    setCurrentDetails(`${state.kept} messages done, ${state.failed} not to be had${waiting === 0 ? "" : `, ${waiting} wait`}${broken}`);
    if (workflowInfo().continueAsNewSuggested || workflowInfo().historyLength > historyLengthMax) {
      await condition(allHandlersFinished);
      await continueAsNew<typeof keepContent>({ mailboxId, state });
    }
  }

  async function slice(): Promise<boolean> {
    try {
      const done = await contentActivities({ summary: "fetch previews, and what is to be kept" }).keepContent({ mailboxId });
      state.kept += done.kept;
      state.failed += done.failed;
      state.broken = 0;
      waiting = done.waiting ?? 0;
      return done.more;
    } catch (error) {
      if (isCancellation(error)) throw error;
      if (waitsForOwner(error)) return false;
      state.broken += 1;
      // Pages that come meanwhile do not cut the pause short: the server, or the store, is away for them as well.
      await condition(() => false, Math.min(pauseMsMin * 2 ** (state.broken - 1), pauseMsMax));
      return true;
    }
  }
}

function waitsForOwner(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return (
    cause instanceof ApplicationFailure && typeof cause.type === "string" && isMailErrorCode(cause.type) && catalogue[cause.type].retry === "never"
  );
}
