import type { Selectable } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import type { FoldersTable } from "./schema.ts";
import type { ScopedConnection } from "./scope.ts";

/** What is shown of a folder; the rest is sync's own. */
const shown = [
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
] as const satisfies readonly (keyof FoldersTable)[];

export type FolderRow = Pick<Selectable<FoldersTable>, (typeof shown)[number]>;

/** The folders of these mailboxes, by path. */
export async function listFolders(db: ScopedConnection, mailboxIds: readonly MailboxId[]): Promise<readonly FolderRow[]> {
  if (mailboxIds.length === 0) return [];
  return db
    .selectFrom("folders")
    .select(shown)
    .where("mailbox_id", "in", [...mailboxIds])
    .orderBy("mailbox_id")
    .orderBy("path")
    .execute();
}
