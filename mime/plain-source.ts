import { compile } from "html-to-text";
import iconv from "iconv-lite";
import { decodeTransfer } from "./transfer-encoding.ts";

/** What a message says, as mailparser would tell it: line ends as LF, empty where there is none. */
export interface SourceTexts {
  readonly text: string;
  /** Null where there is none. */
  readonly html: string | null;
}

/**
 * The texts of a source (RFC 5322) that is written as plainly as most mail is: one text, in plain form or marked up or both as alternatives, among any
 * attachments, which are passed over unread. Undefined for every other: nothing is guessed here, and what may be meant in two ways is mailparser's. What is told
 * is what mailparser tells, for a twentieth of the time.
 */
export function readPlainSource(source: Buffer): SourceTexts | undefined {
  const leaves: TextLeaf[] = [];
  if (!readEntity(source, { boundaries: [], isAlternative: false }, leaves)) return undefined;
  const [first, second] = leaves;
  if (first === undefined) return { text: "", html: null };
  if (second === undefined) return first.isHtml ? onlyHtml(first) : withText(first, null);
  if (leaves.length > 2 || first.isHtml === second.isHtml || !first.isAlternative || !second.isAlternative) return undefined;
  return first.isHtml ? withText(second, first) : withText(first, second);
}

interface TextLeaf {
  readonly isHtml: boolean;
  /** Stands within a multipart/alternative, at any depth. */
  readonly isAlternative: boolean;
  readonly isRoot: boolean;
  readonly bytes: Buffer;
  readonly encoding: string;
  readonly charset: string;
}

function withText(plain: TextLeaf, marked: TextLeaf | null): SourceTexts | undefined {
  const text = textOf(plain);
  const html = marked === null ? null : textOf(marked);
  return text === undefined || html === undefined ? undefined : { text, html: html || null };
}

/** More tags than this may nest deeper than mailparser follows. */
const tagsMax = 1_000;
const toText = compile({ limits: { maxDepth: tagsMax } });

/** mailparser makes a text of mark-up that is all there is, and of none that stands in a multipart. */
function onlyHtml(leaf: TextLeaf): SourceTexts | undefined {
  const html = textOf(leaf);
  if (html === undefined || html === "") return html === undefined ? undefined : { text: "", html: null };
  if (!leaf.isRoot) return { text: "", html };
  if (html.split("<", tagsMax + 2).length > tagsMax) return undefined;
  try {
    return { text: toText(html), html };
  } catch {
    return undefined;
  }
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const dash = 0x2d;

/** Deeper than any mail program nests, and more parts than anybody attaches. */
const depthMax = 10;
const partsMax = 200;
const headerBytesMax = 64 * 1024;

interface Surroundings {
  readonly boundaries: readonly string[];
  readonly isAlternative: boolean;
}

/** Adds the texts of an entity (RFC 2045 §2.4) in their order. False where there is a doubt. */
function readEntity(bytes: Buffer, { boundaries, isAlternative }: Surroundings, leaves: TextLeaf[]): boolean {
  const bodyStart = bodyStartOf(bytes);
  if (bodyStart === undefined || bodyStart > headerBytesMax) return false;
  const fields = readContentFields(bytes.toString("latin1", 0, bodyStart));
  if (fields === undefined) return false;
  const { type, params, disposition, encoding, header } = fields;
  const body = bytes.subarray(bodyStart);
  if (type.startsWith("multipart/")) {
    const boundary = params.get("boundary");
    if (boundary === undefined || boundary === "" || boundaries.includes(boundary) || boundaries.length >= depthMax) return false;
    const parts = splitParts(body, boundary);
    const within = { boundaries: [...boundaries, boundary], isAlternative: isAlternative || type === "multipart/alternative" };
    return parts?.every((part) => readEntity(part, within, leaves)) ?? false;
  }
  // To mailparser, whatever names a boundary has parts.
  if (params.has("boundary")) return false;
  // A text that is shown is the message's own; so is an enclosed message, and a report, to mailparser.
  const isText = type === "text/plain" || type === "text/html";
  if (isText && disposition !== "attachment") {
    if (params.has("format") || !encodings.has(encoding)) return false;
    leaves.push({
      ...{ isHtml: type === "text/html", isAlternative, isRoot: boundaries.length === 0 },
      ...{ bytes: body, encoding, charset: (params.get("charset") ?? "").toLowerCase() },
    });
    return true;
  }
  if (type.startsWith("message/")) return type === "message/rfc822" && disposition === "attachment";
  return !mayBeTnef.test(header) && (type !== "application/octet-stream" || isPlainlyNamed(header));
}

/** A winmail.dat holds texts of its own, and is known by its type or its name. */
const mayBeTnef = /tnef|win(?:mail|dat)/i;

/** By what nobody has to decode. */
function isPlainlyNamed(header: string): boolean {
  return !header.includes("=?") && !header.includes("*");
}

const encodings: ReadonlySet<string> = new Set(["", "7bit", "8bit", "binary", "quoted-printable", "base64"]);

/** Behind the first empty line; undefined where there is none. */
function bodyStartOf(bytes: Buffer): number | undefined {
  if (bytes[0] === lineFeed) return 1;
  if (bytes[0] === carriageReturn && bytes[1] === lineFeed) return 2;
  for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, at + 1)) {
    if (bytes[at + 1] === lineFeed) return at + 2;
    if (bytes[at + 1] === carriageReturn && bytes[at + 2] === lineFeed) return at + 3;
  }
  return undefined;
}

interface ContentFields {
  /** In lower case, like disposition and encoding. */
  readonly type: string;
  readonly params: ReadonlyMap<string, string>;
  /** Empty where there is none. */
  readonly disposition: string;
  readonly encoding: string;
  readonly header: string;
}

/** Fields whose name begins with `Content-`, and their folded lines. */
const contentLine = /^content-([^\n]*(?:\n[ \t][^\n]*)*)/gim;
const contentName = /^([a-z-]+):/i;
const mimeType = /^[a-z]+\/[a-z0-9.+_-]+$/;

/** What a header says of its content, if it says so once and in the usual form. */
function readContentFields(header: string): ContentFields | undefined {
  if (/^[ \t]/.test(header) || /\r(?!\n)|\0/.test(header)) return undefined;
  const values = new Map<string, string>();
  for (const [, rest = ""] of header.matchAll(contentLine)) {
    const name = contentName.exec(rest)?.[1]?.toLowerCase();
    if (name === undefined || values.has(name)) return undefined;
    values.set(name, rest.slice(name.length + 1).replace(/\s*\r?\n\s*/g, " "));
  }
  const encoding = (values.get("transfer-encoding") ?? "").trim().toLowerCase();
  const said = readParameters(values.get("type"));
  const disposed = readParameters(values.get("disposition"));
  if (said === undefined || disposed === undefined) return undefined;
  // Without a type, its name may tell what an attachment is.
  if (said.value === "" && (values.has("type") || disposed.value !== "")) return undefined;
  if (disposed.value !== "" && disposed.value !== "inline" && disposed.value !== "attachment") return undefined;
  const type = said.value || "text/plain";
  return mimeType.test(type) ? { type, params: said.params, disposition: disposed.value, encoding, header } : undefined;
}

/** `; name=value` or `; name="value"`, without anything that has to be undone (RFC 2045 §5.1, RFC 2231). */
const parameter = /;[ \t]*(?:([a-z0-9_*-]+)=(?:"([^"\\]*)"|([^\s;"\\(),<>]+)))?[ \t]*/iy;
/** A name in segments, or in another charset, is nobody's concern here. */
const names = /^(?:file)?name\*/;

function readParameters(field: string | undefined): { readonly value: string; readonly params: ReadonlyMap<string, string> } | undefined {
  const params = new Map<string, string>();
  if (field === undefined) return { value: "", params };
  const line = field.trim();
  const end = line.indexOf(";");
  const value = (end < 0 ? line : line.slice(0, end)).trim().toLowerCase();
  if (!/^[a-z0-9.+_/-]*$/.test(value)) return undefined;
  if (end < 0) return { value, params };
  parameter.lastIndex = end;
  while (parameter.lastIndex < line.length) {
    const found = parameter.exec(line);
    if (found === null) return undefined;
    const [, given, quoted, bare] = found;
    if (given === undefined) continue;
    const name = given.toLowerCase();
    if (params.has(name) || (name.includes("*") && !names.test(name))) return undefined;
    params.set(name, quoted ?? bare ?? "");
  }
  // What is not ASCII, and blanks at the ends, are read in more than one way.
  for (const name of ["boundary", "charset", "format"]) if (!/^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(params.get(name) ?? "")) return undefined;
  return { value, params };
}

/** The parts between the delimiter lines of a multipart (RFC 2046 §5.1.1) that is closed; undefined for one that is not, or that has lines nearly like them. */
function splitParts(body: Buffer, boundary: string): readonly Buffer[] | undefined {
  const delimiter = `--${boundary}`;
  const parts: Buffer[] = [];
  let start: number | undefined;
  for (let at = body.indexOf(delimiter, 0, "latin1"); at >= 0; at = body.indexOf(delimiter, at + 1, "latin1")) {
    const before = at === 0 ? lineFeed : body[at - 1];
    if (before === carriageReturn) return undefined;
    if (before !== lineFeed) continue;
    const behind = at + delimiter.length;
    const isClosing = body[behind] === dash;
    if (isClosing && body[behind + 1] !== dash) return undefined;
    const lineEnd = isClosing ? behind + 2 : behind;
    const next = lineEndLength(body, lineEnd);
    if (next === undefined) {
      // Another line, unless it is this one with blanks, or cut.
      if (isClosing || lineEnd >= body.length || body[lineEnd] === carriageReturn || body[lineEnd] === 0x20 || body[lineEnd] === 0x09)
        return undefined;
      continue;
    }
    if (start !== undefined) parts.push(body.subarray(start, Math.max(start, at - lineEndLengthBefore(body, at))));
    if (isClosing) return start === undefined ? undefined : parts;
    if (next === 0 || parts.length >= partsMax) return undefined;
    start = lineEnd + next;
  }
  return undefined;
}

/** How long the end of line is that stands here: none at the very end; undefined where something else does. */
function lineEndLength(body: Buffer, at: number): number | undefined {
  if (at >= body.length) return 0;
  if (body[at] === lineFeed) return 1;
  return body[at] === carriageReturn && body[at + 1] === lineFeed ? 2 : undefined;
}

/** The end of line before a delimiter belongs to it. */
function lineEndLengthBefore(body: Buffer, at: number): number {
  if (at === 0) return 0;
  return body[at - 2] === carriageReturn ? 2 : 1;
}

function textOf({ bytes, encoding, charset }: TextLeaf): string | undefined {
  const decoded = decode(bytes, encoding);
  const text = decoded === undefined ? undefined : read(decoded, charset);
  return text?.includes("\r\n") ? text.replaceAll("\r\n", "\n") : text;
}

/** Where the encoding is broken, readers differ in what they make of it. */
function decode(bytes: Buffer, encoding: string): Buffer | undefined {
  if (encoding === "base64") {
    const text = bytes.toString("latin1").replace(/[\r\n]+/g, "");
    return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, "base64") : undefined;
  }
  if (encoding !== "quoted-printable") return bytes;
  return /=(?![0-9A-Fa-f]{2}|\r?\n)|[ \t](?:\r?\n|$)|\r(?!\n)/.test(bytes.toString("latin1")) ? undefined : decodeTransfer(bytes, encoding);
}

const utf8: ReadonlySet<string> = new Set(["", "utf-8", "utf8", "us-ascii", "ascii"]);
const oneByte: ReadonlySet<string> = new Set(["iso-8859-1", "iso-8859-15", "windows-1252"]);

function read(bytes: Buffer, charset: string): string | undefined {
  if (utf8.has(charset)) return bytes.toString("utf8");
  return oneByte.has(charset) ? iconv.decode(bytes, charset) : undefined;
}
