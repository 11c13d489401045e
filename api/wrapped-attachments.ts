import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import type { AttachmentInfo } from "../domain/message.ts";
import { type UnwrappedTnef, unwrapTnef } from "../mime/parse-source.ts";
import { isTnef } from "../mime/tnef.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError, notFound } from "./errors.ts";
import { messageContent } from "./message-content.ts";
import { readAtMost } from "./read-at-most.ts";
import type { Content } from "./send-content.ts";

interface Message {
  readonly id: MessageId;
  readonly mailbox_id: MailboxId;
  readonly attachments: readonly AttachmentInfo[];
}

/** An attachment with the part that holds it: a winmail.dat, or nothing but the message. */
export interface ListedAttachment extends AttachmentInfo {
  readonly wrappedIn: string | null;
}

/** A winmail.dat is read as a whole, and held meanwhile. Mail servers take no larger messages. */
const wrapperBytesMax = 48 * 1024 * 1024;

/** How the number of an attachment in a winmail.dat is made: the wrapper's, and its place in there from 1. */
const wrappedPattern = /^(?<wrapper>\d[\d.]*)\.tnef\.(?<place>\d{1,4})$/;

const wrappedPart = (wrapper: string, index: number) => `${wrapper}.tnef.${index + 1}`;

/** The message's attachments, each winmail.dat followed by what it holds. Costs nothing where there is none. */
export async function listAttachments(deps: ApiDeps, message: Message, signal: AbortSignal): Promise<ListedAttachment[]> {
  const listed: ListedAttachment[] = [];
  for (const attachment of message.attachments) {
    listed.push({ ...attachment, wrappedIn: null });
    if (!isTnef(attachment)) continue;
    const { attachments } = await readWrapper(deps, message, attachment.part, signal);
    listed.push(
      ...attachments.map(({ sizeBytes, ...one }, index) => ({
        ...one,
        part: wrappedPart(attachment.part, index),
        encodedSizeBytes: sizeBytes,
        isInline: one.contentId !== null,
        wrappedIn: attachment.part,
      })),
    );
  }
  return listed;
}

/** One attachment by its part's number, wherever it is; throws `not_found`. */
export async function attachmentContent(deps: ApiDeps, message: Message, part: string, signal: AbortSignal): Promise<Content> {
  const { wrapper, place } = wrappedPattern.exec(part)?.groups ?? {};
  const attachment = message.attachments.find((one) => one.part === (wrapper ?? part));
  if (attachment === undefined) throw notFound("attachment");
  if (place === undefined) {
    const named = { contentType: attachment.contentType, fileName: attachment.fileName ?? `attachment-${part}` };
    return messageContent(deps, message, part, named);
  }
  if (!isTnef(attachment)) throw notFound("attachment");
  const pick = Number(place) - 1;
  const { attachments, picked } = await readWrapper(deps, message, attachment.part, signal, pick);
  const found = attachments[pick];
  if (found === undefined || picked === null) throw notFound("attachment");
  const bytes = Buffer.from(picked.buffer, picked.byteOffset, picked.byteLength);
  return {
    contentType: found.contentType,
    fileName: found.fileName ?? `attachment-${part}`,
    sizeBytes: bytes.length,
    etag: createHash("sha256").update(bytes).digest("base64url"),
    read: async (range, _signal, take) =>
      take(Readable.from([range === undefined ? bytes : bytes.subarray(range.first, range.last + 1)], { objectMode: false })),
  };
}

async function readWrapper(deps: ApiDeps, message: Message, part: string, signal: AbortSignal, pick?: number): Promise<UnwrappedTnef> {
  const content = await messageContent(deps, message, part, { contentType: "application/ms-tnef", fileName: "winmail.dat" });
  let bytes: Buffer = Buffer.alloc(0);
  await content.read(undefined, signal, async (stream) => {
    bytes = await readAtMost(stream, wrapperBytesMax + 1);
  });
  if (bytes.length > wrapperBytesMax) throw new ApiError("not_found", { detail: "The winmail.dat is too large to be looked into." });
  return unwrapTnef(bytes, { signal, ...(pick === undefined ? {} : { pick }) });
}
