import type { Kysely } from "kysely";

/** Until when the process that told an event delivers it by itself; the endpoint's relay leaves it alone for as long. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable("webhook_endpoints").addColumn("drained_until", "timestamptz").execute();
}
