/**
 * Bytes as text by the charset that the sender named. A name that nobody knows, or none, is no reason to show nothing: UTF-8 where the bytes are valid
 * UTF-8, else windows-1252, which every byte is.
 */
export function decodeCharset(bytes: Uint8Array, charset: string): string {
  const label = aliases[charset.toLowerCase()] ?? charset.toLowerCase();
  // US-ASCII with bytes above 127 was never that; TextDecoder would call it windows-1252 unseen.
  if (label !== "" && label !== "us-ascii" && label !== "ascii") {
    const decoder = findDecoder(label);
    if (decoder !== undefined) return decoder.decode(bytes);
  }
  return decodeUnknown(bytes);
}

/** Spellings met in mail that the WHATWG labels leave out. */
const aliases: Readonly<Record<string, string>> = {
  "ansi_x3.4-1968": "us-ascii",
  "unknown-8bit": "",
  "x-unknown": "",
  default: "",
  "utf-8-mac": "utf-8",
  utf8mb4: "utf-8",
  cp1252: "windows-1252",
  "ks_c_5601-1987": "euc-kr",
  cp932: "shift_jis",
  cp936: "gbk",
  cp949: "euc-kr",
  cp950: "big5",
  "iso-2022-jp-ms": "iso-2022-jp",
};

function findDecoder(label: string): { decode(bytes: Uint8Array): string } | undefined {
  try {
    return new TextDecoder(label);
  } catch {
    return undefined;
  }
}

function decodeUnknown(bytes: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    // The text may be cut within a character, but a single odd byte at the end of plain ASCII is no proof of UTF-8.
    if (isAscii(bytes) || /[^\p{ASCII}]/u.test(text)) return text;
  } catch {
    // Not UTF-8.
  }
  return new TextDecoder("windows-1252").decode(bytes);
}

function isAscii(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte < 0x80);
}
