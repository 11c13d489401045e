import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConnectionSlots, openConnectionSlots } from "../../db/connection-slots.ts";
import { newId } from "../../db/ids.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";

let database: TestDatabase;
const opened: ConnectionSlots[] = [];

async function aProcess(): Promise<ConnectionSlots> {
  const slots = await openConnectionSlots(database.url);
  opened.push(slots);
  return slots;
}

const warnings: string[] = [];
const onWarning = (warning: Error) => warnings.push(warning.message);

beforeAll(async () => {
  process.on("warning", onWarning);
  database = await createTestDatabase();
});
afterAll(async () => {
  process.off("warning", onWarning);
  await Promise.all(opened.map((slots) => slots.close()));
  await database.drop();
});

describe("connection slots", () => {
  it("let no more connections through than a mailbox has places, over all processes", async () => {
    const [a, b] = [await aProcess(), await aProcess()];
    const id = newId("mailbox");
    await a.take(id, 3);
    await b.take(id, 3);
    await a.take(id, 3);
    await expect(b.take(id, 3)).rejects.toMatchObject({ code: "too_many_connections" });
    await b.take(newId("mailbox"), 3);
  });

  it("give a place that was freed to whoever waits, in the same or another process", async () => {
    const [a, b] = [await aProcess(), await aProcess()];
    const id = newId("mailbox");
    const release = await a.take(id, 1);
    const waiting = b.take(id, 1);
    release();
    release();
    const releaseB = await waiting;
    const again = a.take(id, 1);
    releaseB();
    await again;
  });

  it("ask the other processes to give up what they do not use", async () => {
    const [a, b] = [await aProcess(), await aProcess()];
    const id = newId("mailbox");
    const release = await a.take(id, 1);
    a.onWanted((wanted) => {
      if (wanted === id) release();
    });
    await b.take(id, 1);
  });

  it("never hand one place to two callers of one process", async () => {
    const a = await aProcess();
    const id = newId("mailbox");
    const taken = await Promise.allSettled(Array.from({ length: 6 }, () => a.take(id, 2)));
    expect(taken.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(2);
  });

  it("ask PostgreSQL one thing at a time, however many callers come at once", async () => {
    const a = await aProcess();
    const releases = await Promise.all(Array.from({ length: 20 }, () => a.take(newId("mailbox"), 1)));
    for (const release of releases) release();
    await a.take(newId("mailbox"), 1);
    // pg says so once in a process, by whichever test is the first to give cause.
    expect(warnings.filter((message) => message.includes("already executing a query"))).toEqual([]);
  });

  it("are free again when their process dies", async () => {
    const [a, b] = [await aProcess(), await aProcess()];
    const id = newId("mailbox");
    await a.take(id, 1);
    await a.close();
    await b.take(id, 1);
  });

  it("are kept when the database drops the session that holds them", async () => {
    const [a, b] = [await aProcess(), await aProcess()];
    const id = newId("mailbox");
    const release = await a.take(id, 1);
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'everpost connection slots' and datname = current_database()`.execute(
      database.db,
    );
    // The next call opens the session anew, and with it what was held.
    const other = await until(() => a.take(newId("mailbox"), 1), "the session to be opened anew");
    await expect(b.take(id, 1)).rejects.toMatchObject({ code: "too_many_connections" });
    release();
    await b.take(id, 1);
    other();
  });

  it("are asked for anew when the session that counts them hangs", async () => {
    const url = new URL(database.url);
    const way = await startProxy(Number(url.port));
    url.port = String(way.port);
    const slots = await openConnectionSlots(url.href, { answerMs: 1_000 });
    opened.push(slots);
    const id = newId("mailbox");
    await slots.take(id, 2);
    way.freeze();
    await expect(slots.take(id, 2)).rejects.toMatchObject({ code: "ETIMEDOUT" });
    way.thaw();
    await slots.take(id, 2);
    await slots.close();
    await way.close();
  });

  it("stop waiting when the caller gives up", async () => {
    const [a, b] = [await aProcess(), await aProcess()];
    const id = newId("mailbox");
    await a.take(id, 1);
    await expect(b.take(id, 1, AbortSignal.timeout(50))).rejects.toMatchObject({ name: "TimeoutError" });
  });
});
