const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/** The pauses after each failed attempt of a delivery, in milliseconds. The first attempt is made at once; after the last pause comes the last one. */
export type RetrySchedule = readonly number[];

/** Ten attempts over three days: a restart is bridged in seconds, a bad evening in hours, a long weekend just so. */
export const webhookRetrySchedule: RetrySchedule = [
  5 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  20 * hour,
];

/** What an endpoint may ask for with Retry-After at most: longer would outlive the schedule's sense, and shorter is always granted. */
export const retryAfterMsMax = 24 * hour;

/**
 * How long to wait after the `failedAttempts`-th failure, or undefined if that was the last attempt. `random`, from [0, 1), spreads the pause by a
 * tenth to either side, so that what failed together does not come back together. A Retry-After that is longer than the pause wins.
 */
export function nextRetryDelayMs(schedule: RetrySchedule, failedAttempts: number, random: number, retryAfterMs = 0): number | undefined {
  const pause = schedule[failedAttempts - 1];
  if (pause === undefined) return undefined;
  return Math.round(Math.max(pause * (0.9 + 0.2 * random), Math.min(retryAfterMs, retryAfterMsMax)));
}
