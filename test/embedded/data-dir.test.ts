import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { keptSecret, lockDataDir, makeDataDir } from "../../embedded/data-dir.ts";
import { sweep, testDirectory } from "../helpers/test-run.ts";

const base = testDirectory("data-dir");
afterAll(() => sweep(base));

function fresh(name: string): string {
  const dir = join(base, name);
  makeDataDir(dir);
  return dir;
}

test("makes a secret once, readable by its owner only", () => {
  const dir = fresh("secret");
  const first = keptSecret(dir, "key");
  expect(first.length).toBeGreaterThan(20);
  expect(keptSecret(dir, "key")).toBe(first);
  expect(statSync(join(dir, "key")).mode & 0o777).toBe(0o600);
});

test("makes a secret anew when its file is empty, as after a full disk", () => {
  const dir = fresh("empty");
  writeFileSync(join(dir, "key"), "\n");
  expect(keptSecret(dir, "key")).not.toBe("");
});

test("says which setting helps when the directory cannot be made", () => {
  writeFileSync(join(base, "file"), "");
  expect(() => makeDataDir(join(base, "file"))).toThrow("EVERPOST_DATA_DIR");
});

test("refuses a second copy on the same data, by the process that holds it", async () => {
  const dir = fresh("held");
  const holder = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", "start.ts"]);
  await once(holder, "spawn");
  try {
    writeFileSync(join(dir, "pid"), String(holder.pid));
    expect(() => lockDataDir(dir)).toThrow(`process ${holder.pid}`);
    expect(readFileSync(join(dir, "pid"), "utf8")).toBe(String(holder.pid));
  } finally {
    holder.kill();
  }
});

test.each([
  ["of a process that is gone", "2147483646"],
  ["of another program that got the number", String(process.ppid)],
  ["that holds rubbish", "what?"],
])("takes over a lock %s", (_, text) => {
  const dir = fresh(`stale-${Math.random()}`);
  writeFileSync(join(dir, "pid"), text);
  const unlock = lockDataDir(dir);
  expect(readFileSync(join(dir, "pid"), "utf8")).toBe(String(process.pid));
  unlock();
  expect(() => statSync(join(dir, "pid"))).toThrow("ENOENT");
});

test("gives the maker of an empty lock a moment to write, and takes it over after that", () => {
  const dir = fresh("empty-lock");
  const file = join(dir, "pid");
  writeFileSync(file, "");
  expect(() => lockDataDir(dir)).toThrow("already runs");
  utimesSync(file, new Date(), new Date(Date.now() - 10_000));
  lockDataDir(dir);
  expect(readFileSync(file, "utf8")).toBe(String(process.pid));
});

test("letting go leaves the lock of another copy in place", () => {
  const dir = fresh("taken");
  const unlock = lockDataDir(dir);
  writeFileSync(join(dir, "pid"), "1");
  unlock();
  expect(readFileSync(join(dir, "pid"), "utf8")).toBe("1");
});

test("lets user nobody pass through to PostgreSQL's data, and look at nothing", () => {
  const dir = join(base, "private");
  mkdirSync(dir, { mode: 0o700 });
  makeDataDir(dir);
  expect(statSync(dir).mode & 0o777).toBe(0o711);
  expect(statSync(join(dir, "logs")).mode & 0o777).toBe(0o700);
});
