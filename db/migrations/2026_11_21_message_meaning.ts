import { type Kysely, sql } from "kysely";

/** What a message is besides being mail, what is wrong with it, and how many it was written to where that is more than is kept. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table messages
      add column traits jsonb not null default '[]',
      add column defects text[] not null default '{}',
      add column recipients_total int
  `.execute(db);
}
