import { type Kysely, sql } from "kysely";

/**
 * A message's row that is removed leaves no trace in the order of changes, so cursors from before its last change become too old. Here and not with
 * whoever removes rows, for the reason of `message_was_changed`.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  `create function messages_were_removed() returns trigger language plpgsql as $$
    begin
      update mailboxes b set changes_floor = greatest(b.changes_floor, pg_current_xact_id())
      where b.id in (select mailbox_id from removed);
      return null;
    end $$`,
  `create trigger messages_were_removed after delete on messages
    referencing old table as removed for each statement execute function messages_were_removed()`,
];
