import { createCipheriv, createDecipheriv } from "node:crypto";
import type { BlobRange } from "./store.ts";

/**
 * Content at rest, in a form that can be read from the middle: chunks of 64 KiB, each AES-256-GCM under the blob's own key. A chunk's nonce is its number
 * and whether it is the last, and the blob's name is authenticated with each, so that chunks cannot be left out, reordered, cut off or taken from
 * another blob unseen (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, as age uses it). A key seals one blob, once.
 */
const chunkBytes = 64 * 1024;
const tagBytes = 16;

export async function* sealStream(plain: AsyncIterable<Buffer>, key: Buffer, name: string): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let length = 0;
  let number = 0;
  for await (const piece of plain) {
    rest.push(piece);
    length += piece.length;
    if (length <= chunkBytes) continue;
    let bytes = Buffer.concat(rest);
    const sealed: Buffer[] = [];
    // The last chunk is known by its end: as long as nothing follows, a full one waits.
    while (bytes.length > chunkBytes) {
      sealed.push(sealChunk(bytes.subarray(0, chunkBytes), key, name, number, false));
      bytes = bytes.subarray(chunkBytes);
      number += 1;
    }
    rest = [bytes];
    length = bytes.length;
    yield Buffer.concat(sealed);
  }
  yield sealChunk(Buffer.concat(rest), key, name, number, true);
}

/** The same of a content that is there as a whole. */
export function sealBytes(plain: Buffer, key: Buffer, name: string): Buffer {
  const last = chunkCount(plain.length) - 1;
  if (last === 0) return sealChunk(plain, key, name, 0, true);
  const chunks = Array.from({ length: last + 1 }, (_, number) => {
    return sealChunk(plain.subarray(number * chunkBytes, (number + 1) * chunkBytes), key, name, number, number === last);
  });
  return Buffer.concat(chunks);
}

/** What to read of a sealed blob for a range of its content, and what to drop of the first chunk. */
export interface SealedRange {
  readonly sealed: BlobRange;
  readonly firstChunk: number;
  readonly skipBytes: number;
  readonly lengthBytes: number;
}

export function sealedRange(sizeBytes: number, range: BlobRange = { first: 0, last: sizeBytes - 1 }): SealedRange {
  const firstChunk = Math.floor(Math.max(0, range.first) / chunkBytes);
  const lastChunk = Math.floor(Math.max(0, range.last) / chunkBytes);
  const stride = chunkBytes + tagBytes;
  return {
    sealed: { first: firstChunk * stride, last: Math.min((lastChunk + 1) * stride, sealedSize(sizeBytes)) - 1 },
    firstChunk,
    skipBytes: range.first - firstChunk * chunkBytes,
    lengthBytes: range.last - range.first + 1,
  };
}

/** A content of no bytes is one chunk of none. */
export function sealedSize(sizeBytes: number): number {
  return sizeBytes + chunkCount(sizeBytes) * tagBytes;
}

function chunkCount(sizeBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / chunkBytes));
}

/** Opens what `sealedRange` said to read. Throws where a byte is not the one that was sealed. */
export async function* openSealed(
  sealed: AsyncIterable<Buffer>,
  { key, name, sizeBytes }: { readonly key: Buffer; readonly name: string; readonly sizeBytes: number },
  { firstChunk, skipBytes, lengthBytes }: SealedRange,
): AsyncGenerator<Buffer> {
  const last = chunkCount(sizeBytes) - 1;
  let number = firstChunk;
  let skip = skipBytes;
  let wanted = lengthBytes;
  for await (const chunk of inChunks(sealed)) {
    const plain = openChunk(chunk, key, name, number, number === last).subarray(skip);
    number += 1;
    skip = 0;
    const piece = plain.subarray(0, wanted);
    wanted -= piece.length;
    if (piece.length > 0) yield piece;
  }
  if (wanted > 0) throw new Error(`the blob ${name} ends too early`);
}

async function* inChunks(sealed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const stride = chunkBytes + tagBytes;
  let rest: Buffer[] = [];
  let length = 0;
  for await (const piece of sealed) {
    rest.push(piece);
    length += piece.length;
    if (length < stride) continue;
    let bytes = Buffer.concat(rest);
    while (bytes.length >= stride) {
      yield bytes.subarray(0, stride);
      bytes = bytes.subarray(stride);
    }
    rest = [bytes];
    length = bytes.length;
  }
  if (length > 0) yield Buffer.concat(rest);
}

function sealChunk(plain: Buffer, key: Buffer, name: string, number: number, isLast: boolean): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, nonceOf(number, isLast)).setAAD(Buffer.from(name));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

function openChunk(sealed: Buffer, key: Buffer, name: string, number: number, isLast: boolean): Buffer {
  const end = sealed.length - tagBytes;
  if (end < 0) throw new Error(`the blob ${name} ends within a chunk`);
  const decipher = createDecipheriv("aes-256-gcm", key, nonceOf(number, isLast), { authTagLength: tagBytes })
    .setAAD(Buffer.from(name))
    .setAuthTag(sealed.subarray(end));
  return Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()]);
}

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}
