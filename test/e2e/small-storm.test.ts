import { expect, test } from "vitest";
import { printReport, storm } from "../chaos/storm.ts";

test("a small storm of kills, cuts and stalls loses nothing, doubles nothing and leaves nothing stuck", { timeout: 600_000 }, async () => {
  const report = await storm({ seed: 20_001, strikes: 12, mailboxes: 4, history: 1_500, workers: 2, deliverEveryMs: 150, pauseMaxMs: 1_500 });
  printReport("a small storm", report);
  expect(report.faults).toEqual([]);
});
