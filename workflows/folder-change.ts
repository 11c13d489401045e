import type { FolderChange } from "../activities/change-folder.ts";
import type { MailboxId } from "../domain/ids.ts";
import { providerActivities } from "./proxies.ts";

export type { FolderChange };

/** Changes one folder at its server for a request that waits. */
export async function folderChange(input: { readonly mailboxId: MailboxId; readonly change: FolderChange }): Promise<void> {
  await providerActivities({
    retry: { maximumAttempts: 3 },
    startToCloseTimeout: "60 seconds",
    summary: `${input.change.type} a folder`,
  }).changeFolder(input);
}
