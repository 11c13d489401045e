import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { WriteScope } from "../../domain/message-action.ts";
import type { RefRanges } from "../../domain/sync.ts";
import { readFolderCursor } from "./cursor.ts";
import { byName, selectFolder } from "./folder.ts";
import { toRanges } from "./ranges.ts";
import { searchUids } from "./search.ts";

/**
 * Runs `work` with the folder selected for writing, and leaves it selected for reading: a CLOSE of a folder that may be changed expunges what other
 * programs marked as deleted (RFC 9051 §6.4.1). Throws `unavailable` where the UIDs are no longer those of the cursor: under another UIDVALIDITY a UID is
 * another message's.
 */
export async function inWritableFolder<T>(client: ImapFlow, scope: WriteScope, doing: string, work: () => Promise<T>): Promise<T> {
  const selected = await byName(client, scope.path, () => client.mailboxOpen(scope.path));
  try {
    if (selected.uidValidity?.toString() !== readFolderCursor(scope.cursor).uidValidity) {
      throw new MailError("unavailable", { doing: `${doing} in a folder that was made anew meanwhile` });
    }
    if (selected.readOnly === true) throw new MailError("read_only_folder", { doing });
    return await work();
  } finally {
    // A connection that cannot be made safe is given up.
    if (client.usable) await selectFolder(client, scope.path).catch(() => client.close());
  }
}

/** Those of the refs that still name a message in the selected folder. A ref that is no UID names none. */
export async function existing(client: ImapFlow, refs: readonly string[]): Promise<ReadonlySet<string>> {
  const wanted = refs.filter((ref) => /^[1-9]\d{0,9}$/.test(ref)).map(Number);
  return new Set(numbersOf(await searchUids(client, toRanges(wanted))).map(String));
}

export function rangesOf(refs: Iterable<string>): RefRanges {
  return toRanges([...refs].map(Number));
}

export function numbersOf(ranges: RefRanges): number[] {
  return ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => first + index));
}
