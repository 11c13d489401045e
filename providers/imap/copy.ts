import type { ImapFlow } from "imapflow";
import type { MailError } from "../../domain/errors.ts";
import type { WriteRef, WriteResult, WriteScope, WriteTarget } from "../../domain/message-action.ts";
import { pathOf, refusalOf, runCommand, sequence } from "./command.ts";
import { findLanded } from "./landed.ts";
import { toSequenceSet } from "./ranges.ts";
import { existing, inWritableFolder, rangesOf } from "./writable.ts";

const doing = "copying messages";

/** COPY (RFC 9051 §6.4.7), all or nothing. Repeated after a break, it leaves out what arrived the first time. */
export async function copy(
  client: ImapFlow,
  scope: WriteScope,
  messages: readonly WriteRef[],
  target: WriteTarget,
): Promise<ReadonlyMap<string, WriteResult<{ readonly ref: string | null }>>> {
  const landed = target.isRepeat ? await findLanded(client, messages, target, doing) : new Map<string, string>();
  return inWritableFolder(client, scope, doing, async () => {
    const wanted = messages.map(({ ref }) => ref).filter((ref) => !landed.has(ref));
    const there = await existing(client, wanted);
    const newRefs = new Map(landed);
    let refusal: MailError | undefined;
    if (there.size > 0) {
      try {
        const pairs = await runCommand(client, "UID COPY", [sequence(toSequenceSet(rangesOf(there))), pathOf(client, target.path)]);
        for (const [from, to] of pairs) newRefs.set(String(from), String(to));
      } catch (error) {
        refusal = refusalOf(error, doing);
      }
    }
    return new Map(
      messages.map(({ ref }): [string, WriteResult<{ readonly ref: string | null }>] => {
        if (landed.has(ref)) return [ref, { state: "done", ref: landed.get(ref) ?? null }];
        if (!there.has(ref)) return [ref, { state: "not_found" }];
        return [ref, refusal === undefined ? { state: "done", ref: newRefs.get(ref) ?? null } : { state: "refused", error: refusal }];
      }),
    );
  });
}
