import type { ImapFlow } from "imapflow";
import type { FolderRole, RemoteFolder } from "../../domain/folder.ts";
import { detectRoles } from "./roles.ts";

/** Every folder of the mailbox, with what it is for. */
export async function listFolders(client: ImapFlow, overrides: Readonly<Record<string, FolderRole>>): Promise<readonly RemoteFolder[]> {
  const listed = (await client.list({ listOnly: true })).filter((folder) => folder.path !== "" && !hasFlag(folder.flags, "\\nonexistent"));
  const roles = detectRoles(listed, overrides);
  return listed.map((folder) => ({
    path: folder.path,
    name: folder.name,
    delimiter: folder.delimiter || "",
    ...(roles.get(folder.path) ?? { role: "none", roleSource: "none" }),
    selectable: !hasFlag(folder.flags, "\\noselect"),
  }));
}

function hasFlag(flags: ReadonlySet<string>, wanted: string): boolean {
  for (const flag of flags) if (flag.toLowerCase() === wanted) return true;
  return false;
}
