import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  defineUpdate,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import type { CarriedOut } from "../activities/message-actions.ts";
import type { MailboxId } from "../domain/ids.ts";
import { providerActivities } from "./proxies.ts";

export interface MessageActionsInput {
  readonly mailboxId: MailboxId;
  /** Failures in a row, from an earlier run; absent on the first. */
  readonly failures?: number;
  /** Tests bring their own figures. */
  readonly pace?: { readonly idleMs?: number; readonly historyLengthMax?: number };
}

/** Something waits, or the mailbox is back. A signal: whoever says so waits for nothing. */
export const wakeSignal = defineSignal("wake");
/** An update, because its caller wants the results: it returns once everything that waited when it came was tried. */
export const carryOutUpdate = defineUpdate<void>("carryOut");

const historyLengthMax = 1_500;
/** For the next request of somebody who is working through their mail. */
const idleMsMax = 60_000;
const pauseMsMax = 15 * 60_000;

/**
 * Carries out what customers asked to be done to one mailbox's messages. One workflow a mailbox, so that its requests are carried out one after another; the
 * requests themselves are in the database. It ends when nothing is left, or when the mailbox is away: whoever brings that back starts it again.
 */
export async function messageActions({ mailboxId, failures: carried = 0, pace = {} }: MessageActionsInput): Promise<void> {
  let failures = carried;
  let asked = 1;
  let served = 0;
  setHandler(wakeSignal, () => {
    asked += 1;
  });
  setHandler(carryOutUpdate, async () => {
    asked += 1;
    const mine = asked;
    await condition(() => served >= mine);
  });

  for (;;) {
    const upTo = asked;
    const outcome = await attempt(mailboxId);
    failures = outcome.state === "failing" ? failures + 1 : 0;
    if (outcome.state !== "more") served = upTo;
    setCurrentDetails(describe(outcome, failures));
    if (isLong(pace.historyLengthMax ?? historyLengthMax)) {
      // The new run begins with an attempt, so what was asked for meanwhile is served; those who wait are let go first.
      served = asked;
      await condition(allHandlersFinished);
      return continueAsNew<typeof messageActions>({ mailboxId, failures, pace });
    }
    if (outcome.state === "more" || asked > served) continue;
    if (outcome.state === "failing") await condition(() => asked > served, pauseMs(outcome, failures));
    else if (!(await condition(() => asked > served, pace.idleMs ?? idleMsMax))) return;
  }
}

/** A failure that is none of the mail server's is one of ours: it is tried again, for what was begun must not stay unknown. */
async function attempt(
  mailboxId: MailboxId,
): Promise<CarriedOut | { readonly state: "failing"; readonly code: string; readonly retryAfterMs: null }> {
  const activities = providerActivities({ startToCloseTimeout: "10 minutes", summary: "carry out what waits" });
  try {
    return await activities.carryOutActions({ mailboxId });
  } catch (error) {
    if (isCancellation(error)) throw error;
    return { state: "failing", code: "internal", retryAfterMs: null };
  }
}

function pauseMs({ retryAfterMs }: { readonly retryAfterMs: number | null }, failures: number): number {
  return Math.max(retryAfterMs ?? 0, Math.min(5_000 * 2 ** Math.min(failures - 1, 10), pauseMsMax));
}

function isLong(lengthMax: number): boolean {
  const { continueAsNewSuggested, historyLength, targetWorkerDeploymentVersionChanged } = workflowInfo();
  return continueAsNewSuggested || historyLength > lengthMax || targetWorkerDeploymentVersionChanged === true;
}

function describe(outcome: { readonly state: string; readonly code?: string }, failures: number): string {
  if (outcome.state !== "failing") return outcome.state;
  return `**failing** with ${outcome.code}, ${failures} time(s) in a row; what waits is tried again by itself`;
}
