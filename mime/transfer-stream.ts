import { decodeTransfer } from "./transfer-encoding.ts";

/**
 * Undoes a Content-Transfer-Encoding (RFC 2045 §6) piece by piece, so that a part of any size costs one piece of memory. Pieces may be cut anywhere;
 * an unknown encoding, and one that is the identity, leaves the bytes alone.
 */
export async function* decodeTransferStream(pieces: AsyncIterable<Buffer>, encoding: string): AsyncGenerator<Buffer> {
  const name = encoding.trim().toLowerCase();
  if (name === "base64") yield* decodeBase64(pieces);
  else if (name === "quoted-printable") yield* decodeQuotedPrintable(pieces);
  else yield* pieces;
}

/** Four characters are three bytes; what a piece has beyond a multiple of four waits for the next. Padding ends a run: some writers glue several together. */
async function* decodeBase64(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest = "";
  for await (const piece of pieces) {
    const runs = (rest + piece.toString("latin1").replaceAll(/[^A-Za-z0-9+/=]+/g, "")).split(/=+/);
    const last = runs.pop() ?? "";
    const whole = last.length - (last.length % 4);
    rest = last.slice(whole);
    const bytes = Buffer.concat([...runs, last.slice(0, whole)].map((run) => Buffer.from(run, "base64")));
    if (bytes.length > 0) yield bytes;
  }
  // One character alone is six bits: no byte.
  if (rest.length > 1) yield Buffer.from(rest, "base64");
}

/** A line longer than this has no right to be (RFC 2045 §6.7 allows 76 characters) and is cut where no escape is. */
const lineBytesMax = 64 * 1024;
const lineFeed = 0x0a;
const equals = 0x3d;

/** Escapes and soft breaks never reach beyond their line, so whole lines are decoded and the unfinished one waits. */
async function* decodeQuotedPrintable(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of pieces) {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const end = cutOf(bytes);
    rest = bytes.subarray(end);
    if (end > 0) yield decodeTransfer(bytes.subarray(0, end), "quoted-printable");
  }
  if (rest.length > 0) yield decodeTransfer(rest, "quoted-printable");
}

function cutOf(bytes: Buffer): number {
  const end = bytes.lastIndexOf(lineFeed) + 1;
  if (bytes.length - end <= lineBytesMax) return end;
  const lastEscape = bytes.lastIndexOf(equals);
  return lastEscape > end && lastEscape >= bytes.length - 1_000 ? lastEscape : bytes.length;
}
