import type { Database } from "../db/database.ts";
import { listSyncFolders } from "../db/folder-sync.ts";
import type { WorkMailbox } from "../db/mailbox-state.ts";
import { claimDueSkipped, recordSkippedAgain } from "../db/skipped.ts";
import { CursorMoved, storeSkipped } from "../db/store-page.ts";
import { MailError } from "../domain/errors.ts";
import type { MailProvider } from "../providers/provider.ts";
import { isFoldersOwn, ownerOf, textsOf } from "./pages.ts";

/** Messages in one look at most: new mail comes first. The rest is due, and has the next look come soon. */
const triedMax = 50;

/**
 * Asks once more for skipped messages whose time has come, one by one: any of them may be what makes a server hang up, and then only that one waits
 * longer. Whoever finds the folder changed meanwhile leaves the message to its next time.
 */
export async function retrySkipped(db: Database, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<void> {
  for (let tried = 0; tried < triedMax; tried += 1) {
    const due = await claimDueSkipped(db, mailbox.id);
    if (due === undefined) return;
    const folder = (await listSyncFolders(db, mailbox.id)).find(({ id }) => id === due.folderId);
    if (folder === undefined || folder.cursor === null) continue;
    const scope = { path: folder.path };
    try {
      const fetched = await provider.fetchMessages(scope, folder.cursor, [due.ref], signal);
      const texts = await textsOf(provider, scope, fetched.messages, mailbox.tellsText, signal);
      await storeSkipped(db, ownerOf(mailbox), folder, due, fetched, texts);
    } catch (error) {
      if (error instanceof CursorMoved) continue;
      const isOwn = error instanceof MailError && (isFoldersOwn(error) || error.code === "not_found");
      if (!isOwn || !provider.isUsable()) throw error;
      await recordSkippedAgain(db, folder.id, { ref: due.ref, code: error.code, reason: error.serverSaid ?? null });
    }
  }
}
