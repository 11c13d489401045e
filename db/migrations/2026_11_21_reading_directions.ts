import { type Kysely, sql } from "kysely";

/** Messages of the directions that are seldom asked for because they are few: where there are none, a walk would read everything to say so. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`create index messages_by_direction on messages (customer_id, direction, received_at desc, id) where direction <> 'incoming'`)
    .execute(db);
}
