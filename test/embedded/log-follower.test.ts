import { appendFileSync, existsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { followLog, readableWarning } from "../../embedded/log-follower.ts";
import { sweep, testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";

const dir = testDirectory("logs");
afterAll(() => sweep(dir));

test.each([
  ["a warning", '{"level":40,"msg":"slow"}', "slow"],
  ["an error with its cause", '{"level":50,"msg":"sync failed","err":{"message":"refused"}}', "sync failed: refused"],
  ["a cause that the message repeats, once", '{"level":50,"msg":"failed: refused","err":{"message":"refused"}}', "failed: refused"],
  ["only the first line", '{"level":50,"msg":"a\\nb"}', "a"],
  ["a level in words", '{"level":"ERROR","msg":"x"}', "x"],
  ["no information", '{"level":30,"msg":"hello"}', undefined],
  ["no rubbish", "{what", undefined],
  ["no plain text", "Listening", undefined],
  ["no warning without words", '{"level":40}', undefined],
  ["nothing of odd types", '{"level":50,"msg":7,"err":null}', undefined],
])("shows %s", (_, line, shown) => {
  expect(readableWarning(line)).toBe(shown);
});

test("shows what is new, also when a line arrives in two halves, and the same words once", async () => {
  const file = join(dir, "a.log");
  writeFileSync(file, '{"level":50,"msg":"of an earlier run"}\n');
  const shown: string[] = [];
  const log = followLog(file, (line) => shown.push(line));
  appendFileSync(file, '{"level":50,"msg":"on');
  log.lastWords();
  appendFileSync(file, 'e"}\n{"level":50,"msg":"one"}\n{"level":40,"msg":"two"}\n');
  await until(() => shown.length === 2, "two lines");
  log.stop();
  expect(shown).toEqual(["one", "two"]);
});

test("knows the error in the last words of a program that crashed", () => {
  const file = join(dir, "crash.log");
  const log = followLog(file, () => {});
  appendFileSync(file, 'file.ts:1\nthrow\n      ^\n\nError: no such table\n    at x (file.ts:1:1)\n\nNode.js v24.21.0\n{"level":30,"msg":"bye"}\n');
  expect(log.lastWords()).toBe("Error: no such table");
  log.stop();
});

test("sets a log aside that has grown too large, while its writer goes on", async () => {
  const file = join(dir, "big.log");
  const shown: string[] = [];
  const log = followLog(file, (line) => shown.push(line));
  appendFileSync(file, `${"x".repeat(1_000)}\n`.repeat(51_000));
  await until(() => existsSync(`${file}.1`) && statSync(file).size === 0, "a new file");
  appendFileSync(file, '{"level":50,"msg":"after"}\n');
  await until(() => shown.includes("after"), "the line after");
  log.stop();
});
