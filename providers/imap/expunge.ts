import type { ImapFlow } from "imapflow";
import type { RefRanges } from "../../domain/sync.ts";
import { atoms, runCommand, sequence } from "./command.ts";
import { toSequenceSet } from "./ranges.ts";
import { searchUids } from "./search.ts";
import { numbersOf } from "./writable.ts";

const deletedFlag = "\\Deleted";

/**
 * Removes these messages from the selected folder and no others. With UIDPLUS (RFC 4315) EXPUNGE takes UIDs. Without it, EXPUNGE takes whatever is marked
 * as deleted, by whomever: those marks are taken off for the moment and put back. A crash in between leaves a message undeleted, never the reverse.
 */
export async function expungeOnly(client: ImapFlow, uids: RefRanges): Promise<void> {
  if (uids.length === 0) return;
  await storeFlags(client, uids, "+", [deletedFlag]);
  if (client.capabilities.has("UIDPLUS")) {
    await runCommand(client, "UID EXPUNGE", [sequence(toSequenceSet(uids))]);
    return;
  }
  const ours = new Set(numbersOf(uids));
  const others = (await searchUids(client, undefined, { deleted: true })).flatMap(([first, last]) =>
    numbersOf([[first, last]])
      .filter((uid) => !ours.has(uid))
      .map((uid) => [uid, uid] as const),
  );
  await storeFlags(client, others, "-", [deletedFlag]);
  try {
    await runCommand(client, "EXPUNGE", []);
  } finally {
    if (client.usable) await storeFlags(client, others, "+", [deletedFlag]);
  }
}

/** STORE (RFC 9051 §6.4.6), without the answers: what came of it is asked for at once. */
export async function storeFlags(client: ImapFlow, uids: RefRanges, sign: "+" | "-", flags: readonly string[]): Promise<void> {
  if (uids.length === 0 || flags.length === 0) return;
  await runCommand(client, "UID STORE", [sequence(toSequenceSet(uids)), ...atoms([`${sign}FLAGS.SILENT`]), atoms(flags)]);
}
