import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { FolderRole, RemoteFolder } from "../../domain/folder.ts";
import { type ListedMailbox, listMailboxes, usesUtf8 } from "./list.ts";
import { decodeName } from "./names.ts";
import { detectRoles } from "./roles.ts";

/** Every folder of the mailbox, with what it is for; those that others share with it are marked. */
export async function listFolders(client: ImapFlow, overrides: Readonly<Record<string, FolderRole>>): Promise<readonly RemoteFolder[]> {
  const { personalPrefix, foreignPrefixes } = readNamespaces(client);
  const isShared = (path: string) => foreignPrefixes.some((prefix) => path.startsWith(prefix) || `${path}${prefix.at(-1)}` === prefix);
  const listed = await listAll(client, foreignPrefixes);
  const own = listed.filter(({ path }) => !isShared(path));
  const isGmail = client.capabilities.has("X-GM-EXT-1");
  if (isGmail && !own.some(({ flags }) => hasFlag(flags, "\\all") || hasFlag(flags, "\\allmail"))) {
    throw new MailError("all_mail_hidden", { doing: "listing folders" });
  }
  const roles = detectRoles(own, overrides, { personalPrefix, isGmail });
  return listed.map((folder) => ({
    path: folder.path,
    name: folder.name,
    delimiter: folder.delimiter,
    ...(roles.get(folder.path) ?? sharedRole(folder.path, overrides)),
    selectable: !hasFlag(folder.flags, "\\noselect"),
    isShared: isShared(folder.path),
    stableId: folder.status?.get("MAILBOXID") || null,
  }));
}

/** What `*` shows of other users' and shared folders is the server's choice (RFC 2342 §5): where it shows none, they are asked for by prefix. */
async function listAll(client: ImapFlow, foreignPrefixes: readonly string[]): Promise<readonly ListedMailbox[]> {
  const statusItems = client.capabilities.has("OBJECTID") ? ["MAILBOXID"] : [];
  const listed = [...(await listMailboxes(client, "*", statusItems))];
  for (const prefix of foreignPrefixes) {
    if (!listed.some(({ path }) => path.startsWith(prefix))) listed.push(...(await listMailboxes(client, `${prefix}*`, statusItems)));
  }
  // A name twice is one folder: a name that is no modified UTF-7 may read like another's, and only one of them can be asked for by it.
  const byPath = new Map<string, ListedMailbox>();
  for (const folder of listed) {
    if (folder.path !== "" && !hasFlag(folder.flags, "\\nonexistent") && !byPath.has(folder.path)) byPath.set(folder.path, folder);
  }
  return [...byPath.values()];
}

/** The prefixes of NAMESPACE (RFC 2342): where the account's own folders begin, and where those of others do. */
function readNamespaces(client: ImapFlow): { readonly personalPrefix: string; readonly foreignPrefixes: readonly string[] } {
  const { personal, other, shared } = client.namespaces ?? {};
  const prefixesOf = (entries: typeof personal | false) => (entries || []).map(({ prefix }) => decodeName(prefix, usesUtf8(client)));
  return {
    personalPrefix: prefixesOf(personal)[0] ?? "",
    foreignPrefixes: [...prefixesOf(other), ...prefixesOf(shared)].filter((prefix) => prefix !== ""),
  };
}

/** Somebody else's sent mail is not the account's, whatever its name: only what the customer says counts. */
function sharedRole(path: string, overrides: Readonly<Record<string, FolderRole>>): Pick<RemoteFolder, "role" | "roleSource"> {
  const override = Object.hasOwn(overrides, path) ? overrides[path] : undefined;
  return override === undefined ? { role: "none", roleSource: "none" } : { role: override, roleSource: "override" };
}

function hasFlag(flags: ReadonlySet<string>, wanted: string): boolean {
  for (const flag of flags) if (flag.toLowerCase() === wanted) return true;
  return false;
}
