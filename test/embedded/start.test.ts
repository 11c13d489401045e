import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chownSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { freePort } from "../../embedded/ports.ts";
import { commandLine, isAlive, signal } from "../../embedded/processes.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { temporalAddress } from "../helpers/temporal.ts";
import { endWithTests, sweep, tail, testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";

const root = resolve(import.meta.dirname, "../..");
const base = testDirectory("start");
const started: ChildProcess[] = [];
afterAll(async () => {
  for (const child of started) child.kill("SIGTERM");
  await until(() => started.every((child) => child.exitCode !== null || child.signalCode !== null), "every start to end", 30_000);
  sweep(base);
});

type Env = Readonly<Record<string, string>>;

async function environment(name: string): Promise<Env & { EVERPOST_DATA_DIR: string; EVERPOST_API_PORT: string }> {
  return {
    EVERPOST_DATA_DIR: join(base, name),
    EVERPOST_API_PORT: String(await freePort()),
    EVERPOST_POSTGRES_PORT: String(await freePort()),
    EVERPOST_TEMPORAL_PORT: String(await freePort()),
    EVERPOST_TEMPORAL_UI_PORT: String(await freePort()),
    EVERPOST_SANDBOX_IMAP_PORT: String(await freePort()),
    EVERPOST_SANDBOX_SMTP_PORT: String(await freePort()),
  };
}

function start(env: Env, who: { uid?: number; gid?: number } = {}) {
  const child = spawn(process.execPath, [join(root, "start.js")], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"], ...who });
  started.push(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const exited = new Promise<number | null>((done) => child.once("exit", done));
  return { child, pid: child.pid ?? -1, text: () => text, exited };
}

type Started = ReturnType<typeof start>;

async function untilRunning(run: Started): Promise<string> {
  return until(
    () => {
      if (run.child.exitCode !== null) throw new Error(run.text());
      return run.text().includes("Everpost is running.") && run.text().includes("Ctrl-C stops everything") && run.text();
    },
    "the summary",
    90_000,
  );
}

function administratorKey(text: string): string {
  return /evp_\w+/.exec(text)?.[0] ?? "";
}

async function api(env: Env, path: string, key: string): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${env.EVERPOST_API_PORT}${path}`, {
    headers: { Authorization: `Bearer ${key}`, "Everpost-Customer": readFileSync(join(env.EVERPOST_DATA_DIR ?? "", "customer"), "utf8").trim() },
  });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

async function mailboxes(env: Env, key: string) {
  return (await api(env, "/v1/mailboxes", key)).data as readonly { id: string; status: string; flow: { state: string } }[];
}

function partsOf(pid: number): readonly number[] {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
  return lines
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => (parent === pid && child !== undefined ? [child] : []))
    .filter((child) => !(commandLine(child) ?? "ps -A").startsWith("ps -A"));
}

/** Servers that a killed supervisor leaves behind go with the test run, whatever becomes of the test. */
function noteParts(dir: string, pids: readonly number[]): void {
  for (const pid of pids) endWithTests(dir, pid, "SIGKILL");
}

test("brings everything up, survives the death of every part and of itself, and remembers", { timeout: 240_000 }, async () => {
  const env = await environment("all");
  const first = start(env);
  const text = await untilRunning(first);
  noteParts(base, partsOf(first.pid));
  const key = administratorKey(text);
  expect(text.match(/^ {2}(printf|curl)/gm)).toHaveLength(3);
  for (const file of ["administrator-key", "customer-key", "encryption-keys", "postgres-password"]) {
    expect(statSync(join(env.EVERPOST_DATA_DIR, file)).mode & 0o777, file).toBe(0o600);
  }

  const live = (what: string) =>
    until(async () => (await mailboxes(env, key)).find(({ status, flow }) => status === "connected" && flow.state === "live"), what, 90_000);
  const { id } = await live("the sandbox mailbox to be live");

  const second = start(env);
  expect(await second.exited).toBe(1);
  expect(second.text().trim().split("\n")).toEqual([
    expect.stringContaining(`Everpost already runs on ${env.EVERPOST_DATA_DIR} (process ${first.pid})`),
  ]);

  const before = partsOf(first.pid);
  expect(before).toHaveLength(5);
  for (const pid of before) signal(pid, "SIGKILL");
  await until(() => first.text().match(/runs again/g)?.length === 5, "all five parts to run again", 60_000);
  const after = partsOf(first.pid);
  noteParts(base, after);
  expect(after.filter((pid) => before.includes(pid))).toEqual([]);
  await until(async () => (await fetch(`http://127.0.0.1:${env.EVERPOST_API_PORT}/readyz`)).ok, "the API to be ready again", 60_000);

  signal(first.pid, "SIGKILL");
  await first.exited;
  const third = start(env);
  const again = await untilRunning(third);
  noteParts(base, partsOf(third.pid));
  expect(after.filter(isAlive)).toEqual([]);
  expect(administratorKey(again)).toBe(key);
  await live("the sandbox mailbox to be live again");
  expect((await mailboxes(env, key)).map((mailbox) => mailbox.id)).toEqual([id]);

  const last = partsOf(third.pid);
  const asked = performance.now();
  signal(third.pid, "SIGTERM");
  expect(await third.exited).toBe(0);
  expect(performance.now() - asked).toBeLessThan(30_000);
  expect(last.filter(isAlive)).toEqual([]);
  expect(readdirSync(env.EVERPOST_DATA_DIR)).not.toContain("pid");
});

test("uses the database and the cluster that it is given and starts neither", { timeout: 120_000 }, async () => {
  await using database = await createTestDatabase();
  const env = {
    ...(await environment("given")),
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: `given-${process.pid}`,
  };
  mkdirSync(env.EVERPOST_DATA_DIR);
  // As an ordinary user where that can be tried; the tests of root's ways are above.
  const who = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  if (who.uid !== undefined) chownSync(env.EVERPOST_DATA_DIR, who.uid, who.gid);
  const run = start({ ...env, HOME: env.EVERPOST_DATA_DIR }, who);
  const text = await untilRunning(run);
  expect(partsOf(run.pid)).toHaveLength(3);
  expect(text).toContain(`Temporal: made namespace ${env.TEMPORAL_NAMESPACE}`);
  expect(text).toContain("(TEMPORAL_ADDRESS)");
  expect(await mailboxes(env, administratorKey(text))).toHaveLength(1);
  signal(run.pid, "SIGINT");
  expect(await run.exited).toBe(0);
});

test.each([
  ["EVERPOST_API_PORT", "the API"],
  ["EVERPOST_POSTGRES_PORT", "PostgreSQL"],
  ["EVERPOST_TEMPORAL_PORT", "the Temporal server"],
  ["EVERPOST_SANDBOX_IMAP_PORT", "the sandbox's IMAP server"],
] as const)("names the port and %s in one line when that port is taken, and leaves nothing running", { timeout: 90_000 }, async (setting, what) => {
  const env: Env = await environment(`busy-${setting}`);
  const holder = createServer().listen(Number(env[setting]), "127.0.0.1");
  try {
    const run = start(env);
    const parts = new Set<number>();
    const timer = setInterval(() => {
      for (const pid of partsOf(run.pid)) parts.add(pid);
    }, 100);
    expect(await run.exited).toBe(1);
    clearInterval(timer);
    expect(run.text()).toContain(
      `Everpost cannot start: port ${env[setting]}, which ${what} is to use, is taken by another process: end that, or set ${setting}`,
    );
    expect([...parts].filter((pid) => isAlive(pid) && commandLine(pid)?.includes(base))).toEqual([]);
  } finally {
    holder.close();
  }
});

test("says in one line that the given database cannot be used", { timeout: 60_000 }, async () => {
  const env = {
    ...(await environment("no-database")),
    DATABASE_URL: `postgres://nobody:x@127.0.0.1:${await freePort()}/none`,
    TEMPORAL_ADDRESS: temporalAddress(),
  };
  const run = start(env);
  expect(await run.exited, tail(join(env.EVERPOST_DATA_DIR, "logs", "api.log"))).toBe(1);
  expect(run.text()).toContain("Everpost cannot start: the database that DATABASE_URL names cannot be used");
});
