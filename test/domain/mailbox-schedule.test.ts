import { describe, expect, it } from "vitest";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { afterFailure, dueAfter, type Failing, jitterOf, tokenDueAt } from "../../domain/mailbox-schedule.ts";

const minute = 60_000;

/** Failures of one kind in a row, each at the moment the one before said. Returns the pauses. */
function pauses(code: MailErrorCode | undefined, count: number, jitter = 0.5): readonly number[] {
  let failing: Failing | null = null;
  let now = 0;
  return Array.from({ length: count }, () => {
    const verdict = afterFailure(failing, code ?? "internal", code === undefined ? undefined : catalogue[code], null, now, jitter);
    const pause = verdict.nextDueAt - now;
    failing = verdict.failing;
    now = verdict.nextDueAt;
    return pause;
  });
}

describe("pauses after failures", () => {
  it("double from two seconds to a quarter of an hour while a server is away", () => {
    expect(pauses("unavailable", 12)).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900].map((seconds) => seconds * 1_000));
  });

  it("stop at a minute for faults of our own parts", () => {
    expect(pauses(undefined, 8).at(-1)).toBe(minute);
  });

  it("differ by a quarter in either direction between mailboxes [row 60]", () => {
    expect(pauses("unavailable", 1, 0)).toEqual([1_500]);
    expect(pauses("unavailable", 1, 0.999)[0]).toBeCloseTo(2_499, 0);
  });

  it("are never shorter than the provider asks, nor than our own", () => {
    const dueAt = (retryAfterMs: number) => afterFailure(null, "rate_limited", catalogue.rate_limited, retryAfterMs, 1_000, 0.5).nextDueAt;
    expect(dueAt(minute)).toBe(1_000 + minute);
    expect(dueAt(10)).toBe(3_000);
  });
});

describe("what a failure is told as", () => {
  it.each(Object.keys(catalogue) as MailErrorCode[])("%s waits for the owner exactly if its effect says so, and is then told at once", (code) => {
    const isOwners = catalogue[code].effect === "reconnect";
    const verdict = afterFailure(null, code, catalogue[code], null, 0, 0.5);
    expect(verdict).toMatchObject({ waitsForOwner: isOwners, isError: isOwners });
  });

  it.each([
    ["unavailable", 5 * minute - 1, false],
    ["unavailable", 5 * minute, true],
    ["connection_timeout", 5 * minute, true],
    ["rate_limited", 60 * minute, false],
    ["too_many_connections", 60 * minute, false],
  ] as const)("%s that has lasted for %d ms is an error: %s", (code, lasted, isError) => {
    const before = { type: code, count: 3, since: 0, isTold: false };
    expect(afterFailure(before, code, catalogue[code], null, lasted, 0.5)).toMatchObject({
      isError,
      failing: { since: 0, count: 4, isTold: isError },
    });
  });

  it("is never an error of the mailbox when it is a fault of ours", () => {
    const before = { type: "internal", count: 9, since: 0, isTold: false };
    expect(afterFailure(before, "internal", undefined, null, 60 * minute, 0.5)).toMatchObject({ isError: false, waitsForOwner: false });
  });

  it("remembers that an error was told while another kind of failure goes on", () => {
    const before = { type: "unavailable", count: 9, since: 0, isTold: true };
    expect(afterFailure(before, "rate_limited", catalogue.rate_limited, null, 6 * minute, 0.5).failing.isTold).toBe(true);
  });
});

describe("when a mailbox is looked at next", () => {
  it.each([
    [60 * minute, 1, 60 * minute],
    [60 * minute, 0.25, 15 * minute],
    [60 * minute, 0, 30_000],
    [10_000, 0, 10_000],
  ])("every %d ms with a fraction of %d is in %d ms", (every, fraction, expected) => {
    expect(dueAfter(1_000, every, fraction)).toBe(1_000 + expected);
  });

  it("renews a token ten minutes before it ends", () => {
    expect(tokenDueAt(60 * minute)).toBe(50 * minute);
  });

  it("spreads mailboxes evenly, each always in the same place", () => {
    const places = Array.from({ length: 1_000 }, (_, n) => jitterOf(`mbx_${n}`));
    expect(places.every((place) => place >= 0 && place < 1)).toBe(true);
    expect(places.filter((place) => place < 0.5).length).toBeGreaterThan(400);
    expect(places.filter((place) => place < 0.5).length).toBeLessThan(600);
    expect(jitterOf("mbx_1")).toBe(jitterOf("mbx_1"));
  });
});
