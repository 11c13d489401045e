import { sql } from "kysely";
import type { MessageId } from "../domain/ids.ts";
import { toTermVector } from "../domain/search-terms.ts";
import type { Connection, Database } from "./database.ts";

/** Rows of one statement, and statements of one run: what a run leaves, the next one finds. */
const batchSize = 500;
const batchesMax = 20;

/** Writes the words of messages that have none: those from before there were any, and those whose preview or attachments changed. Returns how many. */
export async function writeMissingTerms(db: Database): Promise<number> {
  let written = 0;
  for (let batch = 0; batch < batchesMax; batch++) {
    const rows = await db
      .selectFrom("messages as m")
      .leftJoin("message_texts as t", (join) => join.onRef("t.message_id", "=", "m.id").on("t.is_kept", "=", true))
      .select(["m.id", "m.customer_id", "m.mailbox_id", "m.received_at", "m.envelope", "m.attachments", "m.traits", "m.snippet", "t.text"])
      .where("m.terms", "is", null)
      .where("m.is_deleted", "=", false)
      .limit(batchSize)
      .execute();
    if (rows.length === 0) break;
    const vectors = rows.map((row) => ({
      id: row.id,
      terms: toTermVector(row.customer_id, { ...row, mailboxId: row.mailbox_id, receivedAt: row.received_at.toISOString() }),
    }));
    vectors.sort((a, b) => (a.id < b.id ? -1 : 1));
    await sql`
      update messages m set terms = v.terms
      from jsonb_to_recordset(${JSON.stringify(vectors)}::jsonb) as v (id text, terms tsvector)
      where m.id = v.id and m.terms is null and not m.is_deleted
    `.execute(db);
    written += rows.length;
    if (rows.length < batchSize) break;
  }
  return written;
}

/** The words of messages whose kept texts have been dropped: they are found by what a list shows of them. */
export async function writeTermsWithoutText(trx: Connection, ids: readonly MessageId[]): Promise<void> {
  const rows = await trx
    .selectFrom("messages")
    .select(["id", "customer_id", "mailbox_id", "received_at", "envelope", "attachments", "traits", "snippet"])
    .where("id", "in", ids)
    .where("is_deleted", "=", false)
    .where("content_state", "=", "kept")
    .orderBy("id")
    .forUpdate()
    .execute();
  const vectors = rows.map((row) => ({
    id: row.id,
    terms: toTermVector(row.customer_id, { ...row, mailboxId: row.mailbox_id, receivedAt: row.received_at.toISOString(), text: null }),
  }));
  await sql`
    update messages m set terms = v.terms from jsonb_to_recordset(${JSON.stringify(vectors)}::jsonb) as v (id text, terms tsvector) where m.id = v.id
  `.execute(trx);
}
