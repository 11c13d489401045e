import { type RawBuilder, sql } from "kysely";
import type { Database } from "../../db/database.ts";

/** Has the database refuse each change of a message for which `condition` is true, until what it resolves with is called. Of the new row, `new`. */
export async function refuseMessages(db: Database, condition: RawBuilder<boolean>): Promise<() => Promise<void>> {
  await sql`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused by a test'; end $$`.execute(db);
  await sql`create trigger refuse before update on messages for each row when (${condition}) execute function refuse()`.execute(db);
  return async () => {
    await sql`drop function refuse cascade`.execute(db);
  };
}

/** How many statements of this database wait for a lock that another transaction holds. */
export async function countWaiting(db: Database): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select count(*)::int as n from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0
  `.execute(db);
  return rows[0]?.n ?? 0;
}
