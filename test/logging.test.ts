import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { createLogger } from "../logging.ts";

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
  expect(lines.join("")).toMatch(/^\d\d:\d\d:\d\d error it failed part=test requestId=req_1\nError: boom\n\s+at /);
});

test("keeps quiet below its level", () => {
  const { lines, log } = capture(false);
  log.debug("not told");
  expect(lines).toEqual([]);
});
