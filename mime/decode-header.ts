import { decodeCharset, isKnownCharset } from "./charset.ts";
import { decodeTransfer } from "./transfer-encoding.ts";

export interface DecodedHeader {
  readonly text: string;
  /** Bytes beyond ASCII, or the escapes of ISO-2022-JP, stood there as they were. */
  readonly isRaw: boolean;
}

/** RFC 2047 §2; the text may hold blanks, which it must not and often does. */
const encodedWord = /=\?([^?\s]{1,80})\?([bq])\?([^?]*)\?=/gi;

/**
 * A header value, one character for each byte (`readHeaderFields`), as text. Encoded words are decoded with their neighbours of the same charset, because
 * senders cut characters in two between them. Raw bytes are UTF-8 where they are valid UTF-8 (RFC 6532), else what the message's text is written in.
 */
export function decodeHeader(value: string, messageCharset: string): DecodedHeader {
  let text = "";
  let isRaw = false;
  let end = 0;
  let pending: { readonly charset: string; bytes: Buffer } | undefined;
  const flush = () => {
    if (pending !== undefined) text += decodeCharset(pending.bytes, pending.charset);
    pending = undefined;
  };
  const plain = (piece: string) => {
    if (piece === "") return;
    flush();
    isRaw ||= rawByte.test(piece);
    text += decodeRaw(piece, messageCharset);
  };
  for (const match of value.matchAll(encodedWord)) {
    const between = value.slice(end, match.index);
    // White space between two encoded words is none (RFC 2047 §6.2).
    if (pending === undefined || between.trim() !== "") plain(between);
    end = match.index + match[0].length;
    const [charset, encoding, content] = [match[1] as string, (match[2] as string).toLowerCase(), match[3] as string];
    const bytes =
      encoding === "b"
        ? decodeTransfer(Buffer.from(content, "latin1"), "base64")
        : decodeTransfer(Buffer.from(content.replaceAll("_", "=20"), "latin1"), "quoted-printable");
    if (pending !== undefined && pending.charset.toLowerCase() !== charset.toLowerCase()) flush();
    pending = pending === undefined ? { charset, bytes } : { charset, bytes: Buffer.concat([pending.bytes, bytes]) };
  }
  plain(value.slice(end));
  flush();
  return { text, isRaw };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: escapes and bytes are what is looked for
const rawByte = /[\u001b\u0080-\u00ff]/;

function decodeRaw(piece: string, messageCharset: string): string {
  if (!rawByte.test(piece)) return piece;
  const bytes = Buffer.from(piece, "latin1");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ESC begins a designator (RFC 1468)
  if (/\u001b[$(]/.test(piece)) return decodeCharset(bytes, "iso-2022-jp");
  return isUtf8(bytes) || !isKnownCharset(messageCharset) ? decodeCharset(bytes, "") : decodeCharset(bytes, messageCharset);
}

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
