import { nstring, string } from "./encode.ts";
import { envelope } from "./envelope.ts";
import { fieldsOf, type Header, headerValue, readHeaders } from "./headers.ts";

/** A MIME entity (RFC 2045), by its place in the source: headers from `start` to `bodyStart`, body to `end`. One character per byte. */
export interface Part {
  readonly source: string;
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
  readonly headers: readonly Header[];
  readonly type: string;
  readonly subtype: string;
  readonly parameters: readonly (readonly [string, string])[];
  /** Of a multipart; never empty there. */
  readonly children: readonly Part[];
  /** Of a message/rfc822. */
  readonly message: Part | undefined;
}

/** What is nested deeper, or comes later, is taken as text: a bomb of parts costs no more than a letter. */
const depthMax = 30;
const childrenMax = 1_000;

export function parseMessage(source: string): Part {
  return parsePart(source, 0, source.length, "text/plain", 0);
}

/** The part that a section number such as [2, 1] names (RFC 9051 §6.4.5.1). */
export function findPart(message: Part, numbers: readonly number[]): Part | undefined {
  let part: Part | undefined = message;
  let isAtMessage = true;
  for (const number of numbers) {
    if (part === undefined) return undefined;
    if (!isAtMessage && part.message !== undefined) part = part.message;
    else if (!isAtMessage && part.children.length === 0) return undefined;
    // A message that is no multipart has one part, itself.
    if (part.children.length === 0) part = number === 1 ? part : undefined;
    else part = part.children[number - 1];
    isAtMessage = false;
  }
  return part;
}

export const bodyOf = (part: Part): string => part.source.slice(part.bodyStart, part.end);
export const headerOf = (part: Part): string => part.source.slice(part.start, part.bodyStart);

/** BODYSTRUCTURE, or with `isExtended` false BODY, which leaves the extension data out. */
export function bodyStructure(part: Part, isExtended: boolean): string {
  const disposition = isExtended ? ` ${dispositionOf(part)} ${languageOf(part)} ${nstring(headerValue(part.headers, "content-location"))}` : "";
  if (part.children.length > 0) {
    const children = part.children.map((child) => bodyStructure(child, isExtended)).join("");
    return `(${children} ${string(part.subtype)}${isExtended ? ` ${parameterList(part.parameters)}${disposition}` : ""})`;
  }
  const body = bodyOf(part);
  const fields = [
    string(part.type),
    string(part.subtype),
    parameterList(part.parameters),
    nstring(headerValue(part.headers, "content-id")),
    nstring(headerValue(part.headers, "content-description")),
    string(
      headerValue(part.headers, "content-transfer-encoding")
        ?.replace(/\(.*\)|;.*$/g, "")
        .trim()
        .toLowerCase() || "7bit",
    ),
    String(body.length),
  ];
  if (part.message !== undefined) fields.push(envelope(part.message.headers), bodyStructure(part.message, isExtended));
  if (part.message !== undefined || part.type === "text") fields.push(String(countLines(body)));
  const extension = isExtended ? ` ${nstring(headerValue(part.headers, "content-md5"))}${disposition}` : "";
  return `(${fields.join(" ")}${extension})`;
}

function parsePart(source: string, start: number, end: number, defaultType: string, depth: number): Part {
  const { headers, bodyStart } = readHeaders(source, start, end);
  const contentType = headerValue(headers, "content-type") ?? defaultType;
  const match = /^([^\s/;()<>@,"]+)\s*\/\s*([^\s/;()<>@,"]+)/.exec(contentType);
  let type = (match?.[1] ?? "text").toLowerCase();
  let subtype = (match?.[2] ?? "plain").toLowerCase();
  let parameters = match === null ? [] : parametersOf(contentType);
  const isTooDeep = depth >= depthMax;
  const boundary = parameters.find(([name]) => name === "boundary")?.[1];
  if (type === "multipart" && (isTooDeep || boundary === undefined)) [type, subtype, parameters] = ["text", "plain", []];
  if (type === "message" && subtype === "rfc822" && isTooDeep) [type, subtype] = ["application", "octet-stream"];
  if (type === "text" && !parameters.some(([name]) => name === "charset")) parameters = [...parameters, ["charset", "us-ascii"]];

  const childType = subtype === "digest" ? "message/rfc822" : "text/plain";
  const ranges = type === "multipart" ? childRanges(source, bodyStart, end, boundary ?? "") : [];
  const children = ranges.map(([from, to]) => parsePart(source, from, to, childType, depth + 1));
  const message = type === "message" && subtype === "rfc822" ? parsePart(source, bodyStart, end, "text/plain", depth + 1) : undefined;
  return { source, start, bodyStart, end, headers, type, subtype, parameters, children, message };
}

/** Where the parts between the delimiter lines lie. Without any there is one, empty: the grammar has no empty multipart. */
function childRanges(source: string, start: number, end: number, boundary: string): [number, number][] {
  const delimiter = `--${boundary}`;
  const ranges: [number, number][] = [];
  let partStart: number | undefined;
  for (let at = source.indexOf(delimiter, start); at !== -1 && at < end; at = source.indexOf(delimiter, at + delimiter.length)) {
    const isAtLineStart = at === start || source[at - 1] === "\n";
    const lineEnd = Math.min(nextLine(source, at), end);
    const rest = source.slice(at + delimiter.length, Math.min(lineEnd, at + delimiter.length + 100)).trimEnd();
    if (!isAtLineStart || (rest !== "" && rest !== "--")) continue;
    if (partStart !== undefined) ranges.push([partStart, Math.max(partStart, beforeLineEnd(source, at))]);
    partStart = rest === "--" ? undefined : lineEnd;
    if (partStart === undefined || ranges.length >= childrenMax) break;
  }
  // A part that is never closed, as in a message cut short, goes to the end.
  if (partStart !== undefined && ranges.length < childrenMax) ranges.push([partStart, end]);
  return ranges.length > 0 ? ranges : [[end, end]];
}

function nextLine(source: string, at: number): number {
  const newline = source.indexOf("\n", at);
  return newline === -1 ? source.length : newline + 1;
}

function beforeLineEnd(source: string, at: number): number {
  const newline = at - 1;
  return source[newline - 1] === "\r" ? newline - 1 : newline;
}

/** `; name=value` pairs as they stand: RFC 2231 pieces are the client's to join. */
function parametersOf(value: string): (readonly [string, string])[] {
  return [...fieldsOf(value)].slice(0, 100);
}

function parameterList(parameters: readonly (readonly [string, string])[]): string {
  if (parameters.length === 0) return "NIL";
  return `(${parameters.map(([name, value]) => `${string(name)} ${string(value)}`).join(" ")})`;
}

function dispositionOf(part: Part): string {
  const value = headerValue(part.headers, "content-disposition");
  const kind = value === undefined ? null : /^[^\s;()<>@,"/]+/.exec(value);
  if (value === undefined || kind === null) return "NIL";
  return `(${string(kind[0].toLowerCase())} ${parameterList(parametersOf(value))})`;
}

function languageOf(part: Part): string {
  const languages = headerValue(part.headers, "content-language")
    ?.split(",")
    .map((language) => language.trim())
    .filter((language) => language !== "");
  if (languages === undefined || languages.length === 0) return "NIL";
  return languages.length === 1 ? string(languages[0] ?? "") : `(${languages.map(string).join(" ")})`;
}

function countLines(body: string): number {
  let lines = 0;
  for (let at = body.indexOf("\n"); at !== -1; at = body.indexOf("\n", at + 1)) lines++;
  return lines;
}
