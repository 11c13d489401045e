/** One header field by its place in the source; `value` is unfolded, each fold one space, and trimmed, encoded words stand as they came. */
export interface Header {
  readonly name: string;
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

/** Reads fields up to the empty line. A line that is none is passed over, so that one bad line does not hide the rest. */
export function readHeaders(source: string, start: number, end: number): { headers: Header[]; bodyStart: number } {
  const headers: Header[] = [];
  let at = start;
  while (at < end) {
    let lineEnd = lineAfter(source, at, end);
    if (isEmptyLine(source, at, lineEnd)) return { headers, bodyStart: lineEnd };
    while (lineEnd < end && (source[lineEnd] === " " || source[lineEnd] === "\t")) lineEnd = lineAfter(source, lineEnd, end);
    const line = source.slice(at, lineEnd);
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(colon, 0)).trimEnd();
    if (name !== "" && !/[\s\p{Cc}]/u.test(name)) {
      headers.push({
        name: name.toLowerCase(),
        value: line
          .slice(colon + 1)
          .replace(/\r?\n[ \t]*/g, " ")
          .trim(),
        start: at,
        end: lineEnd,
      });
    }
    at = lineEnd;
  }
  return { headers, bodyStart: end };
}

/** The first field of that name (lower case). */
export function headerValue(headers: readonly Header[], name: string): string | undefined {
  return headers.find((header) => header.name === name)?.value;
}

/** The parameters after the first `;` of a structured field, names in lower case. */
export function* fieldsOf(value: string): Generator<readonly [string, string]> {
  const expression = /;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))/g;
  for (const [, name, quoted, plain] of value.matchAll(expression))
    yield [(name ?? "").toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? plain ?? ""];
}

/** Header text for a reader or a search: encoded words (RFC 2047) and raw UTF-8 as unicode. */
export function decodeHeader(value: string): string {
  const joined = value.replace(/(\?=)\s+(?==\?[^?]+\?[bq]\?)/gi, "$1");
  return joined.replace(
    /=\?([^?*\s]+)(?:\*[^?]*)?\?([bq])\?([^?\s]*)\?=|[\x80-\xff]+/gi,
    (all, charset?: string, encoding?: string, text?: string) => {
      if (charset === undefined || encoding === undefined || text === undefined) return Buffer.from(all, "latin1").toString("utf8");
      const bytes = encoding.toLowerCase() === "b" ? Buffer.from(text, "base64") : quotedPrintable(text.replaceAll("_", " "));
      return decodeCharset(bytes, charset) ?? all;
    },
  );
}

export function quotedPrintable(text: string): Buffer {
  const joined = text.replace(/[ \t]*=[ \t]*\r?\n/g, "");
  return Buffer.from(
    joined.replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    "latin1",
  );
}

/** Undefined for a charset that nobody knows. */
export function decodeCharset(bytes: Buffer, charset: string): string | undefined {
  try {
    return new TextDecoder(charset).decode(bytes);
  } catch {
    return undefined;
  }
}

function lineAfter(source: string, at: number, end: number): number {
  const newline = source.indexOf("\n", at);
  return newline === -1 || newline >= end ? end : newline + 1;
}

function isEmptyLine(source: string, start: number, end: number): boolean {
  const length = end - start;
  return (length === 1 && source[start] === "\n") || (length === 2 && source[start] === "\r" && source[start + 1] === "\n");
}
