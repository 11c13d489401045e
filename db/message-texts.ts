import { type Selectable, sql } from "kysely";
import type { CustomerId, MailboxId, MessageId } from "../domain/ids.ts";
import type { Connection, Database } from "./database.ts";
import type { MessageTextsTable } from "./schema.ts";

export interface MessageText {
  readonly messageId: MessageId;
  readonly text: string;
  readonly isTruncated: boolean;
  /** What the person wrote, without quotes and signature; left out where nobody looked for it. */
  readonly reply?: string | null;
  /** The mailbox's settings keep it: it stays until they say otherwise. */
  readonly isKept?: boolean;
}

/** Keeps texts for whoever asked for them: an endpoint that includes texts, or a request that waits for its answer. */
export async function saveMessageTexts(
  db: Connection,
  owner: { readonly customerId: CustomerId; readonly mailboxId: MailboxId },
  texts: readonly MessageText[],
): Promise<void> {
  if (texts.length === 0) return;
  await sql`
    insert into message_texts (message_id, customer_id, mailbox_id, text, is_truncated, reply, is_kept)
    select t."messageId", ${owner.customerId}, ${owner.mailboxId}, t.text, t."isTruncated", t.reply, coalesce(t."isKept", false)
    from jsonb_to_recordset(${JSON.stringify(texts)}::jsonb) as t ("messageId" text, text text, "isTruncated" boolean, reply text, "isKept" boolean)
    on conflict (message_id) do update set text = excluded.text, is_truncated = excluded.is_truncated, created_at = now(),
      reply = coalesce(excluded.reply, message_texts.reply), is_kept = message_texts.is_kept or excluded.is_kept
    where excluded.is_kept or not message_texts.is_kept or message_texts.is_truncated
  `.execute(db);
}

/** Keeps a text that was fetched for a request. False where its message was erased meanwhile: nothing of it may come back. */
export async function saveRequestedText(
  db: Database,
  owner: { readonly customerId: CustomerId; readonly mailboxId: MailboxId },
  text: MessageText,
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    // Whoever erases the message now waits, and takes the text with it.
    const row = await trx.selectFrom("messages").select("id").where("id", "=", text.messageId).forKeyShare().executeTakeFirst();
    if (row !== undefined) await saveMessageTexts(trx, owner, [text]);
    return row !== undefined;
  });
}

/** The texts that are kept, of those asked for. */
export async function findMessageTexts(db: Connection, ids: readonly MessageId[]): Promise<ReadonlyMap<MessageId, MessageText>> {
  if (ids.length === 0) return new Map();
  const rows = await db
    .selectFrom("message_texts")
    .select(["message_id", "text", "is_truncated", "reply", "is_kept"])
    .where("message_id", "in", ids)
    .execute();
  return new Map(rows.map((row) => [row.message_id, toText(row)]));
}

function toText(row: Pick<Selectable<MessageTextsTable>, "message_id" | "text" | "is_truncated" | "reply" | "is_kept">): MessageText {
  return { messageId: row.message_id, text: row.text, isTruncated: row.is_truncated, reply: row.reply, isKept: row.is_kept };
}

/** Forgets texts that have had their time: longer than a delivery is retried. Returns how many. */
export async function sweepMessageTexts(db: Connection): Promise<number> {
  const { numAffectedRows } = await sql`delete from message_texts where created_at < now() - interval '4 days' and not is_kept`.execute(db);
  return Number(numAffectedRows ?? 0n);
}
