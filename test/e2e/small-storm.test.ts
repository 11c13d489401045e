import { expect, test } from "vitest";
import { storm } from "../chaos/storm.ts";

test("a small storm of kills, cuts and stalls loses nothing, doubles nothing, leaves nothing stuck and writes nothing where it does not belong", {
  timeout: 600_000,
}, async () => {
  const options = { seed: 20_001, strikes: 12, mailboxes: 4, history: 1_500, workers: 2, deliverEveryMs: 150, pauseMaxMs: 1_500 };
  const connect = { sync: { content: "full", attachments: "download" } } as const;
  expect(await storm("a small storm", { ...options, connect })).toMatchObject({ faults: [], late: 0, leaks: [] });
});
