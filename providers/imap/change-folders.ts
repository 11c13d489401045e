import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import { asWrite, pathOf, refusalOf, runCommand } from "./command.ts";
import { selectFolder } from "./folder.ts";

/** CREATE, and SUBSCRIBE, without which many mail programs do not show the folder. */
export async function createFolder(client: ImapFlow, path: string): Promise<void> {
  const doing = "creating a folder";
  await refused(doing, runCommand(client, "CREATE", [pathOf(client, path)]));
  await client.mailboxSubscribe(path);
}

/** RENAME takes everything below along (RFC 9051 §6.3.6); subscriptions stay with the old names on some servers. */
export async function renameFolder(client: ImapFlow, path: string, to: string): Promise<void> {
  const doing = "renaming a folder";
  await leave(client);
  await refused(doing, runCommand(client, "RENAME", [pathOf(client, path), pathOf(client, to)]));
  await client.mailboxUnsubscribe(path);
  await client.mailboxSubscribe(to);
}

export async function deleteFolder(client: ImapFlow, path: string, { force }: { readonly force: boolean }): Promise<void> {
  const doing = "deleting a folder";
  await leave(client);
  if (!force) {
    // A folder that holds no mail, only folders (\Noselect), cannot be asked; DELETE itself refuses it then.
    const status = await client.status(path, { messages: true });
    if (status !== false && (status.messages ?? 0) > 0) throw new MailError("folder_not_empty", { doing });
  }
  await refused(doing, runCommand(client, "DELETE", [pathOf(client, path)]));
  await client.mailboxUnsubscribe(path);
}

/** No server likes to lose the folder that a session has selected; the inbox cannot be lost. */
async function leave(client: ImapFlow): Promise<void> {
  if (client.mailbox !== false && client.mailbox.path !== "INBOX") await selectFolder(client, "INBOX");
}

async function refused(doing: string, command: Promise<unknown>): Promise<void> {
  try {
    await command;
  } catch (error) {
    if (error instanceof MailError) throw asWrite(error);
    throw refusalOf(error, doing);
  }
}
