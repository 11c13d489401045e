import type { FetchMessageObject, MessageAddressObject, MessageStructureObject } from "imapflow";
import type { Address } from "../../domain/address.ts";
import type { Defect } from "../../domain/defects.ts";
import {
  type AttachmentInfo,
  attachmentsMax,
  type Envelope,
  normaliseFlags,
  type RemoteMessage,
  recipientsMax,
  type TextPart,
} from "../../domain/message.ts";
import { type Trait, traitsOf } from "../../domain/traits.ts";
import { isKnownCharset } from "../../mime/charset.ts";
import { readHeaderFields, utf8Of } from "../../mime/header-fields.ts";

/**
 * A message as FETCH answered it, in domain words. Every string is fit for PostgreSQL: no NUL, no lone surrogates. `known` names defects that were mended
 * before.
 */
export function toRemoteMessage(row: FetchMessageObject, known: readonly Defect[] = []): RemoteMessage {
  const clean = createCleaner(known);
  const headers = row.headers === undefined ? noHeaders : readHeaderFields(row.headers);
  const { envelope, recipientsTotal } = toEnvelope(row, headers, clean);
  const parts = readStructure(row.bodyStructure, clean);
  const receivedAt = toInstant(row.internalDate) ?? envelope.sentAt ?? unknownInstant;
  return {
    ref: String(row.uid),
    stableId: clean.orNull(row.emailId),
    providerThreadId: clean.orNull(row.threadId),
    envelope,
    flags: normaliseFlags(row.flags === undefined ? [] : Array.from(row.flags, clean)),
    sizeBytes: toSize(row.size),
    receivedAt,
    attachments: parts.attachments,
    textPart: parts.textPart,
    traits: toTraits(row, envelope, headers, parts.types),
    defects: toDefects(row, envelope, receivedAt, recipientsTotal, parts, clean),
    recipientsTotal,
  };
}

/** What a column of 32 bits holds; no message is larger, and what is no size at all is as if it were not told. */
const sizeMax = 2 ** 31 - 1;

function toSize(raw: number | undefined): number {
  return raw === undefined || !Number.isFinite(raw) || raw < 0 ? 0 : Math.min(Math.floor(raw), sizeMax);
}

const noHeaders: ReadonlyMap<string, readonly string[]> = new Map();

/** For a message of which no server and no header says when it came. */
const unknownInstant = "1970-01-01T00:00:00.000Z";

function toEnvelope(
  row: FetchMessageObject,
  headers: ReadonlyMap<string, readonly string[]>,
  clean: Cleaner,
): { readonly envelope: Envelope; readonly recipientsTotal: number | null } {
  const raw = row.envelope;
  const from = toAddresses(raw?.from, clean);
  const replyTo = toAddresses(raw?.replyTo, clean);
  const to = toAddresses(raw?.to, clean);
  const cc = toAddresses(raw?.cc, clean, recipientsMax - to.length);
  const bcc = toAddresses(raw?.bcc, clean, recipientsMax - to.length - cc.length);
  const total = (raw?.to?.length ?? 0) + (raw?.cc?.length ?? 0) + (raw?.bcc?.length ?? 0);
  const envelope = {
    messageId: toMessageId(raw?.messageId),
    inReplyTo: toMessageId(raw?.inReplyTo),
    references: toReferences(utf8Of(headers.get("references")?.join(" ") ?? "")),
    subject: clean(raw?.subject ?? ""),
    from,
    // ENVELOPE repeats From where there is no Reply-To (RFC 9051 §7.5.2).
    replyTo: isSame(from, replyTo) ? [] : replyTo,
    to,
    cc,
    bcc,
    sentAt: toInstant(raw?.date),
  };
  return { envelope, recipientsTotal: total > to.length + cc.length + bcc.length ? total : null };
}

function toAddresses(list: readonly MessageAddressObject[] | undefined, clean: Cleaner, max = recipientsMax): readonly Address[] {
  return list === undefined ? [] : list.slice(0, max).map(({ name, address }) => ({ name: clean(name ?? ""), address: clean(address ?? "") }));
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
  return id === "" ? null : cleanText(id);
}

/** More than this does not help threading, and mailing-list loops have produced tens of thousands. */
const referencesMax = 100;

/** Ids of a References header, oldest first. Of too many, the oldest (the thread's root) and the newest are kept. */
export function toReferences(value: string): readonly string[] {
  if (value === "") return [];
  const ids = [...new Set(value.match(/<[^<>\s]+>/g) ?? [])].filter((id) => id.length <= idLengthMax).map(cleanText);
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

/** A clock may be wrong by a zone; a Date further behind the arrival lies. */
const futureMarginMs = 24 * 60 * 60 * 1_000;

function toDefects(
  row: FetchMessageObject,
  envelope: Envelope,
  receivedAt: string,
  recipientsTotal: number | null,
  parts: Parts,
  clean: Cleaner,
): readonly Defect[] {
  const found = new Set<Defect>(clean.defects);
  if (row.envelope === undefined) {
    found.add("envelope_unreadable");
  } else {
    if (envelope.messageId === null) found.add("message_id_missing");
    if (!envelope.from.some(({ address }) => address !== "")) found.add("sender_missing");
    if (envelope.sentAt === null) found.add(row.envelope.date === undefined ? "date_missing" : "date_invalid");
    else if (Date.parse(envelope.sentAt) > Date.parse(receivedAt) + futureMarginMs) found.add("date_future");
  }
  if (recipientsTotal !== null) found.add("recipients_truncated");
  if (row.bodyStructure === undefined) found.add("structure_unreadable");
  if (parts.isTruncated) found.add("attachments_truncated");
  if (parts.textPart !== null && !isKnownCharset(parts.textPart.charset)) found.add("unknown_charset");
  return [...found].sort();
}

function toTraits(
  row: FetchMessageObject,
  envelope: Envelope,
  headers: ReadonlyMap<string, readonly string[]>,
  partTypes: readonly string[],
): readonly Trait[] {
  const root = row.bodyStructure;
  const traits = traitsOf({
    headers,
    from: envelope.from,
    subject: envelope.subject,
    contentType: root?.type ?? null,
    reportType: root?.type === "multipart/report" ? (root.parameters?.["report-type"]?.trim().toLowerCase() ?? null) : null,
    partTypes,
  });
  return traits.map(({ kind, source }) => ({ kind, source: cleanText(utf8Of(source)) }));
}

interface Parts {
  readonly attachments: readonly AttachmentInfo[];
  readonly textPart: TextPart | null;
  /** The types of all parts. */
  readonly types: readonly string[];
  readonly isTruncated: boolean;
}

function readStructure(root: MessageStructureObject | undefined, clean: Cleaner): Parts {
  if (root === undefined) return { attachments: [], textPart: null, types: [], isTruncated: false };
  const found: Found = { attachments: [], texts: [], types: [], isTruncated: false };
  collect(root, found, clean);
  const withText = found.texts.filter((text) => text.encodedSizeBytes > 0);
  const textPart = withText.find((text) => text.contentType === "text/plain") ?? withText[0] ?? null;
  return { attachments: found.attachments, textPart, types: found.types, isTruncated: found.isTruncated };
}

interface Found {
  readonly attachments: AttachmentInfo[];
  readonly texts: TextPart[];
  readonly types: string[];
  isTruncated: boolean;
}

/** Without recursion: a structure may be nested as deep as its sender likes. */
function collect(root: MessageStructureObject, found: Found, clean: Cleaner): void {
  const stack: { readonly node: MessageStructureObject; readonly parentType: string | undefined }[] = [{ node: root, parentType: undefined }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { node, parentType } = next;
    // An attached message has children too, but they are its own, not this message's.
    if (node.type.startsWith("multipart/")) {
      for (const child of (node.childNodes ?? []).toReversed()) stack.push({ node: child, parentType: node.type });
      continue;
    }
    if (found.types.length === partsMax) {
      found.isTruncated = true;
      return;
    }
    found.types.push(node.type);
    collectPart(node, parentType, found, clean);
  }
}

/** Parts that are looked at: the text of a message stands far before this one. */
const partsMax = 10_000;

function collectPart(node: MessageStructureObject, parentType: string | undefined, found: Found, clean: Cleaner): void {
  const fileName = fileNameOf(node, clean);
  const isAttached = node.disposition === "attachment" || (fileName !== null && node.disposition !== "inline");
  if (!isAttached && fileName === null && (node.type === "text/plain" || node.type === "text/html")) {
    found.texts.push(toTextPart(node, node.type));
    return;
  }
  if (found.attachments.length === attachmentsMax) {
    found.isTruncated = true;
    return;
  }
  found.attachments.push({
    part: node.part ?? "1",
    fileName,
    contentType: cleanText(node.type),
    encodedSizeBytes: toSize(node.size),
    contentId: clean.orNull(node.id),
    isInline: node.disposition === "inline" || (node.disposition !== "attachment" && node.id !== undefined && parentType === "multipart/related"),
  });
}

function toTextPart(node: MessageStructureObject, contentType: TextPart["contentType"]): TextPart {
  return {
    part: node.part ?? "1",
    contentType,
    charset: cleanText(node.parameters?.charset ?? "us-ascii").toLowerCase(),
    transferEncoding: cleanText(node.encoding ?? "7bit").toLowerCase(),
    encodedSizeBytes: toSize(node.size),
  };
}

/** File systems end at 255 bytes; a longer name is decoration. */
const fileNameLengthMax = 255;

function fileNameOf(node: MessageStructureObject, clean: Cleaner): string | null {
  const named = [node.dispositionParameters?.filename, node.parameters?.name].filter((raw) => raw !== undefined && raw.trim() !== "");
  // The one that can be read: senders write both, and seldom break both.
  const raw = named.find((one) => one !== undefined && !one.includes("\ufffd")) ?? named[0];
  if (raw === undefined) return null;
  const name = clean(raw).trim();
  return name === "" ? null : name.slice(0, fileNameLengthMax).toWellFormed();
}

/** Cleans texts, and remembers what was wrong with any of them. */
interface Cleaner {
  (text: string): string;
  orNull(text: string | undefined): string | null;
  readonly defects: ReadonlySet<Defect>;
}

function createCleaner(known: readonly Defect[]): Cleaner {
  const found = new Set<Defect>(known);
  const clean = (text: string) => {
    const cleaned = cleanText(text);
    if (cleaned !== text && /\p{Cc}/u.test(text.replace(/\s/g, ""))) found.add("control_characters");
    if (cleaned.includes("\ufffd")) found.add("invalid_utf8");
    return cleaned;
  };
  const orNull = (text: string | undefined) => (text === undefined || text === "" ? null : clean(text));
  return Object.assign(clean, { orNull, defects: found });
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\u0000-\u001f\u007f]/;

/** Ten of the longest lines that mail knows (RFC 5322 §2.1.1): what a server makes of a header field may be megabytes, and nobody reads on. */
const textLengthMax = 10_000;

/** PostgreSQL takes no NUL, JSON no lone surrogates, and a line break in a header field is a forgery or a fold. */
function cleanText(text: string): string {
  const short = text.length > textLengthMax ? text.slice(0, textLengthMax) : text;
  const wellFormed = short.isWellFormed() ? short : short.toWellFormed();
  if (!control.test(wellFormed)) return wellFormed;
  return wellFormed
    .replaceAll("\u0000", "")
    .replace(/\s*[\r\n\t]+\s*/g, " ")
    .replace(/\p{Cc}/gu, "");
}
