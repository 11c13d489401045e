import iconv from "iconv-lite";

/**
 * Bytes as text by the charset that the sender named. A name that nobody knows, or none, is no reason to show nothing: UTF-8 where the bytes are valid
 * UTF-8, else windows-1252, which every byte is.
 */
export function decodeCharset(bytes: Uint8Array, charset: string): string {
  return (decoderOf(charset) ?? decodeUnknown)(bytes);
}

/** Whether the name means anything. Names that say "whatever it is" do. */
export function isKnownCharset(charset: string): boolean {
  const label = normalise(charset);
  return undeclared.has(label) || decoderOf(charset) !== undefined;
}

type Decode = (bytes: Uint8Array) => string;

/** Names seen, so that a page of messages asks for each one once; senders invent names, so no more than a few hundred are remembered. */
const known = new Map<string, Decode | undefined>();
const knownMax = 500;

function decoderOf(charset: string): Decode | undefined {
  const label = normalise(charset);
  // US-ASCII with bytes above 127 was never that; TextDecoder would call it windows-1252 unseen.
  if (undeclared.has(label)) return undefined;
  if (known.has(label)) return known.get(label);
  const decode = findDecoder(label);
  if (known.size < knownMax) known.set(label, decode);
  return decode;
}

/** Labels as they stand in mail: quoted, padded, with a language behind an asterisk (RFC 2231 §5). */
function normalise(charset: string): string {
  const label = charset
    .trim()
    .replace(/^["']+|["']+$/g, "")
    .replace(/\*.*$/, "")
    .trim()
    .toLowerCase();
  return aliases[label] ?? label;
}

const undeclared: ReadonlySet<string> = new Set(["", "us-ascii", "ascii"]);

/** Spellings met in mail that neither the WHATWG labels nor iconv-lite's know. */
const aliases: Readonly<Record<string, string>> = {
  "ansi_x3.4-1968": "us-ascii",
  "unknown-8bit": "",
  "x-unknown": "",
  unknown: "",
  default: "",
  "default-charset": "",
  binary: "",
  "8bit": "",
  "7bit": "",
  "x-user-defined": "",
  "us-ascii;": "us-ascii",
  "utf-8-mac": "utf-8",
  "utf-8;": "utf-8",
  "utf 8": "utf-8",
  utf_8: "utf-8",
  utf8mb4: "utf-8",
  "unicode-1-1-utf-7": "utf-7",
  "x-unicode-2-0-utf-7": "utf-7",
  cp1252: "windows-1252",
  "ansi-1252": "windows-1252",
  "windows-1252http-equivcontent-type": "windows-1252",
  "iso-8859-1-windows-3.1-latin-1": "windows-1252",
  "iso8859-8-i": "iso-8859-8-i",
  "ks_c_5601-1987": "euc-kr",
  ks_c_5601: "euc-kr",
  uhc: "euc-kr",
  "x-windows-949": "euc-kr",
  cp932: "shift_jis",
  ms932: "shift_jis",
  "x-sjis-jp": "shift_jis",
  "windows-932": "shift_jis",
  cp936: "gbk",
  "x-gbk-1": "gbk",
  "gb2312.1980-0": "gbk",
  "gb_2312-80": "gbk",
  gb2312_charset: "gbk",
  cp949: "euc-kr",
  cp950: "big5",
  "big5-eten": "big5",
  "iso-2022-jp-ms": "iso-2022-jp",
  "iso-2022-jp-1": "iso-2022-jp",
  "iso-2022-jp-2": "iso-2022-jp",
  "iso-2022-jp-3": "iso-2022-jp",
  cp50220: "iso-2022-jp",
  cp50221: "iso-2022-jp",
  "x-mac-roman": "macintosh",
  "mac-roman": "macintosh",
  "x-mac-cyrillic": "x-mac-cyrillic",
  "x-mac-ce": "maccenteuro",
  "x-mac-centraleurroman": "maccenteuro",
  "x-mac-greek": "macgreek",
  "x-mac-turkish": "macturkish",
  "iso-8859-12": "windows-1252",
};

function findDecoder(label: string): Decode | undefined {
  const own = ownDecoders[label];
  if (own !== undefined) return own;
  try {
    const decoder = new TextDecoder(label);
    return (bytes) => decoder.decode(bytes);
  } catch {
    // Charsets that the web gave up and mail did not: UTF-7, IBM's and Apple's code pages, ISO-8859-16, UTF-32.
    return iconv.encodingExists(label) && !notText.has(label) ? (bytes) => iconv.decode(Buffer.from(bytes), label) : undefined;
  }
}

/** What iconv-lite calls encodings and is not a charset. */
const notText: ReadonlySet<string> = new Set(["base64", "hex", "internal"]);

/** Two of them are seven-bit forms that nothing else here reads (RFC 1842, RFC 1557): shifted bytes are the same characters with the eighth bit set. */
const ownDecoders: Readonly<Record<string, Decode>> = {
  // TextDecoder's EUC-KR lacks Microsoft's 8,822 syllables (CP949), which is what Korean mail means by it.
  "euc-kr": (bytes) => iconv.decode(Buffer.from(bytes), "cp949"),
  "hz-gb-2312": decodeHz,
  "iso-2022-kr": decodeIso2022Kr,
  csiso2022kr: decodeIso2022Kr,
};

function decodeHz(bytes: Uint8Array): string {
  const tilde = 0x7e;
  const out: number[] = [];
  let isShifted = false;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] as number;
    const next = bytes[index + 1];
    if (byte === tilde && !isShifted && next === tilde) out.push(tilde);
    else if (byte === tilde && next === 0x7b) isShifted = true;
    else if (byte === tilde && next === 0x7d) isShifted = false;
    // A tilde at the end of a line joins it with the next one.
    else if (!(byte === tilde && next === 0x0a)) {
      if (byte === 0x0a) isShifted = false;
      out.push(isShifted && byte > 0x20 ? byte | 0x80 : byte);
      continue;
    }
    index += 1;
  }
  return new TextDecoder("gbk").decode(Uint8Array.from(out));
}

function decodeIso2022Kr(bytes: Uint8Array): string {
  const [shiftOut, shiftIn, designator] = [0x0e, 0x0f, 0x1b];
  const out: number[] = [];
  let isShifted = false;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] as number;
    if (byte === shiftOut) isShifted = true;
    else if (byte === shiftIn) isShifted = false;
    // The designator, ESC $ ) C.
    else if (byte === designator && bytes[index + 1] === 0x24 && bytes[index + 2] === 0x29) index += 3;
    else {
      if (byte === 0x0a) isShifted = false;
      out.push(isShifted && byte > 0x20 ? byte | 0x80 : byte);
    }
  }
  return new TextDecoder("euc-kr").decode(Uint8Array.from(out));
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
