import { type Kysely, sql } from "kysely";

/** One look at the stream serves all customers that are followed: it goes by the events' places alone. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw("create index events_by_place on events (tx, position)").execute(db);
}
