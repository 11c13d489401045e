import { type Kysely, sql } from "kysely";

/**
 * Mailboxes that keep no contents look through their messages once for those without a line of preview: first syncs wrote none. A walk of the keeper's, in
 * steps, so that nothing is rewritten here.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(
      `update mailboxes set content_plan = jsonb_build_object('content', 'metadata', 'attachmentBytesMax', 0, 'after', null, 'change',
        jsonb_build_object('fetches', false, 'dropsTexts', false, 'dropsSources', false, 'dropsAttachments', false))
      where content_plan is null and deleted_at is null and exists (select from messages m where m.mailbox_id = mailboxes.id)`,
    )
    .execute(db);
}
