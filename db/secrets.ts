import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { MailError } from "../domain/errors.ts";

export type KeyRing = readonly { readonly name: string; readonly bytes: Buffer }[];

/**
 * A secret at rest (NIST SP 800-38D, AES-256-GCM): the content under a key of its own, and that key under one of the ring's. Rotating the ring
 * rewraps 32 bytes a row and never touches the content.
 */
export interface Sealed {
  readonly v: 1;
  /** The ring's key that wraps the data key. */
  readonly key: string;
  readonly wrapped: string;
  readonly content: string;
}

/**
 * Seals JSON. `context` names the row it belongs to and is authenticated with it, so that a sealed value copied into another row does not open.
 */
export function seal(ring: KeyRing, context: string, value: unknown): Sealed {
  const [current] = ring;
  if (current === undefined) throw new Error("the key ring is empty");
  const dataKey = randomBytes(32);
  return {
    v: 1,
    key: current.name,
    wrapped: encrypt(current.bytes, context, dataKey),
    content: encrypt(dataKey, context, Buffer.from(JSON.stringify(value))),
  };
}

/** Opens what `seal` made. Throws `credentials_unreadable` if the ring lacks the key or the value was tampered with. */
export function unseal(ring: KeyRing, context: string, sealed: Sealed): unknown {
  try {
    const dataKey = decrypt(ringKey(ring, sealed.key), context, sealed.wrapped);
    return JSON.parse(decrypt(dataKey, context, sealed.content).toString());
  } catch (cause) {
    throw new MailError("credentials_unreadable", { doing: `opening what key "${sealed.key}" sealed`, cause });
  }
}

/** The same secret under the ring's first key; undefined where it is there already. */
export function reseal(ring: KeyRing, context: string, sealed: Sealed): Sealed | undefined {
  const [current] = ring;
  if (current === undefined || sealed.key === current.name) return undefined;
  const dataKey = decrypt(ringKey(ring, sealed.key), context, sealed.wrapped);
  return { ...sealed, key: current.name, wrapped: encrypt(current.bytes, context, dataKey) };
}

function ringKey(ring: KeyRing, name: string): Buffer {
  const found = ring.find((key) => key.name === name);
  if (found === undefined) throw new Error(`the key ring has no key "${name}"`);
  return found.bytes;
}

/** nonce (12) · ciphertext · tag (16), base64. */
function encrypt(key: Buffer, context: string, plain: Buffer): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString("base64");
}

function decrypt(key: Buffer, context: string, text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, 12), { authTagLength: 16 })
    .setAAD(Buffer.from(context))
    .setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
}
