import { type Attachment, simpleParser } from "mailparser";
import type { ReplyText } from "../domain/reply-text.ts";
import { replyText } from "./reply-text.ts";
import { storable } from "./sanitise.ts";
import { type SafeHtml, sanitiseHtml } from "./sanitise-html.ts";

export interface ParseTask {
  readonly source: Uint8Array;
  readonly charactersMax: number;
}

export interface SanitiseTask {
  readonly html: string;
  readonly remoteImages: boolean;
  /** Where parts are to be had, by Content-ID without angle brackets. */
  readonly contentUrls: Readonly<Record<string, string>>;
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

/** An attachment as the parser found it, in the order of the message; those within attached messages are theirs. */
export interface ParsedAttachment {
  readonly fileName: string | null;
  readonly contentType: string;
  readonly contentId: string | null;
  readonly sizeBytes: number;
  readonly isInline: boolean;
}

/** Runs on a thread of mime/parse-source.ts. */
export default async function run(task: ParseTask | SanitiseTask): Promise<ParsedSource | SafeHtml> {
  return "source" in task ? parse(task) : sanitise(task);
}

async function parse({ source, charactersMax }: ParseTask): Promise<ParsedSource> {
  const mail = await simpleParser(Buffer.from(source), { skipHtmlToText: false, skipTextToHtml: true, skipImageLinks: true });
  // PostgreSQL takes no NUL in a text (SQLSTATE 22021), and JSON no half of a surrogate pair.
  const text = storable(mail.text ?? "");
  const html = mail.html === false || mail.html === undefined ? null : storable(mail.html);
  const cut = (whole: string) => whole.slice(0, charactersMax).toWellFormed();
  return {
    text: cut(text),
    isTruncated: text.length > charactersMax || (html?.length ?? 0) > charactersMax,
    html: html === null ? null : cut(html),
    reply: replyText({ text: cut(text), html: html === null ? null : cut(html) }),
    attachments: mail.attachments.map(toAttachment),
  };
}

function toAttachment({ filename, contentType, cid, size, contentDisposition, related }: Attachment): ParsedAttachment {
  return {
    fileName: filename === undefined || filename === "" ? null : storable(filename),
    contentType: storable(contentType),
    contentId: cid === undefined ? null : storable(cid),
    sizeBytes: size,
    isInline: contentDisposition === "inline" || (related === true && contentDisposition !== "attachment"),
  };
}

function sanitise({ html, remoteImages, contentUrls }: SanitiseTask): SafeHtml {
  return sanitiseHtml(html, { remoteImages, contentUrl: (id) => (Object.hasOwn(contentUrls, id) ? contentUrls[id] : undefined) });
}
