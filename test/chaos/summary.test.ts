import { expect, test } from "vitest";
import { type ChaosReport, describeReport, totalsOf } from "./summary.ts";

const report: ChaosReport = {
  name: "a storm",
  seed: 7,
  injected: { "kill a worker": 3, "cut PostgreSQL off": 2 },
  delivered: 100,
  told: 104,
  faults: [],
  late: 0,
  boundMs: 285_000,
  slowestMs: 44_200,
  stretch: 2,
  leaks: [],
  tookMs: 61_000,
};

test("adds up storms, and passes where nothing is wrong", () => {
  expect(totalsOf([report, { ...report, seed: 8, injected: { "kill a worker": 1 } }], 0, 0.5)).toEqual({
    chaos: "summary",
    scale: 0.5,
    storms: 2,
    failed: 0,
    seeds: [7, 8],
    faults: 6,
    faultsByKind: { "kill a worker": 4, "cut PostgreSQL off": 2 },
    delivered: 200,
    told: 208,
    lost: 0,
    doubled: 0,
    otherwiseWrong: 0,
    late: 0,
    slowestSeconds: 44,
    leaks: 0,
    seconds: 122,
    pass: true,
  });
});

test.each<[string, Partial<ChaosReport>, object]>([
  ["a message that is not there", { faults: ["u1: <a@b> is not in the database"] }, { lost: 1 }],
  ["a message that nobody was told of", { faults: ["u1: the receiver: <a@b> was never told"] }, { lost: 1 }],
  ["a message that is there twice", { faults: ["u1: <a@b> is in the database 2 times"] }, { doubled: 1 }],
  ["a message that was told twice", { faults: ["u1: the outbox: <a@b> was told as 2 events"] }, { doubled: 1 }],
  ["anything else", { faults: ["u1: the API counts 3 messages, IMAP 4"] }, { otherwiseWrong: 1 }],
  ["what came late", { late: 2 }, { late: 2 }],
  ["what leaked", { leaks: ["a log holds content: …"] }, { leaks: 1 }],
])("does not pass with %s", (_, wrong, figures) => {
  expect(totalsOf([{ ...report, ...wrong }], 0, 1)).toMatchObject({ ...figures, pass: false });
});

test("does not pass where a storm failed before it could report, nor where none was run", () => {
  expect(totalsOf([report], 1, 1)).toMatchObject({ failed: 1, pass: false });
  expect(totalsOf([], 0, 1)).toMatchObject({ pass: false });
});

test("describes a storm with what was done to it", () => {
  expect(describeReport(report)).toBe(
    "a storm (seed 7): 61 s, on a machine that took 2.0 times as long as alone\n     3 × kill a worker\n     2 × cut PostgreSQL off\n  100 messages delivered, 104 webhooks arrived\n" +
      "  lost, doubled, wrong: 0; later than 285 s: 0 (the last after 44 s); leaks: 0",
  );
});
