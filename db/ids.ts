import { createHash, randomBytes } from "node:crypto";
import { type Id, type IdKind, idPrefixes } from "../domain/ids.ts";

const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/**
 * A new id: 48 bits of milliseconds and 80 random bits, so that ids made one after another lie beside each other in an index
 * (the idea of UUIDv7, RFC 9562 §5.7).
 */
export function newId<Kind extends IdKind>(kind: Kind, now: number = Date.now()): Id<Kind> {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(now, 0, 6);
  randomBytes(10).copy(bytes, 6);
  return `${idPrefixes[kind]}_${base58(bytes)}`;
}

/** The id that stands for these words: the same words give the same id, for ever. 128 bits of SHA-256. */
export function derivedId<Kind extends IdKind>(kind: Kind, ...words: readonly string[]): Id<Kind> {
  const hash = createHash("sha256");
  for (const word of words) hash.update(word).update("\0");
  return `${idPrefixes[kind]}_${base58(hash.digest().subarray(0, 16))}`;
}

/** 16 bytes in 22 characters, padded so that the text sorts as the bytes do. */
export function base58(bytes: Uint8Array): string {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  let text = "";
  while (value > 0n) {
    text = alphabet.charAt(Number(value % 58n)) + text;
    value /= 58n;
  }
  return text.padStart(Math.ceil((bytes.length * 8) / Math.log2(58)), "1");
}
