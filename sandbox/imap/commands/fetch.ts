import { internalDate, literal, nstring, string } from "../encode.ts";
import { envelope } from "../envelope.ts";
import { bad } from "../failure.ts";
import { astring, atom, type Cursor, end, expect, list, number, peek, sequenceSet, space, take, takeIf } from "../parser.ts";
import { account, drained, type Found, find, type Session, selected, untagged } from "../session.ts";
import { type Message, readSource, setFlags } from "../store.ts";
import { bodyOf, bodyStructure, findPart, headerOf, type Part, parseMessage } from "../structure.ts";

/** What one item says of a message. `part` parses the source, once a message, for those that need it. */
interface Item {
  readonly setsSeen?: boolean;
  readonly needsModseq?: boolean;
  readonly write: (message: Message, part: () => Part) => string;
}

export async function fetch(session: Session, cursor: Cursor, byUid: boolean): Promise<string> {
  space(cursor);
  const set = sequenceSet(cursor);
  space(cursor);
  const asked = fetchItems(cursor);
  const changedSince = takeIf(cursor, " ") ? changedSinceModifier(cursor) : undefined;
  end(cursor);
  const items = byUid ? new Map([["UID", uidItem], ...asked]) : asked;
  if (changedSince !== undefined || [...items.values()].some((item) => item.needsModseq)) session.isCondstore = true;
  if (changedSince !== undefined) items.set("MODSEQ", modseqItem);

  const state = selected(session);
  const found = find(state, set, byUid);
  if (!state.isReadOnly && [...items.values()].some((item) => item.setsSeen)) markSeen(session, found, items);
  const tellsFlags = items.has("FLAGS") && (items.has("MODSEQ") || !session.isCondstore);
  let isComplete = true;
  for (const { sequence, uid } of found) {
    const message = state.folder.messages.get(uid); // read anew: it may have changed while the client took its time
    if (message === undefined) isComplete = byUid && isComplete;
    else if (changedSince === undefined || message.modseq > changedSince) {
      untagged(session, `${sequence} FETCH (${itemTexts(session, message, items).join(" ")})`);
      if (tellsFlags) state.toldFlags.set(uid, message.modseq);
      await drained(session);
      if (session.socket.destroyed) break;
    }
  }
  return isComplete ? "FETCH completed" : "[EXPUNGEISSUED] some of the messages are gone";
}

function itemTexts(session: Session, message: Message, items: ReadonlyMap<string, Item>): string[] {
  let parsed: Part | undefined;
  const part = () => {
    parsed ??= parseMessage(readSource(account(session), message));
    return parsed;
  };
  return [...items.values()].map((item) => item.write(message, part));
}

/** Reading a body without PEEK sets \Seen; the flags are then told beside it. */
function markSeen(session: Session, found: readonly Found[], items: Map<string, Item>): void {
  const state = selected(session);
  const unseen = found.map(({ message }) => message).filter((message) => message !== undefined && !message.flags.includes("\\Seen"));
  const next = unseen.filter((message) => message !== undefined).map((message) => [message, [...message.flags, "\\Seen"].sort()] as const);
  if (next.length === 0) return;
  const known = next.filter(([message]) => message.modseq <= state.toldModseq);
  setFlags(account(session), state.folder, next);
  for (const [message] of known) state.toldFlags.set(message.uid, state.folder.modseq);
  items.set("FLAGS", flagsItem);
  if (session.isCondstore) items.set("MODSEQ", modseqItem);
}

const uidItem: Item = { write: (message) => `UID ${message.uid}` };
const flagsItem: Item = { write: (message) => `FLAGS (${message.flags.join(" ")})` };
const modseqItem: Item = { needsModseq: true, write: (message) => `MODSEQ (${message.modseq})` };

const plainItems: Readonly<Record<string, Item>> = {
  UID: uidItem,
  FLAGS: flagsItem,
  MODSEQ: modseqItem,
  INTERNALDATE: { write: (message) => `INTERNALDATE ${internalDate(message.receivedAt)}` },
  "RFC822.SIZE": { write: (message) => `RFC822.SIZE ${message.size}` },
  ENVELOPE: { write: (_, part) => `ENVELOPE ${envelope(part().headers)}` },
  BODYSTRUCTURE: { write: (_, part) => `BODYSTRUCTURE ${bodyStructure(part(), true)}` },
  BODY: { write: (_, part) => `BODY ${bodyStructure(part(), false)}` },
  RFC822: { setsSeen: true, write: (_, part) => `RFC822 ${literal(part().source)}` },
  "RFC822.HEADER": { write: (_, part) => `RFC822.HEADER ${literal(headerOf(part()))}` },
  "RFC822.TEXT": { setsSeen: true, write: (_, part) => `RFC822.TEXT ${literal(bodyOf(part()))}` },
};

const macros: Readonly<Record<string, readonly string[]>> = {
  ALL: ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"],
  FAST: ["FLAGS", "INTERNALDATE", "RFC822.SIZE"],
  FULL: ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"],
};

/** The items by name, in the order asked for, each once. */
function fetchItems(cursor: Cursor): Map<string, Item> {
  const macro = take(cursor, /(?:ALL|FAST|FULL)(?= |$)/iy)?.[0].toUpperCase();
  if (macro !== undefined) return new Map((macros[macro] ?? []).map((name) => [name, plainItems[name] as Item]));
  const items = peek(cursor) === "(" ? list(cursor, fetchItem) : [fetchItem(cursor)];
  if (items.length === 0) throw bad("no items to fetch");
  return new Map(items);
}

function fetchItem(cursor: Cursor): [string, Item] {
  const body = take(cursor, /BODY(\.PEEK)?\[/iy);
  if (body !== undefined) return bodyItem(cursor, body[1] !== undefined);
  const name = take(cursor, /[A-Z0-9.]+/iy)?.[0].toUpperCase() ?? "";
  const item = Object.hasOwn(plainItems, name) ? plainItems[name] : undefined;
  if (item === undefined) throw bad(`${name.slice(0, 40) || "this"} is no item to fetch`);
  return [name, item];
}

/** `BODY[section]<from.size>` from behind its bracket. */
function bodyItem(cursor: Cursor, isPeek: boolean): [string, Item] {
  const numbers = (take(cursor, /[1-9]\d{0,4}(?:\.[1-9]\d{0,4})*/y)?.[0] ?? "").split(".").filter(Boolean).map(Number);
  if (numbers.length > 0 && peek(cursor) !== "]") expect(cursor, ".");
  const kind = take(cursor, /HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME/iy)?.[0].toUpperCase() ?? "";
  if (kind === "MIME" && numbers.length === 0) throw bad("MIME is of a part");
  let fields: string[] = [];
  if (kind.startsWith("HEADER.FIELDS")) {
    space(cursor);
    fields = list(cursor, astring);
    if (fields.length === 0) throw bad("no header fields named");
  }
  expect(cursor, "]");
  const partial = take(cursor, /<(\d{1,10})\.([1-9]\d{0,9})>/y);
  if (partial === undefined && peek(cursor) === "<") throw bad("expected <from.size>");

  const fieldList = fields.length === 0 ? "" : ` (${fields.map((field) => (/^[!-'+-[\]-~]+$/.test(field) ? field : string(field))).join(" ")})`;
  const name = `BODY[${[...numbers, ...(kind === "" ? [] : [kind])].join(".")}${fieldList}]${partial === undefined ? "" : `<${partial[1]}>`}`;
  const write = (_: Message, part: () => Part) => {
    const text = section(part(), numbers, kind, fields);
    const from = Number(partial?.[1] ?? 0);
    const cut = partial === undefined || text === undefined ? text : text.slice(from, from + Number(partial[2]));
    return `${name} ${cut === undefined ? nstring(undefined) : literal(cut)}`;
  };
  return [`${name}${partial?.[2] ?? ""}`, { setsSeen: !isPeek, write }];
}

/** The bytes that a section names, undefined where the message has no such part. */
function section(message: Part, numbers: readonly number[], kind: string, fields: readonly string[]): string | undefined {
  const part = findPart(message, numbers);
  if (part === undefined) return undefined;
  const isWhole = numbers.length === 0;
  if (kind === "") return isWhole ? part.source : bodyOf(part);
  if (kind === "MIME") return headerOf(part);
  // HEADER and TEXT of a numbered part are those of the message inside it.
  const inner = isWhole ? part : part.message;
  if (inner === undefined) return undefined;
  if (kind === "TEXT") return bodyOf(inner);
  if (kind === "HEADER") return headerOf(inner);
  const named = new Set(fields.map((field) => field.toLowerCase()));
  const isNot = kind === "HEADER.FIELDS.NOT";
  const lines = inner.headers.filter((header) => named.has(header.name) !== isNot).map((header) => inner.source.slice(header.start, header.end));
  return `${lines.join("")}\r\n`;
}

function changedSinceModifier(cursor: Cursor): number {
  expect(cursor, "(");
  if (atom(cursor).toUpperCase() !== "CHANGEDSINCE") throw bad("the only modifier is CHANGEDSINCE");
  space(cursor);
  const value = number(cursor);
  expect(cursor, ")");
  return value;
}
