import type { Selectable } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import type { MailboxesTable } from "./schema.ts";
import type { ScopedConnection } from "./scope.ts";

export type MailboxRow = Selectable<MailboxesTable>;

/** A mailbox that was not deleted. */
export async function findMailbox(db: ScopedConnection, id: MailboxId): Promise<MailboxRow | undefined> {
  return db.selectFrom("mailboxes").selectAll().where("id", "=", id).where("deleted_at", "is", null).executeTakeFirst();
}
