import { hash, randomBytes } from "node:crypto";
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
  const digest = hash("sha256", `${words.join("\0")}\0`, "buffer");
  return `${idPrefixes[kind]}_${base58(digest.subarray(0, 16))}`;
}

/** 16 bytes in 22 characters, padded so that the text sorts as the bytes do. */
export function base58(bytes: Uint8Array): string {
  // Digit by digit, the lowest first: a third of what BigInt takes, and a first sync makes two ids a message.
  const digits: number[] = [];
  for (const byte of bytes) {
    let carry = byte;
    for (let i = 0; i < digits.length; i++) {
      carry += (digits[i] ?? 0) * 256;
      digits[i] = carry % 58;
      carry = (carry / 58) | 0;
    }
    for (; carry > 0; carry = (carry / 58) | 0) digits.push(carry % 58);
  }
  let text = "";
  for (const digit of digits) text = alphabet.charAt(digit) + text;
  return text.padStart(Math.ceil((bytes.length * 8) / Math.log2(58)), "1");
}
