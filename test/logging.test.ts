import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { createLogger } from "../logging.ts";
import { until } from "./helpers/wait.ts";

function capture(isPretty: boolean) {
  const lines: string[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  return { lines, log: createLogger({ level: "info", isPretty }, { part: "test" }, sink) };
}

test.each([true, false])("blanks what its name says is a secret, at any usual depth (pretty: %s)", (isPretty) => {
  const { lines, log } = capture(isPretty);
  log.info({ password: "hunter2", user: { accessToken: "hunter2" }, a: { b: { c: { secret: "hunter2" } } } }, "at depths");
  log.warn({ headers: { authorization: "Bearer hunter2", cookie: "hunter2" }, imap: { auth: { pass: "hunter2" } } }, "of packages");
  expect(lines.join("")).not.toContain("hunter2");
  expect(lines.join("")).toContain("[redacted]");
});

test("writes readable lines with the error's stack for a terminal", () => {
  const { lines, log } = capture(true);
  log.error({ err: new Error("boom"), requestId: "req_1" }, "it failed");
  expect(lines.join("")).toMatch(/^\d\d:\d\d:\d\d error it failed part=test requestId=req_1\n {2}Error: boom\n\s+at /);
});

/** Line ends of every kind, colours, a cursor that goes up a line and wipes it, the one-byte form of the same, a bell, and text that runs backwards. */
const hostile = "a\r\nb\u2028c\u0085d\u001b[31me\u001b[1A\u001b[2Kf\u009b2Jg\u0007h\u202ei\u0000\ud800";
const forged = '\n{"level":30,"msg":"forged"}\n12:00:00 info  forged';

test("writes one line of JSON for each call, whatever is in it", () => {
  const { lines, log } = capture(false);
  const err = Object.assign(new Error(`${hostile}${forged}`), { response: hostile, [`key${forged}`]: hostile });
  log.info({ name: hostile, nested: { [forged]: forged }, list: [hostile] }, `${hostile}${forged}`);
  log.error({ err }, hostile);
  log.warn(`${"x".repeat(1_000_000)}${forged}`);
  const written = lines.join("").split("\n");
  expect(written.pop()).toBe("");
  expect(written.map((line) => (JSON.parse(line) as { readonly level: number }).level)).toEqual([30, 50, 40]);
  expect([...written.join("")].filter((character) => character < " ")).toEqual([]);
});

test("writes nothing for a terminal that moves its cursor or looks like a line of its own", async () => {
  const { lines, log } = capture(true);
  const err = new Error(`${hostile}${forged}`);
  log.info({ name: hostile, nested: { text: forged } }, `${hostile}${forged}`);
  log.error({ err }, hostile);
  await until(() => lines.length === 2, "both to be written");
  const written = lines.join("").split("\n");
  expect(written.pop()).toBe("");
  expect(written.filter((line) => /^\d\d:\d\d:\d\d /.test(line))).toHaveLength(2);
  expect(written.filter((line) => !/^(\d\d:\d\d:\d\d | {2})/.test(line))).toEqual([]);
  expect(written.join("")).not.toMatch(/[\p{Cc}\u2028\u2029\u202e]/u);
});

test("keeps quiet below its level", () => {
  const { lines, log } = capture(false);
  log.debug("not told");
  expect(lines).toEqual([]);
});
