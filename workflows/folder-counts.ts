import type { CountFoldersInput, FolderCounts } from "../activities/count-folders.ts";
import { providerActivities } from "./proxies.ts";

export type { CountFoldersInput, FolderCounts };

/** Asks a mailbox's server how many messages folders hold, for a request that waits: once, because an estimate is not worth a second wait. */
export async function folderCounts(input: CountFoldersInput): Promise<FolderCounts> {
  const options = { retry: { maximumAttempts: 1 }, startToCloseTimeout: "25 seconds", scheduleToStartTimeout: "10 seconds" } as const;
  return providerActivities({ ...options, summary: `count ${input.folderIds.length} folder(s)` }).countFolders(input);
}
