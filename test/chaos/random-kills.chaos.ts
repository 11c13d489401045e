import { expect, test } from "vitest";
import { printReport, storm } from "./storm.ts";

const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);

test("a hundred random kills of every part lose nothing, double nothing and leave nothing stuck", async () => {
  const report = await storm({
    seed,
    strikes: 100,
    kinds: ["kill a worker", "kill PostgreSQL", "kill Temporal", "kill the mail server"],
    mailboxes: 20,
    history: 20_000,
    workers: 2,
    deliverEveryMs: 100,
    pauseMaxMs: 3_000,
  });
  printReport("a hundred kills", report);
  expect(report.faults).toEqual([]);
});
