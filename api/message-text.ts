import type { Readable } from "node:stream";
import type { Response } from "express";
import { openContent } from "../blobs/vault.ts";
import { sourcePart } from "../db/message-blobs.ts";
import { findMessageTexts } from "../db/message-texts.ts";
import { MailError } from "../domain/errors.ts";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import type { AttachmentInfo } from "../domain/message.ts";
import { type ParsedSource, parseSource, sanitiseOnThread } from "../mime/parse-source.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";
import { connectedMailbox, findKept, readFromProvider } from "./message-content.ts";
import { readAtMost } from "./read-at-most.ts";
import { type ListedAttachment, listAttachments } from "./wrapped-attachments.ts";

export type TextFormat = "plain" | "html" | "sanitizedHtml" | "reply";

export interface MessageTextAnswer {
  readonly plain: string | null;
  readonly html: string | null;
  readonly sanitizedHtml: string | null;
  readonly reply: string | null;
  readonly blockedImages: number;
  readonly isTruncated: boolean;
  readonly attachments: ListedAttachment[];
  readonly source: "kept" | "fetched";
}

/** A source is held in memory while it is parsed. Texts come before attachments: of a larger one, they are in this much. */
const sourceBytesMax = 16 * 1024 * 1024;
const charactersMax = 1_000_000;

interface Message {
  readonly id: MessageId;
  readonly mailbox_id: MailboxId;
  readonly attachments: readonly AttachmentInfo[];
  readonly hides_attachments: boolean;
}

/** A message's text in the forms that are asked for: from the kept text if that will do, else from its source, kept or at the server. */
export async function readMessageText(
  deps: ApiDeps,
  message: Message,
  options: { readonly formats: readonly TextFormat[]; readonly remoteImages: boolean },
  response: Response,
): Promise<MessageTextAnswer> {
  const hangUp = new AbortController();
  const onClose = () => hangUp.abort();
  response.once("close", onClose);
  try {
    return await textIn(deps, message, options, hangUp.signal);
  } finally {
    response.off("close", onClose);
  }
}

async function textIn(
  deps: ApiDeps,
  message: Message,
  options: { readonly formats: readonly TextFormat[]; readonly remoteImages: boolean },
  signal: AbortSignal,
): Promise<MessageTextAnswer> {
  const wants = (format: TextFormat) => options.formats.includes(format);
  const none = { plain: null, html: null, sanitizedHtml: null, reply: null, blockedImages: 0 };
  if (!wants("html") && !wants("sanitizedHtml")) {
    const kept = (await findMessageTexts(deps.db, [message.id])).get(message.id);
    // The beginning of a text that a delivery wanted is no answer, and neither is one in which nobody looked for the reply.
    if (kept?.isKept === true && (!wants("reply") || kept.reply != null)) {
      const plain = wants("plain") ? kept.text : null;
      const reply = wants("reply") ? (kept.reply ?? null) : null;
      return { ...none, plain, reply, isTruncated: kept.isTruncated, attachments: await attachmentsOf(deps, message, signal), source: "kept" };
    }
  }
  const { parsed, isCut, source } = await parseMessage(deps, message, signal);
  const attachments = await attachmentsOf(deps, message, signal);
  const safe =
    wants("sanitizedHtml") && parsed.html !== null
      ? await sanitiseOnThread(parsed.html, { remoteImages: options.remoteImages, contentUrls: contentUrls(message.id, attachments), signal })
      : undefined;
  return {
    plain: wants("plain") ? parsed.text : null,
    html: wants("html") ? parsed.html : null,
    sanitizedHtml: safe?.html ?? null,
    reply: wants("reply") ? parsed.reply.reply : null,
    blockedImages: safe?.blockedImages ?? 0,
    isTruncated: parsed.isTruncated || isCut || safe?.isTruncated === true,
    attachments,
    source,
  };
}

/** A text that is there is answered although a winmail.dat cannot be looked into just now: what it holds is left out. */
async function attachmentsOf(deps: ApiDeps, message: Message, signal: AbortSignal): Promise<ListedAttachment[]> {
  if (message.hides_attachments) return [];
  try {
    return await listAttachments(deps, message, signal);
  } catch (error) {
    if (!(error instanceof MailError || error instanceof ApiError)) throw error;
    return message.attachments.map((attachment) => ({ ...attachment, wrappedIn: null }));
  }
}

async function parseMessage(
  deps: ApiDeps,
  message: Message,
  signal: AbortSignal,
): Promise<{ readonly parsed: ParsedSource; readonly isCut: boolean; readonly source: "kept" | "fetched" }> {
  const kept = await findKept(deps, message.id, sourcePart);
  let bytes: Buffer = Buffer.alloc(0);
  const take = async (stream: Readable) => {
    bytes = await readAtMost(stream, sourceBytesMax + 1);
  };
  if (kept !== undefined) await take(await openContent(deps.blobs, kept));
  else {
    const mailbox = await connectedMailbox(deps, message.mailbox_id);
    await readFromProvider(
      deps,
      mailbox,
      message.id,
      async (provider, { path, ref }) => (await provider.openSource({ path }, ref, signal)).stream,
      take,
    );
  }
  const parsed = await parseSource(bytes.subarray(0, sourceBytesMax), { charactersMax, signal });
  return { parsed, isCut: bytes.length > sourceBytesMax, source: kept === undefined ? "fetched" : "kept" };
}

/** What the mark-up calls `cid:…`, as the API serves it. */
function contentUrls(id: MessageId, attachments: readonly ListedAttachment[]): Readonly<Record<string, string>> {
  const named = attachments.filter(({ contentId }) => contentId !== null);
  return Object.fromEntries(named.map(({ contentId, part }) => [(contentId ?? "").replace(/^<|>$/g, ""), `/v1/messages/${id}/attachments/${part}`]));
}
