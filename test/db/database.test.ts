import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { sql } from "kysely";
import { expect, test } from "vitest";
import { type Database, openDatabase } from "../../db/database.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";

test("every migration there is has run, in the order of their names", async () => {
  await using database = await createTestDatabase();
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by timestamp, name`.execute(database.db);
  const files = readdirSync(new URL("../../db/migrations", import.meta.url)).map((file) => basename(file, ".ts"));
  expect(rows.map(({ name }) => name)).toEqual(files.sort());
});

test("a connection that breaks between two statements of a transaction fails the transaction, not the process", async () => {
  await using database = await createTestDatabase();
  const broken: Error[] = [];
  const db = openDatabase({ url: database.url, poolMax: 1, onIdleError: (error) => broken.push(error) });
  const work = db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx);
    await sql`select pg_terminate_backend(${rows[0]?.pid})`.execute(database.db);
    await until(() => isGone(database.db, rows[0]?.pid ?? 0), "the connection to be gone");
    // Whoever works with a transaction does other things as well: this is when the news of the death arrives.
    await until(() => sql`select 1`.execute(database.db), "a moment");
    await sql`select 1`.execute(trx);
  });
  await expect(work).rejects.toThrow();
  expect((await sql<{ one: number }>`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }]);
  await db.destroy();
});

test("a pool whose every connection hangs is whole again after the bound of a statement", async () => {
  await using database = await createTestDatabase();
  const url = new URL(database.url);
  const way = await startProxy(Number(url.port));
  url.port = String(way.port);
  const db = openDatabase({ url: url.href, poolMax: 3, statementMaxMs: 1_000 });
  const hangs = Promise.withResolvers<void>();
  const begun = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const work = begun.map((began) =>
    db.transaction().execute(async (trx) => {
      await sql`select 1`.execute(trx);
      began.resolve();
      await hangs.promise;
      await sql`select 2`.execute(trx);
    }),
  );
  await Promise.all(begun.map((began) => began.promise));
  await sql`select 3`.execute(db);
  way.freeze();
  hangs.resolve();
  const outcomes = await Promise.allSettled([...work, sql`select 4`.execute(db)]);
  const silent = { status: "rejected", reason: { name: "SilentConnectionError", code: "ETIMEDOUT" } };
  // A transaction fails with what its roll-back met.
  expect(outcomes).toMatchObject([{ status: "rejected" }, { status: "rejected" }, silent]);
  way.thaw();
  const answers = await Promise.all([6, 7, 8].map((number) => sql<{ number: number }>`select ${number}::int as number`.execute(db)));
  expect(answers.map(({ rows }) => rows[0]?.number)).toEqual([6, 7, 8]);
  await db.destroy();
  await way.close();
});

test("a connection that nobody uses may be silent for longer than any statement", async () => {
  await using database = await createTestDatabase();
  const broken: Error[] = [];
  const db = openDatabase({ url: database.url, poolMax: 1, statementMaxMs: 100, onIdleError: (error) => broken.push(error) });
  const pid = async () => (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db)).rows[0]?.pid;
  const first = await pid();
  await sql`select pg_sleep(1)`.execute(database.db);
  expect(await pid()).toBe(first);
  expect(broken).toEqual([]);
  await db.destroy();
});

test("a statement that takes too long is ended by the server, and the connection goes on; migrations take what they take", async () => {
  await using database = await createTestDatabase();
  const db = openDatabase({ url: database.url, poolMax: 1, statementMaxMs: 100 });
  await expect(sql`select pg_sleep(60)`.execute(db)).rejects.toMatchObject({ code: "57014" });
  expect((await sql<{ one: number }>`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }]);
  await db.destroy();
  const patient = openDatabase({ url: database.url, poolMax: 1, statementMaxMs: null });
  const { rows } = await sql<{ bound: string }>`select current_setting('statement_timeout') as bound`.execute(patient);
  expect(rows).toEqual([{ bound: "0" }]);
  await patient.destroy();
});

async function isGone(db: Database, pid: number): Promise<boolean> {
  const { rows } = await sql`select from pg_stat_activity where pid = ${pid}`.execute(db);
  return rows.length === 0;
}
