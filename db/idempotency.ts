import { sql } from "kysely";
import type { Connection } from "./database.ts";

export interface IdempotencyId {
  /** Whose key it is: a customer, or an administrator's access key. */
  readonly owner: string;
  readonly key: string;
}

export interface StoredAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

export type IdempotencyState =
  /** The request is ours to serve; `claim` proves it to `keepAnswer` and `dropClaim`. */
  | { readonly state: "ours"; readonly claim: string }
  | { readonly state: "in_flight" }
  | { readonly state: "other_request" }
  /** Answered before; whether it was the same request, the answer itself has to tell. */
  | { readonly state: "answered"; readonly answer: StoredAnswer };

/** An answer is kept this long. */
const keptFor = sql`interval '24 hours'`;
/** A request that has no answer after this long was cut off; the next one with its key takes over. Longer than any handler waits. */
const abandonedAfter = sql`interval '1 minute'`;

/**
 * Takes the key for this request or says what became of the one that has it. The primary key decides between two at once. `hashes` are the
 * request under each key of the ring, the one to store first.
 */
export async function claimIdempotencyKey(db: Connection, { owner, key }: IdempotencyId, hashes: readonly Buffer[]): Promise<IdempotencyState> {
  const [hash] = hashes;
  if (hash === undefined) throw new Error("no hash of the request");
  const claimed = await sql<{ claim: string }>`
    insert into idempotency_keys as k (customer_id, key, request_hash, created_at)
    values (${owner}, ${key}, ${hash}, clock_timestamp())
    on conflict (customer_id, key) do update
      set request_hash = excluded.request_hash, status = null, response = null, created_at = excluded.created_at
      where k.created_at < now() - ${keptFor}
         or (k.status is null and k.created_at < now() - ${abandonedAfter} and k.request_hash = any(${hashes}))
    returning created_at::text as claim
  `.execute(db);
  const claim = claimed.rows[0]?.claim;
  if (claim !== undefined) return { state: "ours", claim };

  const row = await db.selectFrom("idempotency_keys").selectAll().where("customer_id", "=", owner).where("key", "=", key).executeTakeFirst();
  // Gone between the two statements: its request failed and freed the key. The caller tries again as for one in flight.
  if (row === undefined) return { state: "in_flight" };
  // The hash is for requests at work: it needs the ring's key of then, which may have left the ring while the answer was kept.
  if (row.status !== null && row.response !== null) return { state: "answered", answer: { status: row.status, ...row.response } };
  return { state: hashes.some((candidate) => candidate.equals(row.request_hash)) ? "in_flight" : "other_request" };
}

/** Keeps the answer for whoever repeats the request; false if somebody took the key over meanwhile. */
export async function keepAnswer(db: Connection, { owner, key }: IdempotencyId, claim: string, answer: StoredAnswer): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("idempotency_keys")
    .set({ status: answer.status, response: JSON.stringify({ body: answer.body, headers: answer.headers }) })
    .where("customer_id", "=", owner)
    .where("key", "=", key)
    .where("created_at", "=", sql<Date>`${claim}::timestamptz`)
    .executeTakeFirstOrThrow();
  return numUpdatedRows > 0n;
}

/** Frees the key: the request failed in a way that a repetition may mend. An answer that was kept says that its change was made, and stays. */
export async function dropClaim(db: Connection, { owner, key }: IdempotencyId, claim: string): Promise<void> {
  await db
    .deleteFrom("idempotency_keys")
    .where("customer_id", "=", owner)
    .where("key", "=", key)
    .where("status", "is", null)
    .where("created_at", "=", sql<Date>`${claim}::timestamptz`)
    .execute();
}

/** Removes what is older than an answer is kept; returns how many. Run now and then. */
export async function sweepIdempotencyKeys(db: Connection): Promise<number> {
  const result = await sql`delete from idempotency_keys where created_at < now() - ${keptFor}`.execute(db);
  return Number(result.numAffectedRows ?? 0);
}
