import { sql } from "kysely";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import type { Location } from "../domain/settle.ts";
import type { Connection } from "./database.ts";

/** Where a message lies at its server, as far as is known. */
export interface MessagePlace {
  readonly mailboxId: MailboxId;
  readonly path: string;
  readonly ref: string;
}

/** All places of a message, the one where people look first in front: it may have left that one since it was looked at. */
export async function listPlaces(db: Connection, id: MessageId): Promise<readonly MessagePlace[]> {
  return db
    .selectFrom("message_locations as l")
    .innerJoin("messages as m", "m.id", "l.message_id")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .select(["l.mailbox_id as mailboxId", "f.path", "l.ref"])
    .where("l.message_id", "=", id)
    .orderBy(sql`(f.id = m.main_folder_id)`, "desc")
    .orderBy("f.path")
    .execute();
}

/** Where each of these messages lies, with what its folders say about it. */
export async function listLocations(trx: Connection, ids: readonly MessageId[]): Promise<ReadonlyMap<MessageId, Location[]>> {
  const rows = await trx
    .selectFrom("message_locations as l")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .select(["l.message_id", "l.folder_id as folderId", "l.ref", "l.flags", "f.path", "f.role"])
    .where("l.message_id", "in", ids)
    .execute();
  return Map.groupBy(rows, (row) => row.message_id);
}
