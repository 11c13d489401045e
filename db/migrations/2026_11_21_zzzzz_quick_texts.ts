import { type Kysely, sql } from "kysely";

/**
 * Texts and their words are not compressed by pglz any more, which costs more than anything else that is done with a kept text in PostgreSQL. Where the server
 * has LZ4, that takes its place; where it has not, they lie as they are. What is stored stays as it was written, and is read as before.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(
      `do $$ begin
        alter table message_texts alter text set compression lz4, alter reply set compression lz4;
        alter table messages alter terms set compression lz4;
      exception when feature_not_supported then
        alter table message_texts alter text set storage external, alter reply set storage external;
        alter table messages alter terms set storage external;
      end $$`,
    )
    .execute(db);
}
