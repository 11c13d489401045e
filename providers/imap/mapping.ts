import type { FetchMessageObject, MessageAddressObject, MessageStructureObject } from "imapflow";
import type { Address } from "../../domain/address.ts";
import { type AttachmentInfo, type Envelope, normaliseFlags, type RemoteMessage, type TextPart } from "../../domain/message.ts";

/** A message as FETCH answered it, in domain words. Every string is fit for PostgreSQL: no NUL, no lone surrogates. */
export function toRemoteMessage(row: FetchMessageObject): RemoteMessage {
  const parts = readStructure(row.bodyStructure);
  const envelope = toEnvelope(row);
  return {
    ref: String(row.uid),
    stableId: cleanOrNull(row.emailId),
    providerThreadId: cleanOrNull(row.threadId),
    envelope,
    flags: normaliseFlags(row.flags === undefined ? [] : cleanAll(row.flags)),
    sizeBytes: row.size ?? 0,
    receivedAt: toInstant(row.internalDate) ?? envelope.sentAt ?? unknownInstant,
    attachments: parts.attachments,
    textPart: parts.textPart,
  };
}

/** For a message of which no server and no header says when it came. */
const unknownInstant = "1970-01-01T00:00:00.000Z";

function toEnvelope(row: FetchMessageObject): Envelope {
  const raw = row.envelope;
  const from = toAddresses(raw?.from);
  const replyTo = toAddresses(raw?.replyTo);
  return {
    messageId: toMessageId(raw?.messageId),
    inReplyTo: toMessageId(raw?.inReplyTo),
    references: toReferences(row.headers),
    subject: clean(raw?.subject ?? ""),
    from,
    // ENVELOPE repeats From where there is no Reply-To (RFC 9051 §7.5.2).
    replyTo: isSame(from, replyTo) ? [] : replyTo,
    to: toAddresses(raw?.to),
    cc: toAddresses(raw?.cc),
    bcc: toAddresses(raw?.bcc),
    sentAt: toInstant(raw?.date),
  };
}

function toAddresses(list: readonly MessageAddressObject[] | undefined): readonly Address[] {
  return list === undefined ? [] : list.map(({ name, address }) => ({ name: clean(name ?? ""), address: clean(address ?? "") }));
}

function isSame(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every((one, index) => one.name === b[index]?.name && one.address === b[index]?.address);
}

/** RFC 5322 §2.1.1 allows 998 characters a line; an id longer than that is rubbish that would not fit an index. */
const idLengthMax = 998;

/** An id with its angle brackets and without what stands around it; what has no brackets is kept as it is. */
export function toMessageId(raw: string | undefined): string | null {
  if (raw === undefined) return null;
  const id = (/<[^<>\s]+>/.exec(raw)?.[0] ?? raw.trim()).slice(0, idLengthMax);
  return id === "" ? null : clean(id);
}

/** More than this does not help threading, and mailing-list loops have produced tens of thousands. */
const referencesMax = 100;

/** Ids of a References header, oldest first. Of too many, the oldest (the thread's root) and the newest are kept. */
export function toReferences(header: Buffer | undefined): readonly string[] {
  if (header === undefined || header.length < 13) return [];
  const ids = [...new Set(header.toString("utf8").match(/<[^<>\s]+>/g) ?? [])].filter((id) => id.length <= idLengthMax).map(clean);
  return ids.length <= referencesMax ? ids : [...ids.slice(0, 1), ...ids.slice(1 - referencesMax)];
}

/** Before mail as we know it (RFC 822 is of 1982, but clocks reset to 1980) and beyond any clock's honest error, a date tells nothing. */
const yearMin = 1981;
const yearMax = 2100;

/** A date as ImapFlow gives it (a Date, or the text where it could not be read) as an ISO instant; null where it makes no sense. */
export function toInstant(raw: Date | string | undefined): string | null {
  if (raw === undefined) return null;
  const date = typeof raw === "string" ? parseDate(raw) : raw;
  const year = date.getUTCFullYear();
  return year >= yearMin && year < yearMax ? date.toISOString() : null;
}

/** Date headers carry zones in words and comments that `Date` refuses: what stands before them is enough. */
function parseDate(text: string): Date {
  const plain = new Date(text);
  if (!Number.isNaN(plain.getTime())) return plain;
  const core = /\d{1,2}[ -][a-z]{3}[a-z]*[ -]\d{2,4} \d{1,2}:\d{2}(:\d{2})?( [+-]\d{4})?/i.exec(text)?.[0];
  return new Date(core === undefined ? Number.NaN : /[+-]\d{4}$/.test(core) ? core : `${core} +0000`);
}

interface Parts {
  readonly attachments: readonly AttachmentInfo[];
  readonly textPart: TextPart | null;
}

function readStructure(root: MessageStructureObject | undefined): Parts {
  if (root === undefined) return { attachments: [], textPart: null };
  const attachments: AttachmentInfo[] = [];
  const texts: TextPart[] = [];
  collect(root, undefined, attachments, texts);
  const withText = texts.filter((text) => text.encodedSizeBytes > 0);
  const textPart = withText.find((text) => text.contentType === "text/plain") ?? withText[0] ?? null;
  return { attachments, textPart };
}

function collect(node: MessageStructureObject, parent: MessageStructureObject | undefined, attachments: AttachmentInfo[], texts: TextPart[]): void {
  // An attached message has children too, but they are its own, not this message's.
  if (node.childNodes !== undefined && node.type.startsWith("multipart/")) {
    for (const child of node.childNodes) collect(child, node, attachments, texts);
    return;
  }
  if (node.type.startsWith("multipart/")) return;
  const fileName = fileNameOf(node);
  const isAttached = node.disposition === "attachment" || (fileName !== null && node.disposition !== "inline");
  if (!isAttached && fileName === null && (node.type === "text/plain" || node.type === "text/html")) {
    texts.push(toTextPart(node, node.type));
    return;
  }
  attachments.push({
    part: node.part ?? "1",
    fileName,
    contentType: clean(node.type),
    encodedSizeBytes: node.size ?? 0,
    contentId: cleanOrNull(node.id),
    isInline: node.disposition === "inline" || (node.disposition !== "attachment" && node.id !== undefined && parent?.type === "multipart/related"),
  });
}

function toTextPart(node: MessageStructureObject, contentType: TextPart["contentType"]): TextPart {
  return {
    part: node.part ?? "1",
    contentType,
    charset: clean(node.parameters?.charset ?? "us-ascii").toLowerCase(),
    transferEncoding: clean(node.encoding ?? "7bit").toLowerCase(),
    encodedSizeBytes: node.size ?? 0,
  };
}

/** File systems end at 255 bytes; a longer name is decoration. */
const fileNameLengthMax = 255;

function fileNameOf(node: MessageStructureObject): string | null {
  const raw = node.dispositionParameters?.filename ?? node.parameters?.name;
  if (raw === undefined || raw === "") return null;
  const name = clean(raw).trim();
  return name === "" ? null : name.slice(0, fileNameLengthMax);
}

function cleanAll(texts: Iterable<string>): string[] {
  return Array.from(texts, clean);
}

function cleanOrNull(text: string | undefined): string | null {
  return text === undefined || text === "" ? null : clean(text);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\u0000-\u001f\u007f]/;

/** PostgreSQL takes no NUL, JSON no lone surrogates, and a line break in a header field is a forgery or a fold. */
function clean(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  if (!control.test(wellFormed)) return wellFormed;
  return wellFormed
    .replaceAll("\u0000", "")
    .replace(/\s*[\r\n\t]+\s*/g, " ")
    .replace(/\p{Cc}/gu, "");
}
