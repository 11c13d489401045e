import type { ImapFlow } from "imapflow";
import type { FetchedMessages, SyncCursor, SyncScope } from "../../domain/sync.ts";
import { readFolderCursor } from "./cursor.ts";
import { recoverMessages } from "./fetch.ts";
import { selectFolder } from "./folder.ts";

/** Messages that a page had to skip, each asked for on its own. A new UIDVALIDITY means that none of them is there by that UID. */
export async function fetchAgain(client: ImapFlow, scope: SyncScope, cursor: SyncCursor, refs: readonly string[]): Promise<FetchedMessages> {
  const folder = await selectFolder(client, scope.path);
  if (folder.uidValidity !== readFolderCursor(cursor).uidValidity) return { messages: [], skipped: [] };
  return recoverMessages(
    client,
    refs.map(Number).filter((uid) => Number.isSafeInteger(uid) && uid > 0),
  );
}
