import type { ImapFlow, ListResponse, MailboxObject } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import { isMissing } from "./errors.ts";
import { usesUtf8 } from "./list.ts";
import { encodeName } from "./names.ts";

/** A selected folder as SELECT described it: a snapshot, where ImapFlow's own record goes on moving with each answer. */
export interface SelectedFolder {
  readonly path: string;
  readonly uidValidity: string;
  readonly uidNext: number;
  /** Null where the folder keeps no mod-sequences. */
  readonly modseq: bigint | null;
  readonly exists: number;
}

/** No folder holds so many, and what counts them has 32 bits. */
export const existsMax = 2 ** 31 - 1;

/**
 * Selects a folder without the right to change it (EXAMINE), so that reading never clears `\Recent`. Selecting anew costs the round trip that a NOOP would, and
 * answers with everything a page is judged by at one instant. Throws `not_found` where the folder is gone.
 */
export async function selectFolder(client: ImapFlow, path: string): Promise<SelectedFolder> {
  const mailbox = await byName(client, path, () => open(client, path));
  if (!mailbox) throw new MailError("unavailable", { doing: "selecting a folder on a connection that is not signed in" });
  const keepsModseq = client.enabled.has("CONDSTORE") && mailbox.noModseq !== true && mailbox.highestModseq !== undefined;
  const exists = mailbox.exists ?? 0;
  if (exists > existsMax) throw new MailError("invalid_response", { doing: `selecting a folder: the server counts ${exists} messages` });
  const modseq = keepsModseq ? (mailbox.highestModseq ?? null) : null;
  const uidValidity = mailbox.uidValidity?.toString() ?? "0";
  return { path, uidValidity, modseq, exists, uidNext: mailbox.uidNext ?? (await askUidNext(client, path)) };
}

function open(client: ImapFlow, path: string): Promise<MailboxObject> {
  // ImapFlow lists a folder that it does not know before it selects it: two commands for nothing that is needed here.
  const { folders } = client as unknown as { readonly folders: Map<string, Partial<ListResponse>> };
  if (!folders.has(path)) folders.set(path, { path });
  return client.mailboxOpen(path, { readOnly: true });
}

/**
 * Asks about a folder by its name in modified UTF-7 and, where the server knows none by it, by the name as it was listed: some hand out names with bare
 * ampersands or 8-bit characters, and know them by these only.
 */
export async function byName<T>(client: ImapFlow, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isMissing(error) || usesUtf8(client) || encodeName(path, false) === path) throw error;
    // A session that speaks UTF-8 encodes no names; the server is told nothing of it.
    client.enabled.add("UTF8=ACCEPT");
    try {
      return await work();
    } finally {
      client.enabled.delete("UTF8=ACCEPT");
    }
  }
}

/** RFC 9051 wants UIDNEXT in SELECT; the servers that leave it out tell it in STATUS, or it follows from the newest message. */
async function askUidNext(client: ImapFlow, path: string): Promise<number> {
  const status = await client.status(path, { uidNext: true });
  if (status !== false && status.uidNext !== undefined) return status.uidNext;
  const newest = await client.fetchOne("*", { uid: true });
  return newest === false || newest === undefined ? 1 : newest.uid + 1;
}
