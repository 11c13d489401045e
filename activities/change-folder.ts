import { Context } from "@temporalio/activity";
import { saveFolders } from "../db/folder-sync.ts";
import { findWorkMailbox } from "../db/mailbox-state.ts";
import { findFolderPaths } from "../db/message-actions.ts";
import { MailError } from "../domain/errors.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { ActivityDependencies } from "./dependencies.ts";

/** What is to become of a folder at the server; `force` lets what lies in and below it go with it. */
export type FolderChange =
  | { readonly type: "create"; readonly path: string }
  | { readonly type: "rename"; readonly folderId: FolderId; readonly path: string }
  | { readonly type: "delete"; readonly folderId: FolderId; readonly force: boolean };

interface KnownFolder {
  readonly id: FolderId;
  readonly path: string;
  readonly delimiter: string;
}

/** Changes a folder at the server, then brings the store up to the server's listing, knowing what the change was: a rename is no new folder. */
export function folderChangeActivities({ db, signals }: ActivityDependencies, sessions: Sessions) {
  return {
    async changeFolder({ mailboxId, change }: { readonly mailboxId: MailboxId; readonly change: FolderChange }): Promise<void> {
      const { cancellationSignal: signal, info } = Context.current();
      const mailbox = await findWorkMailbox(db, mailboxId);
      if (mailbox === undefined) throw new MailError("mailbox_not_connected", { doing: "changing a folder" });
      const known = await findFolderPaths(db, mailboxId);
      const folder = change.type === "create" ? undefined : known.find(({ id }) => id === change.folderId);
      const affected = folder === undefined ? [] : [folder, ...known.filter(({ path }) => isBelow(path, folder))];
      await sessions.use(mailbox, async (provider) => {
        await changeAtServer(provider, change, affected, info.attempt > 1, signal);
        const listed = await provider.listFolders(signal);
        const renames =
          change.type === "rename" && folder !== undefined
            ? affected.map(({ id, path }) => ({ id, path: `${change.path}${path.slice(folder.path.length)}` }))
            : [];
        const deleted = new Set(change.type === "delete" ? affected.map(({ id }) => id) : []);
        const source = { customerId: mailbox.customerId, mailboxId };
        await db.transaction().execute((trx) => saveFolders(trx, source, listed, mailbox.sync, renames, deleted));
      });
      // A new folder has to be looked at, and what a deleted one held may lie elsewhere too.
      await signals.wakeMailbox(mailboxId, []);
    },
  };
}

function isBelow(path: string, { path: parent, delimiter }: KnownFolder): boolean {
  return delimiter !== "" && path.startsWith(`${parent}${delimiter}`);
}

/** A repeated attempt takes what the first one did for done: a folder that is there, or not there any more. */
async function changeAtServer(
  provider: MailProvider,
  change: FolderChange,
  affected: readonly KnownFolder[],
  isRepeat: boolean,
  signal: AbortSignal,
): Promise<void> {
  const [folder, ...below] = affected;
  switch (change.type) {
    case "create":
      return unless(isRepeat ? "folder_exists" : undefined, provider.createFolder(change.path, signal));
    case "rename": {
      if (folder === undefined) throw new MailError("not_found", { doing: "renaming a folder" });
      const isDone = isRepeat && (await provider.listFolders(signal)).some(({ path }) => path === change.path);
      return isDone ? undefined : provider.renameFolder(folder.path, change.path, signal);
    }
    case "delete": {
      if (folder === undefined) throw new MailError("not_found", { doing: "deleting a folder" });
      if (!change.force && below.length > 0) throw new MailError("folder_not_empty", { doing: "deleting a folder with others below it" });
      const deepestFirst = below.toSorted((a, b) => b.path.length - a.path.length);
      for (const { path } of [...deepestFirst, folder]) {
        await unless(isRepeat || path !== folder.path ? "not_found" : undefined, provider.deleteFolder(path, { force: change.force }, signal));
      }
    }
  }
}

async function unless(code: "folder_exists" | "not_found" | undefined, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof MailError) || error.code !== code) throw error;
  }
}
