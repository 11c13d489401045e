import { describe, expect, it } from "vitest";
import { nextRetryDelayMs, retryAfterMsMax, webhookRetrySchedule } from "../../domain/retry-schedule.ts";

const hour = 3_600_000;

describe("webhookRetrySchedule", () => {
  it("lasts three days and never shortens a pause", () => {
    const total = webhookRetrySchedule.reduce((sum, pause) => sum + pause, 0);
    expect(total).toBeGreaterThan(70 * hour);
    expect(total).toBeLessThan(74 * hour);
    expect([...webhookRetrySchedule].sort((a, b) => a - b)).toEqual(webhookRetrySchedule);
  });
});

describe("nextRetryDelayMs", () => {
  it("takes the pause that belongs to the number of failures", () => {
    expect([1, 2, 3].map((failed) => nextRetryDelayMs([100, 200], failed, 0.5))).toEqual([100, 200, undefined]);
  });

  it("spreads the pause by a tenth to either side", () => {
    expect(nextRetryDelayMs([1000], 1, 0)).toBe(900);
    expect(nextRetryDelayMs([1000], 1, 0.999)).toBeLessThanOrEqual(1100);
  });

  it.each([
    ["a longer Retry-After", 5_000, 5_000],
    ["no Retry-After shorter than the pause", 10, 1_000],
    ["no Retry-After beyond a day", 400 * hour, retryAfterMsMax],
    ["no negative Retry-After", -5, 1_000],
  ])("honours %s", (_what, retryAfterMs, expected) => {
    expect(nextRetryDelayMs([1_000], 1, 0.5, retryAfterMs)).toBe(expected);
  });

  it("gives up after the last attempt, whatever Retry-After says", () => {
    expect(nextRetryDelayMs([1_000], 2, 0.5, 10)).toBeUndefined();
  });
});
