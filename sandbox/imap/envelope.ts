import { nstring } from "./encode.ts";
import { type Header, headerValue } from "./headers.ts";

/** Name and parts as they stand in the source. In a group's start only `mailbox` is set, in its end nothing (RFC 9051 §7.5.2). */
export interface EnvelopeAddress {
  readonly name?: string | undefined;
  readonly mailbox?: string | undefined;
  readonly host?: string | undefined;
}

/** ENVELOPE: what a list of messages shows. */
export function envelope(headers: readonly Header[]): string {
  const from = addressList(headers, "from");
  const withDefault = (name: string) => {
    const own = addressList(headers, name);
    return own === "NIL" ? from : own;
  };
  return `(${[
    nstring(headerValue(headers, "date")),
    nstring(headerValue(headers, "subject")),
    from,
    withDefault("sender"),
    withDefault("reply-to"),
    addressList(headers, "to"),
    addressList(headers, "cc"),
    addressList(headers, "bcc"),
    nstring(headerValue(headers, "in-reply-to")),
    nstring(headerValue(headers, "message-id")),
  ].join(" ")})`;
}

/** An address list (RFC 5322 §3.4), forgiving: what is no address becomes one without host rather than an error. */
export function parseAddresses(text: string): EnvelopeAddress[] {
  const found: EnvelopeAddress[] = [];
  let phrase = "";
  let comment: string | undefined;
  let angle: string | undefined;
  let isInGroup = false;

  const flush = () => {
    const plain = phrase.trim().replace(/\s+/g, " ");
    if (angle !== undefined || plain !== "")
      found.push(toAddress(angle ?? plain.replaceAll(" ", ""), angle === undefined ? comment : plain || comment));
    [phrase, comment, angle] = ["", undefined, undefined];
  };

  // Bounded: a header of megabytes is not an address list.
  for (const [token] of text.slice(0, 200_000).matchAll(/"(?:[^"\\]|\\.)*"?|\((?:[^()\\]|\\.)*\)?|<[^>]*>?|[,:;]|[^",:;<(]+/g)) {
    if (token.startsWith('"')) phrase += token.replace(/^"|"$/g, "").replace(/\\(.)/g, "$1");
    else if (token.startsWith("(")) comment = token.replace(/^\(|\)$/g, "").trim() || undefined;
    else if (token.startsWith("<")) angle = token.replace(/^<|>$/g, "").trim();
    else if (token === ",") flush();
    else if (token === ":" && !isInGroup) {
      found.push({ mailbox: phrase.trim() });
      [phrase, comment, isInGroup] = ["", undefined, true];
    } else if (token === ";") {
      flush();
      if (isInGroup) found.push({});
      isInGroup = false;
    } else phrase += token;
  }
  flush();
  if (isInGroup) found.push({});
  return found;
}

function addressList(headers: readonly Header[], name: string): string {
  const values = headers.filter((header) => header.name === name).map((header) => header.value);
  const addresses = parseAddresses(values.join(", "));
  if (addresses.length === 0) return "NIL";
  return `(${addresses.map(({ name, mailbox, host }) => `(${nstring(name)} NIL ${nstring(mailbox)} ${nstring(host)})`).join("")})`;
}

function toAddress(address: string, name: string | undefined): EnvelopeAddress {
  const spec = address.replace(/^@[^:]*:/, ""); // an old source route says nothing about who
  const at = spec.lastIndexOf("@");
  return at === -1 ? { name, mailbox: spec, host: "" } : { name, mailbox: spec.slice(0, at), host: spec.slice(at + 1) };
}
