import { type Attachment, simpleParser } from "mailparser";
import type { ReplyText } from "../domain/reply-text.ts";
import { htmlToText } from "./html-to-text.ts";
import { replyText } from "./reply-text.ts";
import { storable } from "./sanitise.ts";
import { type SafeHtml, sanitiseHtml } from "./sanitise-html.ts";
import { tidyText } from "./tidy-text.ts";
import { isTnef, readTnef, type TnefAttachment } from "./tnef.ts";

export interface ParseTask {
  readonly source: Uint8Array;
  readonly charactersMax: number;
}

export interface ParseTextsTask {
  readonly sources: readonly Uint8Array[];
  readonly charactersMax: number;
}

export interface SanitiseTask {
  readonly html: string;
  readonly remoteImages: boolean;
  /** Where parts are to be had, by Content-ID without angle brackets. */
  readonly contentUrls: Readonly<Record<string, string>>;
}

export interface UnwrapTask {
  readonly tnef: Uint8Array;
  readonly pick: number | undefined;
}

/** What a winmail.dat holds; nothing where it is none. */
export interface UnwrappedTnef {
  readonly attachments: readonly (Omit<TnefAttachment, "content"> & { readonly sizeBytes: number })[];
  readonly picked: Uint8Array | null;
}

export interface ParsedSource {
  /** The readable text: the plain parts, or the HTML ones as text. */
  readonly text: string;
  /** There is more than `charactersMax` of text or HTML. */
  readonly isTruncated: boolean;
  /** As the sender wrote it: to be sanitised before anybody looks at it. Null where there is none. */
  readonly html: string | null;
  readonly reply: ReplyText;
  readonly attachments: readonly ParsedAttachment[];
}

/** What is kept of a message's text. */
export type ParsedText = Pick<ParsedSource, "text" | "isTruncated" | "reply">;

/** An attachment as the parser found it, in the order of the message; those within attached messages are theirs. */
export interface ParsedAttachment {
  readonly fileName: string | null;
  readonly contentType: string;
  readonly contentId: string | null;
  readonly sizeBytes: number;
  readonly isInline: boolean;
  /** The winmail.dat that holds it; null for a part of the message's own. */
  readonly wrappedIn: string | null;
}

/** Runs on a thread of mime/parse-source.ts. */
export default async function run(
  task: ParseTask | ParseTextsTask | SanitiseTask | UnwrapTask,
): Promise<ParsedSource | readonly ParsedText[] | SafeHtml | UnwrappedTnef> {
  if ("tnef" in task) return unwrapOne(task);
  if ("sources" in task) return parseTexts(task);
  return "source" in task ? parse(task) : sanitise(task);
}

async function parseTexts({ sources, charactersMax }: ParseTextsTask): Promise<readonly ParsedText[]> {
  const texts: ParsedText[] = [];
  for (const source of sources) {
    const { text, isTruncated, reply } = await parse({ source, charactersMax });
    texts.push({ text, isTruncated, reply });
  }
  return texts;
}

async function parse({ source, charactersMax }: ParseTask): Promise<ParsedSource> {
  const mail = await simpleParser(Buffer.from(source.buffer, source.byteOffset, source.byteLength), {
    skipHtmlToText: false,
    skipTextToHtml: true,
    skipImageLinks: true,
  });
  const wrapped = mail.attachments.map((part) =>
    isTnef({ contentType: part.contentType, fileName: part.filename ?? null }) ? readTnef(part.content) : undefined,
  );
  const bodies = wrapped.filter((one) => one !== undefined);
  // PostgreSQL takes no NUL in a text (SQLSTATE 22021), and JSON no half of a surrogate pair.
  const ownHtml = mail.html === false || mail.html === undefined ? null : storable(mail.html);
  const html = ownHtml ?? bodies.find((one) => one.html !== null)?.html ?? null;
  const text =
    storable(mail.text ?? "") ||
    bodies.find((one) => one.text !== null)?.text ||
    (ownHtml === null && html !== null ? tidyText(htmlToText(html)) : "");
  const cut = (whole: string) => whole.slice(0, charactersMax).toWellFormed();
  return {
    text: cut(text),
    isTruncated: text.length > charactersMax || (html?.length ?? 0) > charactersMax,
    html: html === null ? null : cut(html),
    reply: replyText({ text: cut(text), html: html === null ? null : cut(html) }),
    attachments: mail.attachments.flatMap((part, index) => [
      toAttachment(part),
      ...(wrapped[index]?.attachments ?? []).map((one) => unwrap(one, part)),
    ]),
  };
}

function toAttachment({ filename, contentType, cid, size, contentDisposition, related }: Attachment): ParsedAttachment {
  return {
    fileName: filename === undefined || filename === "" ? null : storable(filename),
    contentType: storable(contentType),
    contentId: cid === undefined ? null : storable(cid),
    sizeBytes: size,
    isInline: contentDisposition === "inline" || (related === true && contentDisposition !== "attachment"),
    wrappedIn: null,
  };
}

function unwrap({ fileName, contentType, contentId, content }: TnefAttachment, { filename }: Attachment): ParsedAttachment {
  return {
    fileName,
    contentType,
    contentId,
    sizeBytes: content.length,
    isInline: contentId !== null,
    wrappedIn: storable(filename ?? "winmail.dat"),
  };
}

function unwrapOne({ tnef, pick }: UnwrapTask): UnwrappedTnef {
  const found = readTnef(Buffer.from(tnef.buffer, tnef.byteOffset, tnef.byteLength))?.attachments ?? [];
  const picked = pick === undefined ? undefined : found[pick]?.content;
  return {
    attachments: found.map(({ content, ...attachment }) => ({ ...attachment, sizeBytes: content.length })),
    // A copy: a view would take the whole winmail.dat along to the other thread.
    picked: picked === undefined ? null : Uint8Array.from(picked),
  };
}

function sanitise({ html, remoteImages, contentUrls }: SanitiseTask): SafeHtml {
  return sanitiseHtml(html, { remoteImages, contentUrl: (id) => (Object.hasOwn(contentUrls, id) ? contentUrls[id] : undefined) });
}
