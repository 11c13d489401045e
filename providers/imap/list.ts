import type { ImapFlow } from "imapflow";
import type { ImapFlowError } from "imapflow/lib/errors.js";
import { enhanceCommandError } from "imapflow/lib/tools.js";
import { MailError } from "../../domain/errors.ts";
import { isRefusal } from "./errors.ts";
import { decodeName, encodeName } from "./names.ts";

/** A folder as LIST names it, with what STATUS adds where the server answers both at once. */
export interface ListedMailbox {
  readonly path: string;
  readonly name: string;
  /** Empty where names are flat (NIL). */
  readonly delimiter: string;
  readonly flags: ReadonlySet<string>;
  /** By item, in capitals; undefined where nothing was told. */
  readonly status: ReadonlyMap<string, string> | undefined;
}

/** More folders than this is a server that does not stop, or an archive that nobody reads by IMAP. */
const foldersMax = 100_000;

/** Longer names than the store's index takes, and those that no command can carry, cannot be asked about: such a folder is as if it were not there. */
const pathBytesMax = 2_000;

function canBeNamed({ path }: { readonly path: string }): boolean {
  return path.length <= pathBytesMax && Buffer.byteLength(path) <= pathBytesMax && !/[\0\r\n]/.test(path) && path.isWellFormed();
}

/**
 * The folders that match a pattern, by a LIST of our own: ImapFlow's takes names for prettier ones that the server does not know, leaves INBOX out of a
 * personal namespace, and cannot ask for MAILBOXID. `statusItems` are asked for in the same breath (RFC 5819) where the server can.
 */
export async function listMailboxes(client: ImapFlow, pattern: string, statusItems: readonly string[] = []): Promise<readonly ListedMailbox[]> {
  const hasStatus = statusItems.length > 0 && client.capabilities.has("LIST-STATUS");
  const hasSpecialUse = client.capabilities.has("SPECIAL-USE");
  // With any RETURN, servers tell only what was asked for (RFC 5258 §3.3).
  const returned = [...(hasSpecialUse ? [atom("SPECIAL-USE")] : []), ...(hasStatus ? [atom("STATUS"), statusItems.map(atom)] : [])];
  const command = !hasSpecialUse && client.capabilities.has("XLIST") ? "XLIST" : "LIST";
  const target = ["", encodeName(pattern, usesUtf8(client))];
  if (returned.length === 0) return ask(client, command, target);
  try {
    return await ask(client, command, [...target, atom("RETURN"), returned]);
  } catch (error) {
    // Advertised, and refused all the same: the plain question is always understood.
    if ((error as { responseStatus?: unknown }).responseStatus !== "BAD") throw error;
    return ask(client, command, target);
  }
}

export function usesUtf8(client: ImapFlow): boolean {
  return client.enabled.has("UTF8=ACCEPT") || client.enabled.has("IMAP4REV2");
}

async function ask(client: ImapFlow, command: string, args: readonly Token[]): Promise<readonly ListedMailbox[]> {
  const found: Omit<ListedMailbox, "status">[] = [];
  const statuses = new Map<string, ReadonlyMap<string, string>>();
  const untagged = {
    [command]: async ({ attributes = [] }: Untagged) => {
      const mailbox = toMailbox(client, attributes);
      if (found.length <= foldersMax && canBeNamed(mailbox)) found.push(mailbox);
    },
    STATUS: async ({ attributes = [] }: Untagged) => {
      statuses.set(nameOf(client, attributes[0]), toStatus(attributes[1]));
    },
  };
  try {
    (await (client as unknown as Raw).exec(command, args, { untagged })).next();
  } catch (error) {
    if (isRefusal(error)) await enhanceCommandError(error as ImapFlowError);
    throw error;
  }
  if (found.length > foldersMax) throw new MailError("invalid_response", { doing: `listing folders: the server names more than ${foldersMax}` });
  return found.map((mailbox) => ({ ...mailbox, status: statuses.get(mailbox.path) }));
}

/** What of ImapFlow stands below its verbs: commands as tokens, answers as parsed attributes. */
interface Raw {
  exec(
    command: string,
    args: readonly Token[],
    options: { readonly untagged: Readonly<Record<string, (untagged: Untagged) => Promise<void>>> },
  ): Promise<{ next(): void }>;
}

type Token = string | { readonly type: string; readonly value: string } | readonly Token[];

interface Untagged {
  readonly attributes?: readonly Attribute[];
}

type Attribute = { readonly value?: unknown } | null | readonly Attribute[];

function atom(value: string): Token {
  return { type: "ATOM", value };
}

function toMailbox(client: ImapFlow, [flags, delimiter, rawName]: readonly (Attribute | undefined)[]): Omit<ListedMailbox, "status"> {
  const path = nameOf(client, rawName);
  const separator = textOf(delimiter);
  const name = separator === "" ? path : path.slice(path.lastIndexOf(separator) + separator.length);
  return { path, name, delimiter: separator, flags: new Set(isList(flags) ? flags.map(textOf) : []) };
}

function nameOf(client: ImapFlow, attribute: Attribute | undefined): string {
  const name = decodeName(textOf(attribute), usesUtf8(client));
  return name.toUpperCase() === "INBOX" ? "INBOX" : name;
}

function toStatus(items: Attribute | undefined): ReadonlyMap<string, string> {
  const status = new Map<string, string>();
  if (!isList(items)) return status;
  for (let index = 0; index + 1 < items.length; index += 2) {
    const value = items[index + 1];
    // MAILBOXID is the one item in parentheses (RFC 8474 §4.3).
    status.set(textOf(items[index]).toUpperCase(), textOf(isList(value) ? value[0] : value));
  }
  return status;
}

function isList(attribute: Attribute | undefined): attribute is readonly Attribute[] {
  return Array.isArray(attribute);
}

/** A name that comes as a literal is bytes. */
function textOf(attribute: Attribute | undefined): string {
  if (attribute === null || attribute === undefined || isList(attribute)) return "";
  const { value } = attribute;
  return typeof value === "string" ? value : Buffer.isBuffer(value) ? value.toString() : "";
}
