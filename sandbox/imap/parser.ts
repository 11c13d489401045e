import { bad } from "./failure.ts";

/** A place in a command's text. Functions below read what their name says from there on, or throw BAD. */
export interface Cursor {
  readonly text: string;
  readonly literals: readonly Buffer[];
  at: number;
  literalsTaken: number;
}

/** Inclusive; `*` is Infinity, so `n:*` is [n, Infinity] and a lone `*` is [Infinity, Infinity]. */
export type NumberRange = readonly [number, number];

export function cursorOver(text: string, literals: readonly Buffer[] = []): Cursor {
  return { text, literals, at: 0, literalsTaken: 0 };
}

/** Matches a sticky expression here and moves on; undefined leaves the cursor where it was. */
export function take(cursor: Cursor, expression: RegExp): RegExpExecArray | undefined {
  expression.lastIndex = cursor.at;
  const match = expression.exec(cursor.text);
  if (match === null) return undefined;
  cursor.at = expression.lastIndex;
  return match;
}

export function peek(cursor: Cursor): string {
  return cursor.text[cursor.at] ?? "";
}

export function takeIf(cursor: Cursor, character: string): boolean {
  if (peek(cursor) !== character) return false;
  cursor.at++;
  return true;
}

export function expect(cursor: Cursor, character: string): void {
  if (!takeIf(cursor, character)) throw bad(`expected ${character === " " ? "a space" : character} at position ${cursor.at}`);
}

export const space = (cursor: Cursor): void => expect(cursor, " ");

export function end(cursor: Cursor): void {
  if (cursor.at < cursor.text.length) throw bad(`unexpected arguments at position ${cursor.at}`);
}

export function atom(cursor: Cursor): string {
  const match = take(cursor, /[!#$&'+-[^-z|}~]+/y);
  if (match === undefined) throw bad(`expected an atom at position ${cursor.at}`);
  return match[0];
}

export function number(cursor: Cursor): number {
  const match = take(cursor, /\d{1,15}/y);
  if (match === undefined) throw bad(`expected a number at position ${cursor.at}`);
  return Number(match[0]);
}

/** A quoted string or a literal, as bytes. */
export function stringBytes(cursor: Cursor): Buffer | undefined {
  if (peek(cursor) === '"') {
    const match = take(cursor, /"((?:[^"\\\r\n]|\\["\\])*)"/y);
    if (match === undefined) throw bad("a quoted string is not closed");
    return Buffer.from((match[1] ?? "").replace(/\\(["\\])/g, "$1"), "latin1");
  }
  if (take(cursor, /\{\d+\+?\}\r\n/y) === undefined) return undefined;
  return cursor.literals[cursor.literalsTaken++];
}

/** An astring, as text: clients that send UTF-8 unasked are understood. */
export function astring(cursor: Cursor): string {
  const bytes = stringBytes(cursor);
  if (bytes !== undefined) return bytes.toString("utf8");
  const match = take(cursor, /[!#$&'+-[\]^-z|}~]+/y);
  if (match === undefined) throw bad(`expected a string at position ${cursor.at}`);
  return match[0];
}

/** A mailbox name in which `%` and `*` are wildcards. */
export function listMailbox(cursor: Cursor): string {
  const bytes = stringBytes(cursor);
  if (bytes !== undefined) return bytes.toString("utf8");
  const match = take(cursor, /[!#-'*-[\]^-z|}~]+/y);
  if (match === undefined) throw bad(`expected a mailbox pattern at position ${cursor.at}`);
  return match[0];
}

/** `(a b c)`, possibly empty. */
export function list<T>(cursor: Cursor, item: (cursor: Cursor) => T): T[] {
  expect(cursor, "(");
  const items: T[] = [];
  if (takeIf(cursor, ")")) return items;
  for (;;) {
    items.push(item(cursor));
    if (takeIf(cursor, ")")) return items;
    space(cursor);
  }
}

const systemFlags = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"];

export function flag(cursor: Cursor): string {
  const match = take(cursor, /\\?[!#$&'+-[^-z|}~]+/y);
  if (match === undefined) throw bad(`expected a flag at position ${cursor.at}`);
  const name = match[0];
  if (!name.startsWith("\\")) {
    if (name.length > 64) throw bad("a keyword has at most 64 characters");
    return name;
  }
  const known = systemFlags.find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  if (known === undefined) throw bad(`${name} is not a flag that a client may set`);
  return known;
}

/** Flags in parentheses or bare, as STORE allows both. */
export function flags(cursor: Cursor): string[] {
  if (peek(cursor) === "(") return list(cursor, flag);
  const found = [flag(cursor)];
  while (takeIf(cursor, " ")) found.push(flag(cursor));
  return found;
}

export function sequenceSet(cursor: Cursor): NumberRange[] {
  const match = take(cursor, /[\d*:,]+/y);
  if (match === undefined) throw bad(`expected a message set at position ${cursor.at}`);
  return match[0].split(",").map((part) => {
    const range = /^(\d{1,10}|\*)(?::(\d{1,10}|\*))?$/.exec(part);
    if (range === null) throw bad(`${part} is not part of a message set`);
    const first = setNumber(range[1] ?? "");
    const last = range[2] === undefined ? first : setNumber(range[2]);
    return first <= last ? [first, last] : [last, first];
  });
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/** `1-Feb-2024`, quoted or not: midnight UTC of that day. */
export function date(cursor: Cursor): number {
  const match = take(cursor, /("?)(\d{1,2})-([A-Za-z]{3})-(\d{4})\1/y);
  const month = months.indexOf((match?.[3] ?? "").toLowerCase());
  if (match === undefined || month === -1) throw bad(`expected a date such as 1-Feb-2024 at position ${cursor.at}`);
  return Date.UTC(Number(match[4]), month, Number(match[2]));
}

/** `" 1-Feb-2024 10:00:00 +0100"`. */
export function dateTime(cursor: Cursor): Date {
  const match = take(cursor, /"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"/y);
  const month = months.indexOf((match?.[2] ?? "").toLowerCase());
  if (match === undefined || month === -1) throw bad(`expected a date with time at position ${cursor.at}`);
  const [day, year, hour, minute, second] = [match[1], match[3], match[4], match[5], match[6]].map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const offsetMinutes = (match[7] === "-" ? -1 : 1) * (Number(match[8]) * 60 + Number(match[9]));
  return new Date(Date.UTC(year, month, day, hour, minute, second) - offsetMinutes * 60_000);
}

function setNumber(text: string): number {
  if (text === "*") return Number.POSITIVE_INFINITY;
  const value = Number(text);
  if (value === 0 || value > 0xffffffff) throw bad(`${text} is no message number`);
  return value;
}
