import { type Kysely, sql } from "kysely";

/** What lets settings change under a running mailbox: which were carried out last, and messages that are forgotten without being gone. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements: readonly string[] = [
  // The settings that what is stored agrees with; others than "sync" while a change is being carried out, and before it was.
  `alter table mailboxes add column settled_sync jsonb`,
  // When messages were last forgotten for their age.
  `alter table mailboxes add column retained_at timestamptz`,
  // Set while a folder is listed because settings changed: what it received before this is told to nobody.
  `alter table folders add column quiet_before timestamptz`,
  // The row is all that is left of the message: it was not wanted any more. A listing that is allowed to may fill it again.
  `alter table messages add column is_forgotten boolean not null default false`,
];
