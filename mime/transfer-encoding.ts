/** Undoes a Content-Transfer-Encoding (RFC 2045 §6). An unknown one, and one that is the identity, leaves the bytes alone. */
export function decodeTransfer(bytes: Buffer, encoding: string): Buffer {
  if (encoding === "base64") return Buffer.from(bytes.toString("latin1"), "base64");
  return encoding === "quoted-printable" ? decodeQuotedPrintable(bytes) : bytes;
}

const equals = 0x3d;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** RFC 2045 §6.7, forgiving: what is no escape is kept as it stands, and an escape that the end cuts is dropped. */
function decodeQuotedPrintable(bytes: Buffer): Buffer {
  const out = Buffer.allocUnsafe(bytes.length);
  let length = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index] as number;
    if (byte !== equals) {
      out[length] = byte;
      length += 1;
      continue;
    }
    const softBreak = softBreakLength(bytes, index + 1);
    if (softBreak > 0) {
      index += softBreak;
      continue;
    }
    const high = hexValue(bytes[index + 1]);
    const low = hexValue(bytes[index + 2]);
    if (high >= 0 && low >= 0) {
      out[length] = high * 16 + low;
      length += 1;
      index += 2;
    } else if (index + 2 < bytes.length) {
      out[length] = byte;
      length += 1;
    } else {
      break;
    }
  }
  return out.subarray(0, length);
}

/** How many bytes after `=` belong to a soft line break, trailing blanks included; 0 if it is none. */
function softBreakLength(bytes: Buffer, start: number): number {
  let index = start;
  while (bytes[index] === 0x20 || bytes[index] === 0x09) index += 1;
  if (bytes[index] === carriageReturn && bytes[index + 1] === lineFeed) return index + 2 - start;
  return bytes[index] === lineFeed ? index + 1 - start : 0;
}

function hexValue(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
