import { sql } from "kysely";
import { toProblem } from "../domain/errors.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** The folders whose places were not counted for a day: listed to their end, and with nothing held back. */
export async function foldersToCount(db: Connection, mailboxId: MailboxId): Promise<readonly FolderId[]> {
  const rows = await db
    .selectFrom("folders")
    .select("id")
    .where("mailbox_id", "=", mailboxId)
    .where("is_synced", "=", true)
    .where("import_state", "=", "complete")
    .where("cursor", "is not", null)
    .where("held_since", "is", null)
    .where(sql<boolean>`coalesce(counted_at < now() - interval '1 day', true)`)
    .execute();
  return rows.map((row) => row.id);
}

/** Compares the places on record, and what was skipped, with the server's total; gives the folders where they differ. */
export async function countPlaces(db: Connection, folders: readonly FolderId[]): Promise<readonly FolderId[]> {
  if (folders.length === 0) return [];
  const { rows } = await sql<{ id: FolderId; differs: boolean }>`
    update folders f set counted_at = now(),
      miscounted_since = case when c.count <> f.total then coalesce(f.miscounted_since, now()) end,
      problem = case when c.count = f.total and f.problem ->> 'code' = 'folder_miscounted' then null else f.problem end
    from (
      select g.id, (select count(*) from message_locations l where l.folder_id = g.id)
        + (select count(*) from skipped_messages s where s.folder_id = g.id) as count
      from folders g where g.id = any(${folders}::text[])
    ) c
    where f.id = c.id
    returning f.id, f.miscounted_since is not null as differs
  `.execute(db);
  return rows.filter((row) => row.differs).map((row) => row.id);
}

/** A folder that does not agree with the server even after it was read thoroughly: it says so, and is listed from the start. */
export async function listMiscounted(db: Connection, id: FolderId): Promise<void> {
  const problem = toProblem({ code: "folder_miscounted" }, new Date().toISOString());
  await db
    .updateTable("folders")
    .set({ cursor: null, problem: JSON.stringify(problem) })
    .where("id", "=", id)
    .execute();
}
