import { Context } from "@temporalio/activity";
import { findWorkMailbox } from "../db/mailbox-state.ts";
import { findFolderPaths } from "../db/message-actions.ts";
import { MailError } from "../domain/errors.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { ActivityDependencies } from "./dependencies.ts";
import { isFoldersOwn } from "./pages.ts";

export interface CountFoldersInput {
  readonly mailboxId: MailboxId;
  readonly folderIds: readonly FolderId[];
  /** Only what was received since then, in ms since 1970; null counts all. */
  readonly receivedFrom: number | null;
}

/** Folders that could not be counted, or not in time, are left out. */
export type FolderCounts = Readonly<Record<FolderId, number>>;

/** Somebody waits for the answer: what is not counted by then stays unknown. */
const countingMs = 15_000;

/** Questions to a mailbox's server that change nothing. */
export function countFoldersActivities({ db }: ActivityDependencies, sessions: Sessions) {
  return {
    async countFolders({ mailboxId, folderIds, receivedFrom }: CountFoldersInput): Promise<FolderCounts> {
      const mailbox = await findWorkMailbox(db, mailboxId);
      if (mailbox === undefined) return {};
      const folders = (await findFolderPaths(db, mailboxId)).filter(({ id }) => folderIds.includes(id));
      const from = receivedFrom === null ? undefined : new Date(receivedFrom);
      const endsAt = Date.now() + countingMs;
      const signal = Context.current().cancellationSignal;
      const counts: Record<FolderId, number> = {};
      await sessions.use(mailbox, async (provider) => {
        for (const { id, path } of folders) {
          if (Date.now() > endsAt) return;
          try {
            counts[id] = await provider.countMessages({ path }, from, signal);
          } catch (error) {
            const isOwn = error instanceof MailError && (isFoldersOwn(error) || error.code === "not_found");
            if (!isOwn || !provider.isUsable()) throw error;
          }
        }
      });
      return counts;
    },
  };
}
