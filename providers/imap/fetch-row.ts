import type { FetchMessageObject } from "imapflow";
import { parseBodystructure, parseEnvelope } from "imapflow/lib/tools.js";

/** A value of an answer: text, the bytes of a literal, NIL, or a list of values. ImapFlow's readers of envelopes and structures take the same. */
type Value = { readonly value: string | Buffer } | null | readonly Value[];

/** What an answer may hold before it is left to ImapFlow, which has bounds of its own; its readers recurse as deep as the lists do. */
const valuesMax = 20_000;
const depthMax = 50;

/**
 * Reads an untagged FETCH answer of a listing in one pass over its text: `* 12 FETCH (UID 7 FLAGS (\Seen) …)`. Undefined for an answer that is none, or is
 * written in a way that servers seldom write: whoever asks has ImapFlow read it, which forgives more and takes ten times as long. What both read is equal.
 */
export function readFetchRow(payload: Buffer, literals: readonly Buffer[]): FetchMessageObject | undefined {
  const text = payload.toString();
  const head = /^\* (\d{1,10}) FETCH \(/.exec(text);
  if (head === null) return undefined;
  const reader = new RowReader(text, head[0].length, literals);
  const row = reader.readRow(Number(head[1]));
  return row?.uid === undefined ? undefined : (row as FetchMessageObject);
}

type Row = { -readonly [Key in keyof FetchMessageObject]?: FetchMessageObject[Key] };

const space = 0x20;
const quote = 0x22;
const open = 0x28;
const close = 0x29;
const brace = 0x7b;

/** Characters that end an atom, or that make it something else than a plain one. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: no server may send them here
const special = /[\u0000-\u0020"%()*<>[\\\]\u007f{}]/;

const headerFields = /^BODY\[HEADER\.FIELDS \((?:[\w-]+|"[\w-]+")(?: (?:[\w-]+|"[\w-]+"))*\)\]$/;

/** Thrown away at the first thing that is not plain. */
class RowReader {
  readonly #text: string;
  readonly #literals: readonly Buffer[];
  #at: number;
  #literalsRead = 0;
  #values = 0;
  #isPlain = true;

  constructor(text: string, at: number, literals: readonly Buffer[]) {
    this.#text = text;
    this.#at = at;
    this.#literals = literals;
  }

  readRow(seq: number): Row | undefined {
    const row: Row = { seq };
    for (;;) {
      const key = this.#readKey();
      if (key === undefined || !this.#readItem(row, key)) return undefined;
      const next = this.#text.charCodeAt(this.#at);
      if (next === close) break;
      if (next !== space) return undefined;
      this.#at += 1;
    }
    return this.#at === this.#text.length - 1 && this.#literalsRead === this.#literals.length ? row : undefined;
  }

  /** The name of an item, with the space behind it taken. */
  #readKey(): string | undefined {
    let end = this.#text.indexOf(" ", this.#at);
    if (this.#text.startsWith("BODY[HEADER.FIELDS (", this.#at)) end = this.#text.indexOf("] ", end) + 1;
    if (end <= this.#at) return undefined;
    const key = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    return key;
  }

  #readItem(row: Row, key: string): boolean {
    const value = this.#readValue(0);
    if (!this.#isPlain) return false;
    switch (key) {
      case "UID":
        row.uid = numberOf(value);
        return row.uid > 0;
      case "RFC822.SIZE":
        row.size = numberOf(value);
        return row.size >= 0;
      case "FLAGS":
        if (!isList(value)) return false;
        row.flags = new Set(value.map(textOf).filter((flag) => flag !== ""));
        return true;
      case "INTERNALDATE":
        row.internalDate = instantOf(textOf(value));
        return true;
      case "ENVELOPE":
        // Mutable only by its type.
        if (isList(value)) row.envelope = parseEnvelope(value as Parameters<typeof parseEnvelope>[0]);
        return true;
      case "BODYSTRUCTURE":
        if (isList(value)) row.bodyStructure = parseBodystructure(value as Parameters<typeof parseBodystructure>[0]);
        return true;
      case "MODSEQ":
        return isList(value);
      case "EMAILID":
        row.emailId = firstOf(value);
        return true;
      case "THREADID":
        row.threadId = firstOf(value);
        return true;
      case "X-GM-MSGID":
        row.emailId = textOf(value);
        return row.emailId !== "";
      case "X-GM-THRID":
        row.threadId = textOf(value);
        return row.threadId !== "";
      default:
        if (!headerFields.test(key) || value === null || isList(value)) return false;
        row.headers = typeof value.value === "string" ? Buffer.from(value.value) : value.value;
        return true;
    }
  }

  #readValue(depth: number): Value {
    this.#values += 1;
    if (this.#values > valuesMax || depth > depthMax) return this.#giveUp();
    switch (this.#text.charCodeAt(this.#at)) {
      case quote:
        return this.#readString();
      case open:
        return this.#readList(depth);
      case brace:
        return this.#readLiteral();
      default:
        return this.#readAtom();
    }
  }

  #readList(depth: number): Value {
    const list: Value[] = [];
    this.#at += 1;
    for (;;) {
      const next = this.#text.charCodeAt(this.#at);
      if (next === close) {
        this.#at += 1;
        return list;
      }
      if (next === space) {
        this.#at += 1;
        continue;
      }
      list.push(this.#readValue(depth + 1));
      if (!this.#isPlain) return null;
    }
  }

  #readString(): Value {
    const from = this.#at + 1;
    const end = this.#text.indexOf('"', from);
    if (end < 0) return this.#giveUp();
    const plain = this.#text.slice(from, end);
    if (!plain.includes("\\")) {
      this.#at = end + 1;
      return { value: plain };
    }
    let at = from;
    while (this.#text.charCodeAt(at) !== quote) {
      at += this.#text[at] === "\\" ? 2 : 1;
      if (at >= this.#text.length) return this.#giveUp();
    }
    this.#at = at + 1;
    return { value: this.#text.slice(from, at).replace(/\\([\s\S])/g, "$1") };
  }

  /** `{12}` and a line break: its bytes were taken out of the text before. */
  #readLiteral(): Value {
    const end = this.#text.indexOf("}\r\n", this.#at);
    const bytes = this.#literals[this.#literalsRead];
    if (end < 0 || bytes === undefined || this.#text.slice(this.#at + 1, end) !== String(bytes.length)) return this.#giveUp();
    this.#literalsRead += 1;
    this.#at = end + 3;
    return { value: bytes };
  }

  #readAtom(): Value {
    const from = this.#at;
    // A system flag begins with a backslash.
    let end = this.#text[from] === "\\" ? from + 1 : from;
    for (;;) {
      const code = this.#text.charCodeAt(end);
      if (code === space || code === close || Number.isNaN(code)) break;
      end += 1;
    }
    const atom = this.#text.slice(from, end);
    if (atom === "" || special.test(atom.startsWith("\\") ? atom.slice(1) : atom)) return this.#giveUp();
    this.#at = end;
    return atom === "NIL" || atom.toUpperCase() === "NIL" ? null : { value: atom };
  }

  #giveUp(): null {
    this.#isPlain = false;
    return null;
  }
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

function textOf(value: Value): string {
  return value === null || isList(value) ? "" : value.value.toString();
}

function firstOf(value: Value): string | undefined {
  return isList(value) ? value.map(textOf).find((text) => text !== "") : undefined;
}

/** UIDs and sizes have up to ten digits; NaN for anything else. */
function numberOf(value: Value): number {
  const text = textOf(value);
  return /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
}

function instantOf(text: string): Date | string {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : date;
}
