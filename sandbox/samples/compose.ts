import type { Attachment } from "./attachments.ts";

export interface Address {
  readonly name: string;
  readonly email: string;
}

export interface Mail {
  readonly from: Address;
  readonly to: readonly Address[];
  readonly cc?: readonly Address[];
  readonly subject: string;
  readonly at: Date;
  readonly messageId: string;
  readonly inReplyTo?: string | undefined;
  readonly references?: readonly string[];
  /** Further fields, in order, values as they go on the wire. */
  readonly headers?: readonly (readonly [string, string])[];
  readonly text: string;
  readonly html?: string | undefined;
  readonly attachments?: readonly Attachment[];
  /** An invitation, beside the text as calendars expect it. */
  readonly calendar?: string;
}

/** A body part with its headers: what multiparts are put together from. */
export interface Entity {
  readonly headers: readonly string[];
  readonly body: string;
}

/** The source of a mail (RFC 5322, MIME), with CRLF and nothing in it but ASCII. */
export function compose(mail: Mail): Buffer {
  const seed = mail.messageId.replace(/\W/g, "").slice(0, 16);
  const alternatives = [textEntity("plain", mail.text)];
  if (mail.html !== undefined) alternatives.push(htmlEntity(mail.html, mail.attachments ?? [], seed));
  if (mail.calendar !== undefined) alternatives.push(encodedEntity("text/calendar; charset=utf-8; method=REQUEST", Buffer.from(mail.calendar)));
  const body = alternatives.length === 1 ? (alternatives[0] as Entity) : multipart("alternative", `alt-${seed}`, alternatives);
  const files = (mail.attachments ?? []).filter(({ cid }) => cid === undefined);
  const content = files.length === 0 ? body : multipart("mixed", `mix-${seed}`, [body, ...files.map(attachmentEntity)]);
  return source(mail, content);
}

/** Top headers and a content that was put together elsewhere, such as a multipart/report. */
export function source(mail: Omit<Mail, "text">, content: Entity): Buffer {
  const trace = ["Return-Path", "Received"]; // servers put theirs on top
  const fields: (readonly [string, string])[] = [
    ...(mail.headers ?? []).filter(([name]) => trace.includes(name)),
    ["Date", dateField(mail.at)],
    ["From", address(mail.from)],
  ];
  if (mail.to.length > 0) fields.push(["To", mail.to.map(address).join(",\r\n ")]);
  if (mail.cc !== undefined && mail.cc.length > 0) fields.push(["Cc", mail.cc.map(address).join(",\r\n ")]);
  fields.push(["Subject", encodeText(mail.subject)], ["Message-ID", mail.messageId]);
  if (mail.inReplyTo !== undefined) fields.push(["In-Reply-To", mail.inReplyTo]);
  if (mail.references !== undefined && mail.references.length > 0) fields.push(["References", mail.references.join("\r\n ")]);
  fields.push(...(mail.headers ?? []).filter(([name]) => !trace.includes(name)), ["MIME-Version", "1.0"]);
  const lines = [...fields.map(([name, value]) => `${name}: ${value}`), ...content.headers, "", content.body];
  return Buffer.from(lines.join("\r\n"), "latin1");
}

export function multipart(subtype: string, boundary: string, parts: readonly Entity[]): Entity {
  const [type, ...parameters] = subtype.split(";");
  const written = parts.map(({ headers, body }) => `--${boundary}\r\n${headers.join("\r\n")}\r\n\r\n${body}\r\n`).join("");
  return {
    headers: [`Content-Type: multipart/${[type, ` boundary="${boundary}"`, ...parameters].join(";")}`],
    body: `${written}--${boundary}--\r\n`,
  };
}

export function textEntity(subtype: "plain" | "html", text: string): Entity {
  const wire = text.replace(/\r?\n/g, "\r\n");
  const type = `text/${subtype}; charset=utf-8`;
  const isPlain = /^[\t\r\n -~]*$/.test(wire) && wire.split("\r\n").every((line) => line.length < 998);
  if (isPlain) return { headers: [`Content-Type: ${type}`, "Content-Transfer-Encoding: 7bit"], body: wire };
  const bytes = Buffer.from(wire, "utf8");
  // Scripts that are not Latin would be three characters for each of their bytes.
  if (bytes.length > wire.length * 1.5) return encodedEntity(type, bytes);
  return { headers: [`Content-Type: ${type}`, "Content-Transfer-Encoding: quoted-printable"], body: quotedPrintable(bytes) };
}

/** RFC 2047: words of at most 75 characters that never cut a character in two. */
export function encodeText(text: string): string {
  if (/^[ -~]*$/.test(text)) return text;
  const words: string[] = [];
  let word = "";
  for (const character of text) {
    if (Buffer.byteLength(word + character) > 42) {
      words.push(word);
      word = "";
    }
    word += character;
  }
  return [...words, word].map((each) => `=?UTF-8?B?${Buffer.from(each).toString("base64")}?=`).join("\r\n ");
}

export function dateField(at: Date): string {
  return at.toUTCString().replace("GMT", "+0000");
}

function address({ name, email }: Address): string {
  if (name === "") return email;
  if (/^[A-Za-z0-9 -]+$/.test(name)) return `${name} <${email}>`;
  return /^[ -~]*$/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}" <${email}>` : `${encodeText(name)} <${email}>`;
}

function htmlEntity(html: string, attachments: readonly Attachment[], seed: string): Entity {
  const pictures = attachments.filter(({ cid }) => cid !== undefined);
  const page = textEntity("html", html);
  return pictures.length === 0 ? page : multipart("related", `rel-${seed}`, [page, ...pictures.map(attachmentEntity)]);
}

function attachmentEntity({ filename, contentType, content, cid }: Attachment): Entity {
  const isAscii = /^[ -~]*$/.test(filename);
  const name = isAscii ? `name="${filename}"` : `name="${encodeText(filename)}"`;
  const parameter = isAscii ? `filename="${filename}"` : `filename*=utf-8''${encodeURIComponent(filename)}`;
  const { headers, body } = encodedEntity(`${contentType}; ${name}`, content);
  const disposition = `Content-Disposition: ${cid === undefined ? "attachment" : "inline"}; ${parameter}`;
  return { headers: [...headers, disposition, ...(cid === undefined ? [] : [`Content-ID: <${cid}>`])], body };
}

function encodedEntity(contentType: string, content: Buffer): Entity {
  const body = content.toString("base64").replace(/.{76}/g, "$&\r\n");
  return { headers: [`Content-Type: ${contentType}`, "Content-Transfer-Encoding: base64"], body };
}

function quotedPrintable(bytes: Buffer): string {
  return bytes.toString("latin1").split("\r\n").map(quotedPrintableLine).join("\r\n");
}

/** Lines end softly after at most 75 characters, and never within an escape. */
function quotedPrintableLine(line: string): string {
  let written = "";
  let length = 0;
  for (const [index, character] of [...line].entries()) {
    const isSafe = /[ -<>-~]/.test(character) && !(character === " " && index === line.length - 1);
    const piece = isSafe ? character : `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
    if (length + piece.length > 75) {
      written += "=\r\n";
      length = 0;
    }
    written += piece;
    length += piece.length;
  }
  return written;
}
