import { type Kysely, sql } from "kysely";

/** Whose addresses what is stored was judged by, beside the settings that it was stored with. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(`alter table mailboxes add column settled_self jsonb`).execute(db);
  await sql
    .raw(
      `update mailboxes set settled_self = jsonb_build_object('aliases', to_jsonb(aliases), 'ownDomains', to_jsonb(own_domains)) where settled_sync is not null`,
    )
    .execute(db);
}
