import { sql } from "kysely";
import type { MailErrorCode } from "../domain/errors.ts";
import type { CustomerId, FolderId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import type { ScopedConnection } from "./scope.ts";

/** A message that could not be fetched or stored, and why. */
export interface Skipped {
  readonly ref: string;
  readonly code: MailErrorCode;
  readonly reason: string | null;
}

/** Five minutes after the first try, then ever later, and once a day at last. */
const firstPauseSeconds = 300;
const longestPauseSeconds = 86_400;

/** Notes messages that are gone past, each again with a longer pause. */
export async function recordSkipped(
  trx: Connection,
  owner: { readonly mailboxId: MailboxId; readonly customerId: CustomerId },
  folder: FolderId,
  skipped: readonly Skipped[],
): Promise<void> {
  if (skipped.length === 0) return;
  await sql`
    insert into skipped_messages as s (folder_id, ref, customer_id, mailbox_id, code, reason, next_attempt_at)
    select ${folder}, n.ref, ${owner.customerId}, ${owner.mailboxId}, n.code, n.reason, now() + ${firstPauseSeconds}::int * interval '1 second'
    from jsonb_to_recordset(${JSON.stringify(skipped)}::jsonb) as n (ref text, code text, reason text)
    on conflict (folder_id, ref) do update set
      code = excluded.code, reason = excluded.reason, attempts = s.attempts + 1, updated_at = now(),
      next_attempt_at = now() + least(${firstPauseSeconds}::int * 2 ^ least(s.attempts, 20), ${longestPauseSeconds}::int) * interval '1 second'
  `.execute(trx);
}

/** Of a folder that begins anew: its refs mean nothing any more. */
export async function forgetAllSkipped(trx: Connection, folder: FolderId): Promise<void> {
  await trx.deleteFrom("skipped_messages").where("folder_id", "=", folder).execute();
}

/** What is shown at once: who skips more has another problem than single messages. */
const shownMax = 1_000;

/** The messages of a mailbox that are skipped, oldest first. */
export async function listSkipped(db: ScopedConnection, mailboxId: MailboxId) {
  return db
    .selectFrom("skipped_messages as s")
    .innerJoin("folders as f", "f.id", "s.folder_id")
    .select(["s.folder_id", "f.path", "s.ref", "s.code", "s.reason", "s.attempts", "s.created_at", "s.updated_at"])
    .where("s.mailbox_id", "=", mailboxId)
    .orderBy("s.created_at")
    .orderBy("s.folder_id")
    .orderBy("s.ref")
    .limit(shownMax)
    .execute();
}
