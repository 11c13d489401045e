import type { CatalogueEntry } from "./errors.ts";

/** A row of failures without a success in between. */
export interface Failing {
  readonly type: string;
  readonly count: number;
  readonly since: number;
  /** `mailbox.error` was told. */
  readonly isTold: boolean;
}

export interface AfterFailure {
  readonly failing: Failing;
  /** Nothing is tried until the owner acts. */
  readonly waitsForOwner: boolean;
  /** The mailbox counts as in error from now on. */
  readonly isError: boolean;
  readonly nextDueAt: number;
}

const firstPauseMs = 2_000;
const longestPauseMs = 15 * 60_000;
/** Faults of our own parts (a database that restarts) end sooner than a provider's, and nobody else waits for us. */
const longestOwnPauseMs = 60_000;
/** A server that is away for less than this is not worth a customer's attention. */
const toldAfterMs = 5 * 60_000;
/** A token is renewed when less than this is left of it. */
const tokenMarginMs = 10 * 60_000;

/** What follows from a failure: how long to pause, whether to wait for the owner, and whether it is told. `entry` is undefined for faults of our own. */
export function afterFailure(
  before: Failing | null,
  type: string,
  entry: CatalogueEntry | undefined,
  retryAfterMs: number | null,
  now: number,
  jitter: number,
): AfterFailure {
  const since = before?.since ?? now;
  const count = (before?.count ?? 0) + 1;
  const waitsForOwner = entry?.effect === "reconnect";
  const isError = waitsForOwner || (entry?.effect === "degraded" && now - since >= toldAfterMs);
  const longestMs = entry === undefined ? longestOwnPauseMs : longestPauseMs;
  const pauseMs = Math.min(firstPauseMs * 2 ** Math.min(count - 1, 20), longestMs);
  return {
    failing: { type, count, since, isTold: (before?.isTold ?? false) || isError },
    waitsForOwner,
    isError,
    nextDueAt: now + Math.max(retryAfterMs ?? 0, pauseMs * (0.75 + jitter / 2)),
  };
}

/** When a mailbox is looked at next. The first interval is a fraction of its own, so that mailboxes connected together do not stay together. */
export function dueAfter(now: number, everyMs: number, fraction: number): number {
  return now + Math.max(everyMs * fraction, Math.min(everyMs, 30_000));
}

/** From when on a token is renewed. */
export function tokenDueAt(expiresAt: number): number {
  return expiresAt - tokenMarginMs;
}

/** A number in [0, 1) that is always the same for an id (FNV-1a, 32 bits). */
export function jitterOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index += 1) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193) >>> 0;
  return hash / 2 ** 32;
}
