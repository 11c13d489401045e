import { type Attachment, simpleParser } from "mailparser";
import type { CustomerId } from "../domain/ids.ts";
import type { ReplyText } from "../domain/reply-text.ts";
import { type Searchable, toTermVector } from "../domain/search-terms.ts";
import { htmlToText } from "./html-to-text.ts";
import { readPlainSource } from "./plain-source.ts";
import { replyText } from "./reply-text.ts";
import { storable } from "./sanitise.ts";
import { type SafeHtml, sanitiseHtml } from "./sanitise-html.ts";
import { makeSnippet } from "./snippet.ts";
import { tidyText } from "./tidy-text.ts";
import { isTnef, readTnef, type TnefAttachment } from "./tnef.ts";

export interface ParseTask {
  readonly source: Uint8Array;
  readonly charactersMax: number;
}

/** A message whose text is to be kept: its source, and what else it is found by. */
export interface MessageToRead {
  readonly source: Uint8Array;
  /** Its `snippet` stays if there is one. */
  readonly searchable: Omit<Searchable, "text">;
}

export interface ReadTextsTask {
  readonly messages: readonly MessageToRead[];
  readonly customerId: CustomerId;
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
export interface ReadText {
  readonly text: string;
  readonly isTruncated: boolean;
  readonly reply: string;
  /** The line of preview; null for an empty text. */
  readonly snippet: string | null;
  /** The words by which it is found, as PostgreSQL's text for a tsvector. */
  readonly terms: string;
}

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
  task: ParseTask | ReadTextsTask | SanitiseTask | UnwrapTask,
): Promise<ParsedSource | readonly ReadText[] | SafeHtml | UnwrappedTnef> {
  if ("tnef" in task) return unwrapOne(task);
  if ("messages" in task) return readTexts(task);
  return "source" in task ? parse(task) : sanitise(task);
}

async function readTexts({ messages, customerId, charactersMax }: ReadTextsTask): Promise<readonly ReadText[]> {
  const read: ReadText[] = [];
  for (const { source, searchable } of messages) {
    const { text, isTruncated, reply } = await readText({ source, charactersMax });
    const snippet = searchable.snippet ?? (makeSnippet(text) || null);
    read.push({ text, isTruncated, reply: reply.reply, snippet, terms: toTermVector(customerId, { ...searchable, snippet, text }) });
  }
  return read;
}

type Texts = Pick<ParsedSource, "text" | "isTruncated" | "html" | "reply">;

/** A source that is written plainly is read in one pass; any other is parsed. */
async function readText({ source, charactersMax }: ParseTask): Promise<Texts> {
  const plain = readPlainSource(asBuffer(source));
  if (plain === undefined) return parse({ source, charactersMax });
  return textsOf({ text: storable(plain.text), html: plain.html === null ? null : storable(plain.html) }, charactersMax);
}

/**
 * A source that the parser gives up on (a thousand parts, a header of a megabyte) has no text, and says more than that: it would never be read, however
 * often it is asked for, and among others it must not keep them from theirs.
 */
async function parse(task: ParseTask): Promise<ParsedSource> {
  try {
    return await parseWhole(task);
  } catch {
    return { ...textsOf({ text: "", html: null }, task.charactersMax), isTruncated: true, attachments: [] };
  }
}

async function parseWhole({ source, charactersMax }: ParseTask): Promise<ParsedSource> {
  const mail = await simpleParser(asBuffer(source), { skipHtmlToText: false, skipTextToHtml: true, skipImageLinks: true });
  const wrapped = mail.attachments.map((part) =>
    isTnef({ contentType: part.contentType, fileName: part.filename ?? null }) ? readTnef(part.content) : undefined,
  );
  const bodies = wrapped.filter((one) => one !== undefined);
  const ownHtml = mail.html === false || mail.html === undefined ? null : storable(mail.html);
  const html = ownHtml ?? bodies.find((one) => one.html !== null)?.html ?? null;
  const text = storable(mail.text ?? "") || bodies.find((one) => one.text !== null)?.text || "";
  return {
    ...textsOf({ text, html }, charactersMax),
    attachments: mail.attachments.flatMap((part, index) => [
      toAttachment(part),
      ...(wrapped[index]?.attachments ?? []).map((one) => unwrap(one, part)),
    ]),
  };
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** Both must be storable: PostgreSQL takes no NUL in a text (SQLSTATE 22021), and JSON no half of a surrogate pair. Where there is mark-up only, it is the text. */
function textsOf(whole: { readonly text: string; readonly html: string | null }, charactersMax: number): Texts {
  const cut = (one: string) => one.slice(0, charactersMax).toWellFormed();
  const text = whole.text.trim() === "" && whole.html !== null ? tidyText(htmlToText(whole.html)) : whole.text;
  const shown = { text: cut(text), html: whole.html === null ? null : cut(whole.html) };
  return { ...shown, isTruncated: text.length > charactersMax || (whole.html?.length ?? 0) > charactersMax, reply: replyText(shown) };
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
