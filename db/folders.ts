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

export type FolderRow = Pick<Selectable<FoldersTable>, (typeof shown)[number]> & {
  /** Messages that could not be fetched or stored. */
  readonly skipped: number;
};

/** The folders of these mailboxes, by path. */
export async function listFolders(db: ScopedConnection, mailboxIds: readonly MailboxId[]): Promise<readonly FolderRow[]> {
  if (mailboxIds.length === 0) return [];
  const rows = await db
    .selectFrom("folders")
    .select(shown)
    .select((eb) =>
      eb
        .selectFrom("skipped_messages as s")
        .select((count) => count.fn.countAll<number>().as("count"))
        .whereRef("s.folder_id", "=", "folders.id")
        .as("skipped"),
    )
    .where("mailbox_id", "in", [...mailboxIds])
    .orderBy("mailbox_id")
    .orderBy("path")
    .execute();
  return rows.map((row) => ({ ...row, skipped: row.skipped ?? 0 }));
}
