import { createHmac, randomBytes } from "node:crypto";

/** A signing secret as it is kept: the newest never expires, the ones before it stay good for a while after a rotation. */
export interface SigningSecret {
  readonly secret: string;
  readonly expiresAt: string | null;
}

/** What is signed: the event's id, which is the same for each attempt, when this attempt is made, and the body as it is sent. */
export interface SignedContent {
  readonly id: string;
  readonly timestampSeconds: number;
  readonly body: string;
}

/**
 * The three headers of Standard Webhooks (https://www.standardwebhooks.com). Each secret gives one signature, separated by spaces, so that a
 * receiver verifies with whichever secret it knows while they are rotated.
 */
export function signWebhook(content: SignedContent, secrets: readonly string[]): Readonly<Record<string, string>> {
  const { id, timestampSeconds, body } = content;
  const signatures = secrets.map(
    (secret) => `v1,${createHmac("sha256", keyOf(secret)).update(`${id}.${timestampSeconds}.${body}`).digest("base64")}`,
  );
  return { "webhook-id": id, "webhook-timestamp": String(timestampSeconds), "webhook-signature": signatures.join(" ") };
}

/** A new secret, as the receiver's library takes it: `whsec_` and 32 random bytes in base64. */
export function newSigningSecret(): string {
  return `${secretPrefix}${randomBytes(32).toString("base64")}`;
}

/** The secrets after a rotation: a new one first; the ones before it end when `oldExpiresAt` comes, or earlier if they were to. At most three sign. */
export function rotateSecrets(secrets: readonly SigningSecret[], fresh: string, oldExpiresAt: Date, now: Date): readonly SigningSecret[] {
  const old = secrets
    .map(({ secret, expiresAt }) => ({ secret, expiresAt: earlier(expiresAt, oldExpiresAt) }))
    .filter(({ expiresAt }) => new Date(expiresAt) > now);
  return [{ secret: fresh, expiresAt: null }, ...old.slice(0, liveSecretsMax - 1)];
}

/** The secrets that sign now, newest first. */
export function liveSecrets(secrets: readonly SigningSecret[], now: Date): readonly string[] {
  return secrets.filter(({ expiresAt }) => expiresAt === null || new Date(expiresAt) > now).map(({ secret }) => secret);
}

const secretPrefix = "whsec_";
/** Bounds the header: somebody who rotates again and again must not make it grow. */
const liveSecretsMax = 3;

function keyOf(secret: string): Buffer {
  return Buffer.from(secret.slice(secretPrefix.length), "base64");
}

function earlier(expiresAt: string | null, other: Date): string {
  return expiresAt !== null && new Date(expiresAt) < other ? expiresAt : other.toISOString();
}
