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

/** A cut in the middle of a character is no proof against UTF-8. */
const utf8TailMax = 3;

function decodeUnknown(bytes: Uint8Array): string {
  for (let tail = 0; tail <= Math.min(utf8TailMax, bytes.length); tail += 1) {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, bytes.length - tail));
    } catch {
      // Not valid up to here: one byte less, in case the text was cut.
    }
  }
  return new TextDecoder("windows-1252").decode(bytes);
}
