import { sql } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** A look at all folders, as it begins. */
export interface BegunLook {
  /** The database's time, to the microsecond: the clock that `missing_since` was written by. */
  readonly at: string;
  /** Messages have no place: this look may find them. */
  readonly isSearch: boolean;
}

export async function beginLook(db: Connection, mailboxId: MailboxId): Promise<BegunLook> {
  const { rows } = await sql<BegunLook>`
    select clock_timestamp()::text as at,
      exists (select from messages where mailbox_id = ${mailboxId} and state = 'missing') as "isSearch"
  `.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error("a query without a table answers with one row");
  return row;
}

/** A search ended: what had been missing for `marginMs` when it began and was not found is gone. The instant never goes back. */
export async function recordSearch(db: Connection, mailboxId: MailboxId, begun: BegunLook, marginMs: number): Promise<void> {
  await sql`
    update mailboxes
    set gone_before = greatest(gone_before, ${begun.at}::timestamptz - ${marginMs}::float8 * interval '1 millisecond')
    where id = ${mailboxId}
  `.execute(db);
}
