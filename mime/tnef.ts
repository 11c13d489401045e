import { decodeCharset } from "./charset.ts";
import { storable } from "./sanitise.ts";

/** What Outlook wraps into winmail.dat (MS-OXTNEF) when it takes the reader for an Outlook. */
export interface Tnef {
  readonly text: string | null;
  readonly html: string | null;
  readonly attachments: readonly TnefAttachment[];
}

export interface TnefAttachment {
  readonly fileName: string | null;
  readonly contentType: string;
  readonly contentId: string | null;
  readonly content: Buffer;
}

const signature = 0x223e9f78;
const attributes = {
  body: 0x0002800c,
  attachRendData: 0x00069002,
  messageProperties: 0x00069003,
  attachProperties: 0x00069005,
  codepage: 0x00069007,
  attachTitle: 0x00018010,
  attachData: 0x0006800f,
} as const;
const properties = {
  body: 0x1000,
  bodyHtml: 0x1013,
  attachData: 0x3701,
  fileName: 0x3704,
  longFileName: 0x3707,
  mimeTag: 0x370e,
  contentId: 0x3712,
} as const;

/** More attachments or properties than this are no mail, but a trap. */
const attachmentsMax = 1_000;
const propertiesMax = 20_000;

/** Whether a part is such a wrapping, by what it is called. */
export function isTnef({ contentType, fileName }: { readonly contentType: string; readonly fileName: string | null }): boolean {
  return /^application\/(vnd\.)?ms-tnef$/i.test(contentType) || /^win(mail|dat)\.dat$/i.test(fileName ?? "");
}

/** What a winmail.dat holds, as far as it can be read; undefined for what is none. Never throws: lengths that lie end the reading. */
export function readTnef(bytes: Buffer): Tnef | undefined {
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== signature) return undefined;
  const found: Found = { charset: "", text: null, html: null, attachments: [] };
  // Level (1 byte), id (4), length (4), the data, a checksum (2) that nobody gets wrong and nobody needs.
  for (let at = 6; at + 9 <= bytes.length; ) {
    const id = bytes.readUInt32LE(at + 1);
    const length = bytes.readUInt32LE(at + 5);
    const data = bytes.subarray(at + 9, at + 9 + length);
    readAttribute(id, data, found);
    if (data.length < length) break;
    at += 9 + length + 2;
  }
  return {
    text: found.text,
    html: found.html,
    attachments: found.attachments.map(({ title, longName, contentType, contentId, content }) => ({
      fileName: longName ?? title,
      contentType: contentType ?? "application/octet-stream",
      contentId,
      content,
    })),
  };
}

interface Found {
  charset: string;
  text: string | null;
  html: string | null;
  readonly attachments: FoundAttachment[];
}

interface FoundAttachment {
  title: string | null;
  longName: string | null;
  contentType: string | null;
  contentId: string | null;
  content: Buffer;
}

function readAttribute(id: number, data: Buffer, found: Found): void {
  const current = found.attachments.at(-1);
  switch (id) {
    case attributes.codepage:
      if (data.length >= 4) found.charset = charsetOf(data.readUInt32LE(0));
      return;
    case attributes.body:
      found.text ??= toText(data, found.charset);
      return;
    case attributes.messageProperties:
      for (const { tag, type, value } of readProperties(data)) {
        if (tag === properties.body) found.text = propertyText(type, value, found.charset);
        else if (tag === properties.bodyHtml) found.html = propertyText(type, value, found.charset);
      }
      return;
    case attributes.attachRendData:
      if (found.attachments.length < attachmentsMax) {
        found.attachments.push({ title: null, longName: null, contentType: null, contentId: null, content: Buffer.alloc(0) });
      }
      return;
    case attributes.attachTitle:
      if (current !== undefined) current.title = toText(data, found.charset) || null;
      return;
    case attributes.attachData:
      if (current !== undefined) current.content = data;
      return;
    case attributes.attachProperties:
      if (current !== undefined) readAttachment(data, current, found.charset);
      return;
  }
}

function readAttachment(data: Buffer, attachment: FoundAttachment, charset: string): void {
  for (const { tag, type, value } of readProperties(data)) {
    const text = () => propertyText(type, value, charset) || null;
    if (tag === properties.longFileName) attachment.longName = text();
    else if (tag === properties.fileName) attachment.title ??= text();
    else if (tag === properties.mimeTag) attachment.contentType = text()?.toLowerCase() ?? null;
    else if (tag === properties.contentId) attachment.contentId = text();
    else if (tag === properties.attachData && attachment.content.length === 0) attachment.content = value;
  }
}

interface Property {
  readonly tag: number;
  readonly type: number;
  readonly value: Buffer;
}

/** Bytes of values of a fixed length, padded to four. */
const fixedLengths: Readonly<Record<number, number>> = { 2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 20: 8, 64: 8, 72: 16 };
const variableTypes: ReadonlySet<number> = new Set([0x0d, 0x1e, 0x1f, 0x102]);
const multiple = 0x1000;

/** MS-OXTNEF §2.1.3.4: a count, then type, id, for named ones their name, and the value. An unknown type ends the list: its length is unknown too. */
function* readProperties(data: Buffer): Generator<Property> {
  if (data.length < 4) return;
  const count = Math.min(data.readUInt32LE(0), propertiesMax);
  let at = 4;
  for (let index = 0; index < count && at + 4 <= data.length; index += 1) {
    const type = data.readUInt16LE(at) & ~multiple;
    const isMultiple = (data.readUInt16LE(at) & multiple) !== 0;
    const tag = data.readUInt16LE(at + 2);
    at += 4;
    if (tag >= 0x8000) {
      if (at + 24 > data.length) return;
      const isNumbered = data.readUInt32LE(at + 16) === 0;
      at += 24 + (isNumbered ? 0 : padded(data.readUInt32LE(at + 20)));
    }
    const fixed = fixedLengths[type];
    if (fixed === undefined && !variableTypes.has(type)) return;
    let values = 1;
    if (fixed === undefined || isMultiple) {
      if (at + 4 > data.length) return;
      values = Math.min(data.readUInt32LE(at), propertiesMax);
      at += 4;
    }
    for (let each = 0; each < values; each += 1) {
      let length = fixed;
      if (length === undefined) {
        if (at + 4 > data.length) return;
        length = data.readUInt32LE(at);
        at += 4;
      }
      if (at + length > data.length) return;
      // An object's value begins with the id of its interface.
      if (each === 0) yield { tag, type, value: data.subarray(type === 0x0d ? Math.min(at + 16, at + length) : at, at + length) };
      at += padded(length);
    }
  }
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function propertyText(type: number, value: Buffer, charset: string): string {
  return toText(value, type === 0x1f ? "utf-16le" : charset);
}

function toText(bytes: Buffer, charset: string): string {
  return storable(decodeCharset(bytes, charset)).trimEnd();
}

function charsetOf(codepage: number): string {
  if (codepage === 65_001) return "utf-8";
  return codepage >= 1_250 && codepage <= 1_258 ? `windows-${codepage}` : `cp${codepage}`;
}
