import { numberSet } from "../encode.ts";
import { bad, no } from "../failure.ts";
import { decodeCharset, decodeHeader, headerValue, quotedPrintable } from "../headers.ts";
import {
  astring,
  atom,
  type Cursor,
  date,
  end,
  expect,
  type NumberRange,
  number,
  list as parenthesised,
  peek,
  sequenceSet,
  space,
  stringBytes,
  take,
  takeIf,
} from "../parser.ts";
import { account, find, type Session, selected, untagged } from "../session.ts";
import { type Message, readSource } from "../store.ts";
import { bodyOf, type Part, parseMessage } from "../structure.ts";

/** A message as the keys see it; `part` is parsed at most once, and only for keys that look inside. */
interface Candidate {
  readonly message: Message;
  readonly sequence: number;
  readonly part: () => Part;
}

type Test = (candidate: Candidate) => boolean;

interface Query {
  readonly charset: string;
  readonly isIn: (set: readonly NumberRange[], byUid: boolean) => ReadonlySet<number>;
  usesModseq: boolean;
}

const nestingMax = 50;

export function search(session: Session, cursor: Cursor, byUid: boolean): string {
  const returns = returnOptions(cursor);
  const charset = take(cursor, / CHARSET (?=\S)/iy) === undefined ? "utf-8" : astring(cursor).toLowerCase();
  if (charset !== "utf-8" && charset !== "us-ascii") throw no("only UTF-8 and US-ASCII are known", "BADCHARSET (US-ASCII UTF-8)");
  const state = selected(session);
  const query: Query = { charset, usesModseq: false, isIn: (set, isUid) => new Set(find(state, set, isUid).map((found) => found.uid)) };
  const test = allOf(cursor, query, 0);
  end(cursor);
  if (query.usesModseq) session.isCondstore = true;

  const owner = account(session);
  const found = state.view.flatMap((uid, index) => {
    const message = state.folder.messages.get(uid);
    if (message === undefined) return [];
    let parsed: Part | undefined;
    const part = () => {
      parsed ??= parseMessage(readSource(owner, message));
      return parsed;
    };
    return test({ message, sequence: index + 1, part }) ? [{ message, number: byUid ? uid : index + 1 }] : [];
  });
  const numbers = found.map((each) => each.number);
  const modseqMax = query.usesModseq && found.length > 0 ? Math.max(...found.map(({ message }) => message.modseq)) : undefined;
  if (returns === undefined) {
    untagged(session, `SEARCH${numbers.map((each) => ` ${each}`).join("")}${modseqMax === undefined ? "" : ` (MODSEQ ${modseqMax})`}`);
  } else {
    const tag = /^\S*/.exec(cursor.text)?.[0] ?? "";
    untagged(
      session,
      `ESEARCH (TAG "${tag}")${byUid ? " UID" : ""}${extended(numbers, returns)}${modseqMax === undefined ? "" : ` MODSEQ ${modseqMax}`}`,
    );
  }
  return "SEARCH completed";
}

/** `RETURN (MIN MAX COUNT ALL)` (RFC 4731); an empty list means ALL. */
function returnOptions(cursor: Cursor): string[] | undefined {
  if (take(cursor, / RETURN (?=\()/iy) === undefined) return undefined;
  const names = parenthesised(cursor, (item) => atom(item).toUpperCase());
  if (names.some((name) => !["MIN", "MAX", "COUNT", "ALL"].includes(name))) throw bad("RETURN takes MIN, MAX, COUNT and ALL");
  return names.length === 0 ? ["ALL"] : names;
}

function extended(numbers: readonly number[], returns: readonly string[]): string {
  const [first, last] = [numbers[0], numbers.at(-1)];
  const parts = [
    returns.includes("MIN") && first !== undefined ? ` MIN ${first}` : "",
    returns.includes("MAX") && last !== undefined ? ` MAX ${last}` : "",
    returns.includes("ALL") && numbers.length > 0 ? ` ALL ${numberSet(numbers)}` : "",
    returns.includes("COUNT") ? ` COUNT ${numbers.length}` : "",
  ];
  return parts.join("");
}

/** Keys, each behind a space, up to the end or a closing bracket: all must hold. */
function allOf(cursor: Cursor, query: Query, depth: number): Test {
  const tests: Test[] = [];
  do {
    if (depth === 0 || tests.length > 0) space(cursor);
    tests.push(key(cursor, query, depth));
  } while (peek(cursor) === " ");
  return (candidate) => tests.every((test) => test(candidate));
}

const flagKeys: Readonly<Record<string, string>> = {
  ANSWERED: "\\Answered",
  DELETED: "\\Deleted",
  DRAFT: "\\Draft",
  FLAGGED: "\\Flagged",
  SEEN: "\\Seen",
};

const dayMs = 86_400_000;

function key(cursor: Cursor, query: Query, depth: number): Test {
  if (depth > nestingMax) throw bad("the search is nested too deeply");
  if (takeIf(cursor, "(")) {
    const inner = allOf(cursor, query, depth + 1);
    expect(cursor, ")");
    return inner;
  }
  if (/[\d*]/.test(peek(cursor))) {
    const chosen = query.isIn(sequenceSet(cursor), false);
    return ({ message }) => chosen.has(message.uid);
  }
  const name = atom(cursor).toUpperCase();
  const flag = Object.hasOwn(flagKeys, name) ? flagKeys[name] : undefined;
  if (flag !== undefined) return hasFlag(flag);
  const unFlag = name.startsWith("UN") && Object.hasOwn(flagKeys, name.slice(2)) ? flagKeys[name.slice(2)] : undefined;
  if (unFlag !== undefined) return not(hasFlag(unFlag));
  switch (name) {
    case "ALL":
    case "OLD":
      return () => true;
    case "RECENT":
    case "NEW":
      return () => false; // \Recent is never set, as IMAP4rev2 has it
    case "NOT":
      space(cursor);
      return not(key(cursor, query, depth + 1));
    case "OR": {
      space(cursor);
      const left = key(cursor, query, depth + 1);
      space(cursor);
      const right = key(cursor, query, depth + 1);
      return (candidate) => left(candidate) || right(candidate);
    }
    default:
      space(cursor);
      return keyWithArgument(name, cursor, query);
  }
}

function keyWithArgument(name: string, cursor: Cursor, query: Query): Test {
  switch (name) {
    case "UID": {
      const chosen = query.isIn(sequenceSet(cursor), true);
      return ({ message }) => chosen.has(message.uid);
    }
    case "KEYWORD":
      return hasFlag(atom(cursor));
    case "UNKEYWORD":
      return not(hasFlag(atom(cursor)));
    case "LARGER":
    case "SMALLER": {
      const size = number(cursor);
      return ({ message }) => (name === "LARGER" ? message.size > size : message.size < size);
    }
    case "BEFORE":
    case "ON":
    case "SINCE":
      return onDay(name, date(cursor), ({ message }) => message.receivedAt);
    case "SENTBEFORE":
    case "SENTON":
    case "SENTSINCE":
      return onDay(name.slice(4), date(cursor), ({ part }) => sentDay(headerValue(part().headers, "date") ?? ""));
    case "HEADER": {
      const field = astring(cursor).toLowerCase();
      space(cursor);
      return headerContains(field, needle(cursor, query));
    }
    case "BCC":
    case "CC":
    case "FROM":
    case "SUBJECT":
    case "TO":
      return headerContains(name.toLowerCase(), needle(cursor, query));
    case "BODY": {
      const sought = needle(cursor, query);
      return ({ part }) => textContains(part(), sought, false);
    }
    case "TEXT": {
      const sought = needle(cursor, query);
      return ({ part }) => textContains(part(), sought, true);
    }
    case "MODSEQ": {
      // An entry name such as "/flags/\\Seen" may stand before; one counter serves all flags here (RFC 7162 §3.1.5).
      if (stringBytes(cursor) !== undefined) {
        space(cursor);
        if (take(cursor, /(?:priv|shared|all) /iy) === undefined) throw bad("expected priv, shared or all");
      }
      query.usesModseq = true;
      const least = number(cursor);
      return ({ message }) => message.modseq >= least;
    }
    default:
      throw bad(`${name.slice(0, 40)} is no search key`);
  }
}

function not(test: Test): Test {
  return (candidate) => !test(candidate);
}

function hasFlag(flag: string): Test {
  const sought = flag.toLowerCase();
  return ({ message }) => message.flags.some((each) => each.toLowerCase() === sought);
}

function onDay(name: string, day: number, instant: (candidate: Candidate) => number): Test {
  if (name === "BEFORE") return (candidate) => instant(candidate) < day;
  if (name === "SINCE") return (candidate) => instant(candidate) >= day;
  return (candidate) => instant(candidate) >= day && instant(candidate) < day + dayMs;
}

/** The day as the Date field has it, without regard to its time zone. A field that is no date is no day, so no key finds it. */
function sentDay(value: string): number {
  const match = /(\d{1,2}) ([A-Za-z]{3}) (\d{4})/.exec(value);
  return match === null ? Number.NaN : Date.parse(`${match[1]} ${match[2]} ${match[3]} 00:00:00 GMT`);
}

function needle(cursor: Cursor, query: Query): string {
  const text = astring(cursor);
  if (query.charset === "us-ascii" && /[\u0080-\uffff]/.test(text)) throw bad("the text is not US-ASCII");
  return fold(text);
}

const fold = (text: string) => text.normalize("NFC").toLowerCase();

function headerContains(name: string, sought: string): Test {
  return ({ part }) => part().headers.some((header) => header.name === name && fold(decodeHeader(header.value)).includes(sought));
}

/** Looks into every text part, decoded, and with `withHeaders` into every header as well. */
function textContains(part: Part, sought: string, withHeaders: boolean): boolean {
  if (withHeaders && part.headers.some((header) => fold(`${header.name}: ${decodeHeader(header.value)}`).includes(sought))) return true;
  if (part.message !== undefined) return textContains(part.message, sought, true);
  if (part.children.length > 0) return part.children.some((child) => textContains(child, sought, withHeaders));
  return part.type === "text" && fold(decodedText(part)).includes(sought);
}

function decodedText(part: Part): string {
  const encoding = headerValue(part.headers, "content-transfer-encoding")?.toLowerCase();
  const body = bodyOf(part);
  const bytes =
    encoding === "base64" ? Buffer.from(body, "base64") : encoding === "quoted-printable" ? quotedPrintable(body) : Buffer.from(body, "latin1");
  const charset = part.parameters.find(([name]) => name === "charset")?.[1] ?? "utf-8";
  return decodeCharset(bytes, charset) ?? bytes.toString("utf8");
}
