import { forwardSeparator, labelOf, mayEndAttribution, opening, originalSeparator, programSignature, wrote, wroteAtEnd } from "./reply-phrases.ts";

/** What a person wrote, told apart from what the mail program put around it. */
export interface ReplyText {
  readonly reply: string;
  /** The line or block that says whose words follow; null where nothing was quoted that way. */
  readonly quotedFrom: string | null;
  readonly signature: string | null;
  /** What the end of the reply rests on. */
  readonly source: ReplySource;
}

export type ReplySource = "attribution" | "header_block" | "separator" | "quote_marks" | "signature" | "whole_text";

/** A line that html-to-reply puts where mark-up says that a quoted message begins: from here on, nothing is the writer's. */
export const cutMark = "\u001eCUT\u001e";

/** Nobody answers at greater length; what stands behind it is quoted, or no answer. */
const lengthMax = 512 * 1024;
const linesMax = 20_000;
/** A line that a program wrote is short; longer ones are never looked at for anything but their quote mark. */
const programLineMax = 500;
/** Header lines wrap at 76 characters, and long names and addresses take three or four lines. */
const attributionLinesMax = 5;
/** Ten labels, each wrapped over a few lines. */
const blockLinesMax = 40;
/** A signature below a line of underscores may be long (legal notices), but a letter in two chapters is longer. */
const underscoredLinesMax = 30;

/**
 * The reply in a text: without what it quotes, and without its signature. Words that answer between quotes are kept, with the quotes that they answer;
 * a name under a greeting belongs to the letter.
 */
export function extractReply(text: string): ReplyText {
  const lines = linesOf(text);
  const start = findQuotation(lines);
  const body = start === undefined ? withoutTrailingQuotes(lines) : withoutQuotation(lines, start);
  const { kept, signature } = withoutSignature(body);
  const reply = tidy(kept);
  const source =
    start !== undefined ? start.source : body.length < trimEnd(lines).length ? "quote_marks" : signature !== null ? "signature" : "whole_text";
  const quotedFrom = start === undefined ? null : tidy(lines.slice(start.first, start.last + 1)) || null;
  // Whoever forwards without a word forwards: the forwarded message is what they say.
  if (reply === "" && start?.isForward === true) return { reply: tidy(lines), quotedFrom: null, signature: null, source: "whole_text" };
  return { reply, quotedFrom: start?.source === "separator" ? null : quotedFrom, signature, source };
}

function linesOf(text: string): readonly string[] {
  return text
    .slice(0, lengthMax)
    .replace(/\r\n?/g, "\n")
    .replace(/[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "")
    .replace(/[\u00a0\u202f\u3000]/g, " ")
    .split("\n", linesMax);
}

/** The lines that say that a quoted message begins, and what they rest on. */
interface Quotation {
  readonly first: number;
  readonly last: number;
  readonly source: Exclude<ReplySource, "quote_marks" | "signature" | "whole_text">;
  readonly isForward: boolean;
}

function findQuotation(lines: readonly string[]): Quotation | undefined {
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] as string;
    if (line === cutMark) return { first: index, last: index, source: "separator", isForward: false };
    if (line.length > programLineMax || isBlank(line) || isQuoted(line)) continue;
    if (forwardSeparator.test(line)) return { first: index, last: index, source: "separator", isForward: true };
    if (originalSeparator.test(line)) return { first: index, last: index, source: "separator", isForward: false };
    const block = headerBlockAt(lines, index);
    if (block !== undefined) return block;
    const attribution = attributionAt(lines, index);
    if (attribution !== undefined) return attribution;
  }
  return undefined;
}

/** `From: … Sent: … To: …`: at least two different labels, beginning with this line, wrapped lines between them. */
function headerBlockAt(lines: readonly string[], index: number): Quotation | undefined {
  const first = labelOf(lines[index] as string);
  if (first === undefined) return undefined;
  const kinds = new Set([first]);
  let last = index;
  let count = 1;
  for (let at = index + 1; at < lines.length && at <= Math.min(last + 3, index + blockLinesMax); at += 1) {
    const line = lines[at] as string;
    // Some programs put an empty line between two labels, none puts two.
    if (isBlank(line) && isBlank(lines[at + 1] ?? "")) break;
    const label = labelOf(line);
    if (label === undefined) continue;
    kinds.add(label);
    count += 1;
    last = at;
  }
  const isBlock = kinds.size >= 2 && (kinds.has("from") || kinds.has("sent")) && (kinds.has("from") || kinds.has("to")) && count >= 2;
  return isBlock ? { first: index, last, source: "header_block", isForward: false } : undefined;
}

/** `On …, Ann <ann@x> wrote:`, wrapped over a few lines, beginning with this one. */
function attributionAt(lines: readonly string[], index: number): Quotation | undefined {
  const begin = (lines[index] as string).trim();
  const isParagraph = index === 0 || isBlank(lines[index - 1] as string);
  const isDashed = /^[-–—]{2}/.test(begin) && /[-–—]{2}$/.test(begin);
  if (isDashed) return wrote.test(begin) ? { first: index, last: index, source: "attribution", isForward: false } : undefined;
  let length = -1;
  for (let last = index; last < lines.length && last < index + attributionLinesMax; last += 1) {
    const line = (lines[last] as string).trim();
    if (line === "") return undefined;
    // A quoted `> wrote:` of an address that was wrapped at its bracket belongs to the line above.
    if (last > index && isQuoted(line) && !/^>.{0,40}[:：]$/.test(line)) return undefined;
    length += line.length + 1;
    if (length > programLineMax) return undefined;
    // Every line of a letter is looked at: they are joined where one may be the end.
    if (!mayEndAttribution(line)) continue;
    const joined = lines
      .slice(index, last + 1)
      .map((one) => one.trim())
      .join(" ");
    if (isAttribution(joined, begin, isParagraph, isBlank(lines[last + 1] ?? "") || isQuoted(lines[last + 1] ?? ""))) {
      // The last line of the letter stands right above the attribution: a later line begins it.
      const isLater = lines
        .slice(index + 1, last + 1)
        .some((later, at) => beginsAttribution(later.trim(), begin) && attributionAt(lines, index + 1 + at) !== undefined);
      return isLater ? undefined : { first: index, last, source: "attribution", isForward: false };
    }
  }
  return undefined;
}

const address = /[^\s<>()[\]"',;:]+@[^\s<>()[\]"',;:]+/u;
/** A day in figures, a year, or a time. */
const dateOrTime =
  /\d{1,4}[./-]\d{1,2}[./-]\d{2,4}|(?<!\d)(?:19|20)\d{2}(?!\d)|(?<!\d)\d{1,2}[:.h]\d{2}(?!\d)|\d{1,2}\s*[日月]|\b\d{1,2}\.?\s+\p{L}{3,}/u;
/** A date at the very beginning, as in `26.06.2014, 14:41, "Ann" <ann@x>:`. */
const datedBegin = /^(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}\.?\s+\p{L}{3,}\.?\s+\d{4}|(?:19|20)\d{2}\s?[年.])/u;

function beginsAttribution(line: string, begin: string): boolean {
  const isOpened = opening.test(begin) || datedBegin.test(begin);
  return isOpened ? opening.test(line) && !/^\p{Ll}/u.test(line) && dateOrTime.test(line) : opening.test(line) || datedBegin.test(line);
}

function isAttribution(joined: string, begin: string, isParagraph: boolean, isFollowedByGap: boolean): boolean {
  const endsInColon = /[:：]\s*>?$/.test(joined);
  const hasAddress = address.test(joined);
  const hasDate = dateOrTime.test(joined);
  const hasWrote = wrote.test(joined);
  const opens = opening.test(begin) || datedBegin.test(begin);
  if (endsInColon && hasWrote) {
    if (opens && (hasDate || hasAddress)) return true;
    // `Ann <ann@x> wrote:`, `Max <max@x> schrieb am …:`
    if (isParagraph && (hasAddress || hasDate) && (wroteAtEnd.test(joined) || hasAddress)) return true;
    return isParagraph && isFollowedByGap && wroteAtEnd.test(joined) && joined.length <= 80 && joined.split(/\s+/).length <= 6;
  }
  if (endsInColon && hasAddress && hasDate) return opens;
  // Some programs forget the colon.
  return opens && hasDate && hasAddress && wroteAtEnd.test(joined) && isFollowedByGap;
}

/**
 * Everything but the quoted message. Where lines are marked with `>`, the quotation ends with them and what follows is the writer's again; where they are
 * not, nobody can tell, and it reaches to the end.
 */
function withoutQuotation(lines: readonly string[], { first, last, source }: Quotation): readonly string[] {
  const above = withoutRule(lines.slice(0, first));
  const below = lines.slice(last + 1);
  const next = below.findIndex((line) => !isBlank(line));
  if (source !== "attribution" || next < 0 || !isQuoted(below[next] as string)) return above;
  const end = quoteEnd(below, next);
  const rest = trimEnd(withoutTrailingQuotes(withoutSignature(below.slice(end)).kept));
  if (rest.every(isBlank)) return above;
  // Answers between quotes make no sense without them.
  const isInterleaved = below
    .slice(end)
    .some((line, at, all) => isQuoted(line) && all.slice(0, at).some((other) => !isBlank(other) && !isQuoted(other)));
  if (isInterleaved) return [...above, ...below.slice(next, end), ...rest];
  const nested = findQuotation(rest);
  return [...above, "", ...(nested === undefined ? rest : withoutQuotation(rest, nested))];
}

/** The first line behind the quoted lines that begin at `start`: blank lines and wrapped ends of quoted lines belong to them. */
function quoteEnd(lines: readonly string[], start: number): number {
  let end = start + 1;
  for (let index = start + 1; index < lines.length; index += 1) {
    const line = lines[index] as string;
    if (isQuoted(line)) end = index + 1;
    else if (!isBlank(line) && !isWrapped(lines, index)) break;
  }
  return end;
}

/** An unmarked line right between two marked ones that some program broke off the first. */
function isWrapped(lines: readonly string[], index: number): boolean {
  const before = lines[index - 1] ?? "";
  const after = lines[index + 1] ?? "";
  if (!isQuoted(before) || !isQuoted(after)) return false;
  const line = (lines[index] as string).trim();
  return before.length >= 60 || !/\s/.test(line);
}

/** Without quoted lines at the end; those above somebody's words stay. */
function withoutTrailingQuotes(lines: readonly string[]): readonly string[] {
  let end = lines.length;
  let quoted = 0;
  for (let index = lines.length - 1; index >= 0; index -= 1) {
    const line = lines[index] as string;
    if (isQuoted(line)) {
      quoted += 1;
      end = index;
    } else if (!isBlank(line) && !isWrapped(lines, index)) break;
  }
  return quoted === 0 || lines.slice(0, end).every(isBlank) ? lines : lines.slice(0, end);
}

/** `>`, also behind the initials that some programs put before it; but no `>>> buy now <<<`. */
function isQuoted(line: string): boolean {
  return /^\s{0,3}(?:\p{Lu}{1,3})?[>＞»]/u.test(line) && !(line.startsWith(">>>") && line.trimEnd().endsWith("<<<"));
}

function withoutSignature(lines: readonly string[]): { readonly kept: readonly string[]; readonly signature: string | null } {
  const firstWords = lines.findIndex((line) => !isBlank(line));
  const index = lines.findIndex((line, at) => at >= firstWords && isSignature(line, at > firstWords, lines.length - at));
  if (index < 0) return { kept: lines, signature: null };
  const signature = tidy(lines.slice(index).filter((line) => !isRule(line)));
  return { kept: lines.slice(0, index), signature: signature === "" ? null : signature };
}

function isSignature(line: string, hasWordsAbove: boolean, linesLeft: number): boolean {
  if (line.length > 200) return false;
  if (/^\s?(?:--|—|–)\s*$/.test(line)) return hasWordsAbove;
  if (/^\s*_{2,}\s*$/.test(line)) return linesLeft <= underscoredLinesMax;
  return programSignature.test(line.trim());
}

/** Without the line of dashes or underscores that stands above a header block. */
function withoutRule(lines: readonly string[]): readonly string[] {
  const kept = trimEnd(lines);
  const last = kept.at(-1);
  return last !== undefined && isRule(last) ? withoutRule(kept.slice(0, -1)) : kept;
}

function isRule(line: string): boolean {
  if (line.length > programLineMax) return false;
  return /^[\s>]*[-–—_=*~#.•]{3,}\s*$/.test(line) || originalSeparator.test(line) || /^\s?--\s*$/.test(line) || /^\s*__+\s*$/.test(line);
}

function isBlank(line: string): boolean {
  return line.trim() === "";
}

function trimEnd(lines: readonly string[]): readonly string[] {
  return lines.slice(0, lines.findLastIndex((line) => !isBlank(line)) + 1);
}

/** Lines as a text: no blanks at their ends, no two empty lines in a row. */
function tidy(lines: readonly string[]): string {
  return lines
    .filter((line) => line !== cutMark)
    .map((line) => line.trimEnd())
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .replace(/^\n+|\s+$/g, "");
}
