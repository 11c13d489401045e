import type { ImapFlow } from "imapflow";
import type { WriteRef, WriteResult, WriteScope, WriteTarget } from "../../domain/message-action.ts";
import { pathOf, refusalOf, runCommand, sequence } from "./command.ts";
import { expungeOnly } from "./expunge.ts";
import { findLanded } from "./landed.ts";
import { toSequenceSet } from "./ranges.ts";
import { existing, inWritableFolder, rangesOf } from "./writable.ts";

const doing = "moving messages";

/**
 * MOVE (RFC 6851), or where it is missing COPY, then removal of what was copied. The new UIDs are COPYUID's (RFC 4315), where the server tells them.
 * Repeated after a break, it first looks which messages arrived: those only have to leave.
 */
export async function move(
  client: ImapFlow,
  scope: WriteScope,
  messages: readonly WriteRef[],
  target: WriteTarget,
): Promise<ReadonlyMap<string, WriteResult<{ readonly ref: string | null }>>> {
  const landed = target.isRepeat ? await findLanded(client, messages, target, doing) : new Map<string, string>();
  return inWritableFolder(client, scope, doing, async () => {
    const refs = messages.map(({ ref }) => ref);
    const there = await existing(client, refs);
    const toMove = [...there].filter((ref) => !landed.has(ref));
    const newRefs = new Map(landed);
    try {
      await expungeOnly(client, rangesOf([...there].filter((ref) => landed.has(ref))));
      const pairs = toMove.length === 0 ? [] : await moveOrCopy(client, toMove, target.path);
      for (const [from, to] of pairs) newRefs.set(String(from), String(to));
    } catch (error) {
      const refusal = refusalOf(error, doing);
      // A MOVE may be refused halfway (RFC 6851 §3.3): what has left was moved.
      const left = await existing(client, [...there]);
      return new Map(refs.map((ref) => [ref, left.has(ref) ? { state: "refused", error: refusal } : moved(ref)]));
    }
    return new Map(refs.map((ref) => [ref, moved(ref)]));

    function moved(ref: string): WriteResult<{ readonly ref: string | null }> {
      return there.has(ref) || landed.has(ref) ? { state: "done", ref: newRefs.get(ref) ?? null } : { state: "not_found" };
    }
  });
}

async function moveOrCopy(client: ImapFlow, refs: readonly string[], path: string): Promise<Iterable<readonly [number, number]>> {
  const uids = rangesOf(refs);
  const set = [sequence(toSequenceSet(uids)), pathOf(client, path)];
  if (client.capabilities.has("MOVE")) return runCommand(client, "UID MOVE", set);
  const pairs = await runCommand(client, "UID COPY", set);
  await expungeOnly(client, uids);
  return pairs;
}
