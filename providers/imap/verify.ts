import type { ImapFlow } from "imapflow";
import type { AccountReport } from "../provider.ts";
import type { Account } from "./connection.ts";
import { listFolders } from "./folders.ts";

/** What a signed-in connection proves: the inbox, the folders, and what the server can do. */
export async function verify(client: ImapFlow, account: Account): Promise<AccountReport> {
  const folders = await listFolders(client, account.roleOverrides);
  const inbox = await client.status("INBOX", { messages: true, unseen: true });
  const serverName = client.serverInfo?.name;
  return {
    address: account.settings.email,
    inbox: { total: inbox === false ? 0 : (inbox.messages ?? 0), unseen: inbox === false ? 0 : (inbox.unseen ?? 0) },
    folders,
    serverCapabilities: [...client.capabilities.keys()].toSorted(),
    serverName: typeof serverName === "string" ? serverName : null,
  };
}
