import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import { type Flags, normaliseFlags } from "../../domain/message.ts";
import { type FlagsChange, hasFlags, type WriteResult, type WriteScope } from "../../domain/message-action.ts";
import { refusalOf } from "./command.ts";
import { storeFlags } from "./expunge.ts";
import { toSequenceSet } from "./ranges.ts";
import { existing, inWritableFolder, rangesOf } from "./writable.ts";

const doing = "setting flags";

/** Adds and removes flags, then reads what the server made of them: a keyword that a folder does not keep (PERMANENTFLAGS) is dropped without a word. */
export async function setFlags(
  client: ImapFlow,
  scope: WriteScope,
  refs: readonly string[],
  change: FlagsChange,
): Promise<ReadonlyMap<string, WriteResult<{ readonly flags: Flags }>>> {
  return inWritableFolder(client, scope, doing, async () => {
    const there = await existing(client, refs);
    const uids = rangesOf(there);
    let refusal: MailError | undefined;
    try {
      await storeFlags(client, uids, "+", change.add.map(toImapFlag));
      await storeFlags(client, uids, "-", change.remove.map(toImapFlag));
    } catch (error) {
      refusal = refusalOf(error, doing);
    }
    const flags = await readFlags(client, toSequenceSet(uids));
    return new Map(refs.map((ref) => [ref, resultOf(flags.get(ref), change, refusal)]));
  });
}

function resultOf(flags: Flags | undefined, change: FlagsChange, refusal: MailError | undefined): WriteResult<{ readonly flags: Flags }> {
  if (flags === undefined) return { state: "not_found" };
  if (hasFlags(flags, change)) return { state: "done", flags };
  return { state: "refused", error: refusal ?? new MailError("flags_not_kept", { doing }) };
}

async function readFlags(client: ImapFlow, uids: string): Promise<ReadonlyMap<string, Flags>> {
  if (uids === "") return new Map();
  const rows = await client.fetchAll(uids, { uid: true, flags: true }, { uid: true });
  return new Map(rows.flatMap(({ uid, flags }) => (flags === undefined ? [] : [[String(uid), normaliseFlags(flags)] as const])));
}

const systemFlags = new Set(["seen", "answered", "flagged", "deleted", "draft"]);

function toImapFlag(flag: string): string {
  return systemFlags.has(flag) ? `\\${flag.charAt(0).toUpperCase()}${flag.slice(1)}` : flag;
}
