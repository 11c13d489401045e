import type { ImapFlow } from "imapflow";
import { z } from "zod";
import { MailError } from "../../domain/errors.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import type { WriteMark, WriteRef, WriteTarget } from "../../domain/message-action.ts";
import { fetchMessages } from "./fetch.ts";
import { selectFolder } from "./folder.ts";

const markSchema = z.object({ uidValidity: z.string(), uidNext: z.number().int() });

/** Where a folder ends now. */
export async function markFolder(client: ImapFlow, path: string): Promise<WriteMark> {
  const { uidValidity, uidNext } = await selectFolder(client, path);
  return { uidValidity, uidNext };
}

/** More than this came into the target since: whoever repeats a write then does it blindly no more, and says so. */
const sinceMax = 20_000;

/**
 * Which of the messages lie in the target already, of those that came since the mark: an earlier attempt brought them there before anybody could note it.
 * Recognised by Message-ID and size, or without one by size and INTERNALDATE, which COPY keeps (RFC 9051 §6.4.7). Each find stands for one message.
 */
export async function findLanded(
  client: ImapFlow,
  messages: readonly WriteRef[],
  target: WriteTarget,
  doing: string,
): Promise<ReadonlyMap<string, string>> {
  const mark = markSchema.parse(target.mark);
  const folder = await selectFolder(client, target.path);
  if (folder.uidValidity !== mark.uidValidity) throw new MailError("write_refused", { doing: `${doing} into a folder that was made anew meanwhile` });
  if (folder.uidNext - mark.uidNext > sinceMax)
    throw new MailError("write_refused", { doing: `${doing}: too much came meanwhile to see what is done` });
  const { messages: arrived } = await fetchMessages(client, mark.uidNext, folder.uidNext - 1);
  const free = new Set(arrived);
  const landed = new Map<string, string>();
  for (const message of messages) {
    const found = free.values().find((candidate) => isCopyOf(candidate, message));
    if (found === undefined) continue;
    free.delete(found);
    landed.set(message.ref, found.ref);
  }
  return landed;
}

function isCopyOf(candidate: RemoteMessage, { messageId, sizeBytes, receivedAt }: WriteRef): boolean {
  if (candidate.envelope.messageId !== messageId || candidate.sizeBytes !== sizeBytes) return false;
  return messageId !== null || candidate.receivedAt === receivedAt;
}
