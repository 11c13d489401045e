import { type Problem, toProblem } from "./errors.ts";

/** The connection, as far as its owner is concerned. */
export const mailboxStatuses = ["not_connected", "configured", "awaiting_authorization", "connected", "error"] as const;
export type MailboxStatus = (typeof mailboxStatuses)[number];

/** The mail, as far as it moves. */
export type MailboxFlow =
  | { readonly state: "importing"; readonly done: number; readonly total: number; readonly etaSeconds: number | null }
  | { readonly state: "live" | "delayed" | "stalled" | "paused" | "waiting" };

/** What the workflow last wrote about the connection. Everything that depends on the time of reading is worked out by `describeMailbox`. */
export type StoredStatus = "not_connected" | "configured" | "awaiting_authorization" | "connected" | "error";

export interface MailboxFacts {
  readonly status: StoredStatus;
  readonly isPaused: boolean;
  readonly problem: Problem | null;
  readonly createdAt: string;
  /** The last time that all folders were known to agree with the server. */
  readonly lastSuccessAt: string | null;
  /** The last time somebody heard of the server that nothing had changed: a live IDLE connection counts as being asked all the time. */
  readonly watchAliveAt: string | null;
  readonly pollFloorMs: number;
  readonly importTotal: number;
  readonly importDone: number;
  readonly importStartedAt: string | null;
  readonly isImporting: boolean;
}

export interface MailboxDescription {
  readonly status: MailboxStatus;
  readonly flow: MailboxFlow;
  readonly lagMs: number | null;
  readonly problem: Problem | null;
}

/** Beyond its due time, a mailbox is given this long before it is called delayed: a slow server and a full queue are not news. */
const toleranceMs = 60_000;
/** A mailbox without any success for this long beyond its due time is stalled: whatever the row says, mail is not flowing. */
const stalledMs = 10 * 60_000;

/**
 * The truth about a mailbox at `now`. `connected` is never claimed on the word of an old row: if nothing has been heard of the server for longer
 * than the settings allow, the mailbox is in error, whoever failed to write so (a dead worker cannot).
 */
export function describeMailbox(facts: MailboxFacts, now: number): MailboxDescription {
  const { status } = facts;
  if (status === "not_connected" || status === "awaiting_authorization") {
    return { status, flow: { state: "waiting" }, lagMs: null, problem: facts.problem };
  }
  const heardAt = Math.max(toMs(facts.lastSuccessAt), toMs(facts.watchAliveAt), 0);
  const lagMs = heardAt > 0 ? Math.max(0, now - heardAt) : null;
  if (facts.isPaused) return { status, flow: { state: "paused" }, lagMs, problem: facts.problem };
  if (status === "error") return { status, flow: { state: "stalled" }, lagMs, problem: facts.problem };

  const silentMs = now - (heardAt || toMs(facts.createdAt));
  // Who is watched is heard of every few seconds, however recently it was read: a dead worker shows within a minute, not after the poll floor.
  const allowedMs = heardAt > 0 && facts.watchAliveAt === null ? facts.pollFloorMs : 0;
  if (silentMs > allowedMs + stalledMs) {
    return {
      status: "error",
      flow: { state: "stalled" },
      lagMs,
      problem: facts.problem ?? toProblem({ code: "sync_stalled" }, new Date(now).toISOString()),
    };
  }
  if (silentMs > allowedMs + toleranceMs && heardAt > 0) return { status, flow: { state: "delayed" }, lagMs, problem: facts.problem };
  if (facts.isImporting) return { status, flow: importing(facts, now), lagMs, problem: facts.problem };
  if (status === "configured") return { status, flow: { state: "waiting" }, lagMs, problem: facts.problem };
  return { status, flow: { state: facts.problem === null ? "live" : "delayed" }, lagMs, problem: facts.problem };
}

function importing(facts: MailboxFacts, now: number): MailboxFlow {
  const { importDone: done, importTotal: total } = facts;
  const elapsedMs = now - toMs(facts.importStartedAt);
  const perMessageMs = done > 0 && facts.importStartedAt !== null ? elapsedMs / done : null;
  const etaSeconds = perMessageMs === null ? null : Math.ceil((perMessageMs * Math.max(0, total - done)) / 1000);
  return { state: "importing", done, total, etaSeconds };
}

function toMs(instant: string | null): number {
  return instant === null ? 0 : Date.parse(instant);
}
