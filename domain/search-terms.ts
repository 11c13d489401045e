import { type Address, normaliseAddress } from "./address.ts";
import type { CustomerId, MailboxId } from "./ids.ts";
import type { AttachmentInfo, Envelope } from "./message.ts";
import type { Trait, TraitKind } from "./traits.ts";

/** What of a message can be found by words, and the facts by which an index may narrow a search. */
export interface Searchable {
  readonly mailboxId: MailboxId;
  readonly receivedAt: string;
  readonly envelope: Pick<Envelope, "subject" | "from" | "replyTo" | "to" | "cc" | "bcc">;
  readonly attachments: readonly Pick<AttachmentInfo, "fileName" | "isInline">[];
  readonly traits: readonly Pick<Trait, "kind">[];
  readonly snippet: string | null;
  readonly text: string | null;
}

/** Letters that Unicode does not take apart although people type them without their stroke. */
const folded: Readonly<Record<string, string>> = { ß: "ss", æ: "ae", œ: "oe", ø: "o", đ: "d", ð: "d", ħ: "h", ı: "i", ł: "l", þ: "th", ŋ: "n" };

/** Longer runs are no words: base64, hashes, tracking links. They are found by their beginning. */
const wordLengthMax = 40;

/** Distinct words of one message; a newsletter has some hundreds. PostgreSQL takes a tsvector of 1 MB. */
const wordsMax = 2_000;

/** People of one message: the 10,000 recipients of a circular would each cost an index entry. */
const peopleMax = 100;

/** Scripts written without spaces: a word is any two characters that stand beside each other. */
const unspaced = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}ー]/u;
const runs = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}ー]+|[\p{L}\p{N}\p{M}]+/gu;
const plain = /[a-z0-9]+/g;
const isPlain = /^[\0-\x7f]*$/;

/**
 * The words of a text, in order, as they are compared: without case, accents and width, so that "Müller", "MULLER" and "ｍｕｌｌｅｒ" are one. Texts and
 * queries are taken apart by this one function; that they agree is what makes a word findable.
 */
export function wordsOf(text: string): readonly string[] {
  // Most mail is ASCII, and the first sync reads a lot of it.
  if (isPlain.test(text)) {
    const words = text.toLowerCase().match(plain) ?? [];
    return words.some(isLong) ? words.map(cut) : words;
  }
  const bare = text
    .normalize("NFKD")
    .toLowerCase()
    .replace(/\p{Mn}+/gu, "")
    .replace(/[ßæœøđðħıłþŋ]/gu, (letter) => folded[letter] ?? letter);
  return (bare.normalize("NFC").match(runs) ?? []).flatMap((run) => (unspaced.test(run) ? pairsOf(run) : cut(run)));
}

function isLong(word: string): boolean {
  return word.length > wordLengthMax;
}

function cut(word: string): string {
  return isLong(word) ? word.slice(0, wordLengthMax) : word;
}

function pairsOf(run: string): readonly string[] {
  const characters = [...run];
  return characters.length === 1 ? characters : characters.slice(1).map((character, i) => `${characters[i]}${character}`);
}

/** Everybody a message names, each once, in the form in which addresses are compared. */
function peopleOf(named: readonly Address[]): ReadonlySet<string> {
  const people = new Set<string>();
  for (const { address } of named) if (address !== "") people.add(normaliseAddress(address));
  return people;
}

/**
 * The message as PostgreSQL's text for a tsvector: each word with its places, so that a phrase can be told from its words, and the facts as terms that
 * no word can be. Every term begins with the customer's tag: the terms of one customer lie together in the index, and a search never reads another's.
 */
export function toTermVector(customerId: CustomerId, { mailboxId, receivedAt, envelope, attachments, traits, snippet, text }: Searchable): string {
  const tag = tagOf(customerId);
  const words = new PlacedWords();
  const named = [...envelope.from, ...envelope.replyTo, ...envelope.to, ...envelope.cc, ...envelope.bcc].slice(0, peopleMax);
  words.add(envelope.subject);
  for (const person of named) {
    // Many clients repeat the address as the name.
    if (person.name !== person.address) words.add(person.name);
    words.add(person.address);
  }
  for (const { fileName } of attachments) if (fileName !== null) words.add(fileName);
  if (snippet !== null) words.add(snippet);
  if (text !== null) words.add(text);

  // In pieces, joined once: a text has hundreds of words, and a string that grows by each of them leaves hundreds behind.
  const pieces = [`'${tag}${mailboxTerm(mailboxId)}' '${tag}${monthTerm(receivedAt)}' '${tag}${yearTerm(receivedAt)}'`];
  if (attachments.some((attachment) => !attachment.isInline)) pieces.push(` '${tag}${attachmentTerm}'`);
  for (const { kind } of traits) pieces.push(` '${tag}${traitTerm(kind)}'`);
  for (const person of peopleOf(named)) pieces.push(` '${tag}${quoted(personTerm(person))}'`);
  words.writeTo(pieces, ` '${tag}`);
  return pieces.join("");
}

/** Where each word stands, as a tsvector writes it: `3,17`. */
class PlacedWords {
  readonly places = new Map<string, string>();
  #place = 0;

  add(part: string): void {
    for (const word of wordsOf(part)) {
      this.#place++;
      const known = this.places.get(word);
      if (known !== undefined) {
        if (known.length < placesLengthMax && this.#place < placeMax) this.places.set(word, `${known},${this.#place}`);
      } else if (this.places.size < wordsMax) this.places.set(word, String(Math.min(this.#place, placeMax)));
    }
    // No phrase reaches from one part into the next.
    this.#place += 2;
  }

  writeTo(pieces: string[], before: string): void {
    let at = pieces.length;
    // All of its room at once: an array that grows is copied each time.
    pieces.length += this.places.size;
    for (const [word, places] of this.places) pieces[at++] = `${before}${word}':${places}`;
  }
}

/** The largest place that PostgreSQL knows; and as many places of one word as it keeps (256), at five digits and a comma each. */
const placeMax = 16_383;
const placesLengthMax = 255 * 6;

/** The end of an id is random; if two customers share a tag their searches only get slower, for every row is compared with its customer as well. */
export function tagOf(customerId: CustomerId): string {
  return customerId.slice(-4);
}

export function mailboxTerm(id: MailboxId): string {
  return `%${id.slice(-6)}`;
}

/** The month by which a search is cut into slices of time: `#2026-11`. */
export function monthTerm(instant: string): string {
  return `#${instant.slice(0, 7)}`;
}

/** The year, for wider slices: a dozen months would each be read to their end, a year only where the words are. */
export function yearTerm(instant: string): string {
  return `#${instant.slice(0, 4)}`;
}

export const attachmentTerm = "!file";

export function traitTerm(kind: TraitKind): string {
  return `!${kind}`;
}

export function personTerm(address: string): string {
  return `@${normaliseAddress(address).slice(0, 320)}`;
}

/** Within the quotes of a tsvector or tsquery. */
function quoted(term: string): string {
  return term.replaceAll("\\", "\\\\").replaceAll("'", "''");
}

/** A search as its words: what all of it must match, and what of that an index looks up well. */
export interface SearchQuery {
  /** PostgreSQL's text for a tsquery. */
  readonly all: string;
  /**
   * Whole words, which narrow best and are told from the index alone: a phrase would have to be read to be seen. Prefixes only where there is nothing
   * else; undefined where nothing is wanted, only unwanted.
   */
  readonly narrow: string | undefined;
}

/**
 * What somebody typed: words that must all occur, `"a phrase"`, `-unwanted`, `beg*`. An address or a compound is a phrase of its parts. Undefined if
 * nothing of it is a word.
 */
export function parseSearch(customerId: CustomerId, typed: string): SearchQuery | undefined {
  const tag = tagOf(customerId);
  const wanted: string[] = [];
  const whole: string[] = [];
  const begun: string[] = [];
  const unwanted: string[] = [];
  for (const [, minus, phrase, bare] of typed.matchAll(/(-?)(?:"([^"]*)"?|([^\s"]+))/g)) {
    const words = wordsOf(phrase ?? bare ?? "");
    if (words.length === 0) continue;
    const isBegun = (bare?.endsWith("*") ?? false) || (words.length === 1 && isSingle(words[0] ?? ""));
    const terms = words.map((word, i) => `'${tag}${word}'${isBegun && i === words.length - 1 ? ":*" : ""}`);
    const term = terms.length === 1 ? (terms[0] ?? "") : `(${terms.join(" <-> ")})`;
    if (minus !== "") {
      unwanted.push(`!${term}`);
      continue;
    }
    wanted.push(term);
    whole.push(...(isBegun ? terms.slice(0, -1) : terms));
    if (isBegun) begun.push(terms.at(-1) ?? "");
  }
  if (wanted.length + unwanted.length === 0) return undefined;
  const narrow = whole.length > 0 ? whole : begun;
  return { all: [...wanted, ...unwanted].join(" & "), narrow: narrow.length > 0 ? narrow.join(" & ") : undefined };
}

/** One character of a script without spaces is part of pairs, as their beginning. */
function isSingle(word: string): boolean {
  return [...word].length === 1 && unspaced.test(word);
}

/** These facts as a tsquery: for an index to narrow a search by. */
export function factsQuery(customerId: CustomerId, facts: readonly string[]): string {
  return facts.map((fact) => `'${tagOf(customerId)}${quoted(fact)}'`).join(" & ");
}
