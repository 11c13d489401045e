import { sql } from "kysely";
import type { MessageId } from "../domain/ids.ts";
import { emptyEnvelope } from "../domain/message.ts";
import type { Connection } from "./database.ts";
import { refreshThreads } from "./threads.ts";

/**
 * The one way to forget messages that are still there: settings do not want them any more. What they say goes, places and kept texts included; their
 * rows stay as the registry's, so that a message that comes back is not told as new. It is no event: nothing happened to the mail. Call it in a
 * transaction, with few enough ids that their locks are short; ids that are forgotten already are passed over.
 */
export async function forgetMessages(trx: Connection, ids: readonly MessageId[]): Promise<number> {
  if (ids.length === 0) return 0;
  // In one order, as pages lock them: two transactions with the same messages wait for each other instead of for ever.
  const sorted = [...new Set(ids)].sort();
  await sql`select from messages where id = any(${sorted}::text[]) order by id for update`.execute(trx);
  await trx.deleteFrom("message_locations").where("message_id", "in", sorted).execute();
  await trx.deleteFrom("message_texts").where("message_id", "in", sorted).execute();
  await trx.deleteFrom("message_blobs").where("message_id", "in", sorted).execute();
  const { numUpdatedRows } = await trx
    .updateTable("messages")
    .set({
      envelope: JSON.stringify(emptyEnvelope),
      subject: "",
      message_id: null,
      flags: [],
      attachments: "[]",
      text_part: null,
      snippet: null,
      traits: "[]",
      defects: [],
      recipients_total: null,
      terms: null,
      subject_key: null,
      is_bare_reply: false,
      main_folder_id: null,
      main_ref: null,
      state: "settled",
      content_state: null,
      is_deleted: true,
      is_forgotten: true,
      missing_since: null,
      is_untold: false,
    })
    .where("id", "in", sorted)
    .where("is_forgotten", "=", false)
    .executeTakeFirst();
  await refreshThreads(trx, sorted);
  return Number(numUpdatedRows);
}
