import { sql } from "kysely";
import { expect, test } from "vitest";
import { type Database, openDatabase } from "../../db/database.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/wait.ts";

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

async function isGone(db: Database, pid: number): Promise<boolean> {
  const { rows } = await sql`select from pg_stat_activity where pid = ${pid}`.execute(db);
  return rows.length === 0;
}
