import type { Selectable } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import type { FoldersTable } from "./schema.ts";
import type { ScopedConnection } from "./scope.ts";

export type FolderRow = Omit<Selectable<FoldersTable>, "cursor" | "history_cursor" | "generation" | "was_complete" | "quiet_before">;

/** The folders of these mailboxes, by path. */
export async function listFolders(db: ScopedConnection, mailboxIds: readonly MailboxId[]): Promise<readonly FolderRow[]> {
  if (mailboxIds.length === 0) return [];
  return db
    .selectFrom("folders")
    .select([
      "id",
      "customer_id",
      "mailbox_id",
      "path",
      "name",
      "delimiter",
      "role",
      "role_source",
      "is_selectable",
      "is_synced",
      "import_state",
      "import_total",
      "import_done",
      "total",
      "unseen",
      "problem",
      "checked_at",
      "created_at",
    ])
    .where("mailbox_id", "in", [...mailboxIds])
    .orderBy("mailbox_id")
    .orderBy("path")
    .execute();
}
