import { createHash, createHmac } from "node:crypto";
import type { Connection } from "../db/database.ts";
import { claimIdempotencyKey, dropClaim, type IdempotencyId, keepAnswer, type StoredAnswer } from "../db/idempotency.ts";
import { type KeyRing, type Sealed, seal, unseal } from "../db/secrets.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError, invalid, toProblemAnswer } from "./errors.ts";

export interface IdempotentRequest extends IdempotencyId {
  /** What makes two requests the same: method, path, query, what the access key may (an answer may hold a key that can do as much), and the body. */
  readonly fingerprint: readonly unknown[];
  readonly requestId: string;
}

export const idempotencyKeyPattern = /^[\x21-\x7e]{1,255}$/;

/** The header's value if it is one we take; undefined if there is none. */
export function readIdempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (idempotencyKeyPattern.test(header)) return header;
  throw invalid({ in: "header", pointer: "#/Idempotency-Key", detail: "1 to 255 visible ASCII characters" });
}

/** Keeps what a request is going to be answered in the transaction that makes its change. */
export type KeepAnswer = (trx: Connection, answer: StoredAnswer) => Promise<void>;

/**
 * Serves a request once per key: a repetition gets the first answer again. Answers that a repetition may mend (5xx, 429) are not kept.
 * Answers are sealed where they lie, for some hold an access key or a signing secret that is shown only once. A change whose answer is kept with it
 * is not made again when this process dies right after, nor when its commit was done and the news of that got lost.
 */
export async function answerOnce(
  deps: ApiDeps,
  request: IdempotentRequest,
  serve: (keep: KeepAnswer) => Promise<StoredAnswer>,
): Promise<StoredAnswer> {
  const { db, config } = deps;
  const found = await claimIdempotencyKey(db, request, fingerprints(config.keyRing, request.fingerprint));
  if (found.state === "in_flight") throw new ApiError("idempotency_in_flight", { headers: { "Retry-After": "1" } });
  if (found.state === "other_request") throw new ApiError("idempotency_mismatch");
  if (found.state === "answered") {
    const kept = unseal(config.keyRing, sealContext(request), found.answer.body as Sealed) as KeptAnswer;
    if (kept.digest !== digestOf(request.fingerprint)) throw new ApiError("idempotency_mismatch");
    return { ...found.answer, body: kept.body, headers: { ...found.answer.headers, "Idempotency-Replayed": "true" } };
  }
  const sealed = (answer: StoredAnswer) => ({ ...answer, body: seal(config.keyRing, sealContext(request), toKept(request, answer)) });
  const keep: KeepAnswer = async (trx, answer) => {
    // Whoever took over makes the change: this one must not be made as well.
    if (!(await keepAnswer(trx, request, found.claim, sealed(answer))))
      throw new ApiError("idempotency_in_flight", { headers: { "Retry-After": "1" } });
  };
  const answer = await serveOrDrop(deps, request, found.claim, () => serve(keep));
  if (answer.status >= 500 || answer.status === 429) await dropClaim(db, request, found.claim);
  else await keepAnswer(db, request, found.claim, sealed(answer));
  return answer;
}

/** What is sealed: the answer's body, and what it was the answer to. */
interface KeptAnswer {
  readonly body?: unknown;
  readonly digest: string;
}

function toKept(request: IdempotentRequest, { body }: StoredAnswer): KeptAnswer {
  return { body, digest: digestOf(request.fingerprint) };
}

/** Not keyed, and so only ever stored sealed. */
function digestOf(parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}

async function serveOrDrop(deps: ApiDeps, request: IdempotentRequest, claim: string, serve: () => Promise<StoredAnswer>): Promise<StoredAnswer> {
  try {
    return await serve();
  } catch (thrown) {
    const { status, headers, body } = toProblemAnswer(thrown, request.requestId);
    if (status < 500 && status !== 429) return { status, body, headers: { ...headers, "Content-Type": "application/problem+json" } };
    await dropClaim(deps.db, request, claim).catch((error: unknown) => deps.log.warn({ err: error }, "an idempotency key could not be freed"));
    throw thrown;
  }
}

/** Keyed, because a body may hold a password, and a bare hash of it could be guessed at by whoever gets hold of the table. */
function fingerprints(ring: KeyRing, parts: readonly unknown[]): readonly Buffer[] {
  const text = JSON.stringify(parts);
  return ring.map(({ bytes }) => createHmac("sha256", bytes).update("idempotency\0").update(text).digest());
}

function sealContext({ owner, key }: IdempotencyId): string {
  return `idempotency/${owner}/${key}`;
}
