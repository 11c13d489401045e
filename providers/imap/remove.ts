import type { ImapFlow } from "imapflow";
import type { WriteResult, WriteScope } from "../../domain/message-action.ts";
import { refusalOf } from "./command.ts";
import { expungeOnly } from "./expunge.ts";
import { existing, inWritableFolder, rangesOf } from "./writable.ts";

const doing = "deleting messages";

/** Deletes for good. Whatever is gone afterwards was deleted, whoever did it. */
export async function remove(client: ImapFlow, scope: WriteScope, refs: readonly string[]): Promise<ReadonlyMap<string, WriteResult>> {
  return inWritableFolder(client, scope, doing, async () => {
    const there = await existing(client, refs);
    const gone = (ref: string): WriteResult => (there.has(ref) ? { state: "done" } : { state: "not_found" });
    try {
      await expungeOnly(client, rangesOf(there));
      return new Map(refs.map((ref) => [ref, gone(ref)]));
    } catch (error) {
      const refusal = refusalOf(error, doing);
      const left = await existing(client, [...there]);
      return new Map(refs.map((ref) => [ref, left.has(ref) ? { state: "refused", error: refusal } : gone(ref)]));
    }
  });
}
