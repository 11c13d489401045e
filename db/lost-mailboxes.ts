import { sql } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** In one round at most: the rest is found by the next one. */
const roundMax = 500;

/**
 * Mailboxes that nobody looks after: connected and not paused, yet neither looked at nor tried for an hour beyond the poll floor, or never looked at
 * a minute after they were made. Waking one that is well costs a look.
 */
export async function listLostMailboxes(db: Connection): Promise<readonly MailboxId[]> {
  const { rows } = await sql<{ id: MailboxId }>`
    select id from mailboxes
    where deleted_at is null and not is_paused and status in ('configured', 'connected')
      and case when last_attempt_at is null then created_at < now() - interval '1 minute'
          else last_attempt_at < now() - interval '25 hours' end
    order by last_attempt_at nulls first
    limit ${roundMax}
  `.execute(db);
  return rows.map((row) => row.id);
}
