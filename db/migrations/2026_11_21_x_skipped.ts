import { type Kysely, sql } from "kysely";

/** From when on a skipped message is told of, should it be read after all: what its page would have said of it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(`alter table skipped_messages add column tells_from timestamptz not null default 'infinity'`).execute(db);
}
