import { createHash, randomBytes } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { KeyRole, KeyScope } from "../domain/access.ts";
import type { AccessKeyId, CustomerId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { base58, newId } from "./ids.ts";
import { isBehind, type Page, type PageRequest, pageInstant, toPage } from "./pages.ts";
import type { AccessKeysTable } from "./schema.ts";

export type AccessKeyRow = Selectable<AccessKeysTable>;

export interface NewAccessKey {
  /** Null for an administrator's key, which may do everything. */
  readonly customerId: CustomerId | null;
  readonly role: KeyRole;
  readonly name: string;
  readonly scopes: readonly KeyScope[];
  readonly mailboxId?: MailboxId | null;
  readonly expiresAt?: string | null;
}

/** A new access key. `key` is shown to its owner now and can never be had again: the row keeps its hash. */
export async function createAccessKey(db: Connection, wanted: NewAccessKey): Promise<{ readonly row: AccessKeyRow; readonly key: string }> {
  const key = newKey();
  const row = await db
    .insertInto("access_keys")
    .values({
      id: newId("accessKey"),
      customer_id: wanted.customerId,
      role: wanted.role,
      name: wanted.name,
      prefix: key.slice(0, 10),
      hash: hashOf(key),
      scopes: [...wanted.scopes],
      mailbox_id: wanted.mailboxId ?? null,
      expires_at: wanted.expiresAt ?? null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return { row, key };
}

/** The live key that this text is; undefined for one that is unknown, revoked or expired. Rubbish is told by its checksum, without a query. */
export async function findLiveAccessKey(db: Connection, key: string): Promise<AccessKeyRow | undefined> {
  if (!hasKeyShape(key)) return undefined;
  return db
    .selectFrom("access_keys")
    .selectAll()
    .where("hash", "=", hashOf(key))
    .where("revoked_at", "is", null)
    .where((eb) => eb.or([eb("expires_at", "is", null), eb("expires_at", ">", sql<Date>`now()`)]))
    .executeTakeFirst();
}

/** Notes that the key was used, at most once a minute, so that a busy key does not rewrite its row with every request. */
export async function touchAccessKey(db: Connection, row: Pick<AccessKeyRow, "id" | "last_used_at">, now: number): Promise<void> {
  if (row.last_used_at !== null && now - row.last_used_at.getTime() < 60_000) return;
  await db
    .updateTable("access_keys")
    .set({ last_used_at: sql<Date>`now()` })
    // Many requests at once find the row stale: one writes it, and none waits for that.
    .where("id", "in", (eb) =>
      eb
        .selectFrom("access_keys")
        .select("id")
        .where("id", "=", row.id)
        .where((or) => or.or([or("last_used_at", "is", null), or("last_used_at", "<", sql<Date>`now() - interval '1 minute'`)]))
        .forUpdate()
        .skipLocked(),
    )
    .execute();
}

/** Which of these keys are still good, noted as used: for those that hold something open, many at a time. */
export async function findLiveAmong(db: Connection, ids: readonly AccessKeyId[]): Promise<ReadonlySet<AccessKeyId>> {
  const rows = await db
    .selectFrom("access_keys")
    .select(["id", sql<boolean>`last_used_at is null or last_used_at < now() - interval '1 minute'`.as("is_stale")])
    .where("id", "in", [...ids])
    .where("revoked_at", "is", null)
    .where((eb) => eb.or([eb("expires_at", "is", null), eb("expires_at", ">", sql<Date>`now()`)]))
    .execute();
  const stale = rows.filter((row) => row.is_stale).map((row) => row.id);
  if (stale.length > 0) await db.updateTable("access_keys").set({ last_used_at: sql<Date>`now()` }).where("id", "in", stale).execute();
  return new Set(rows.map((row) => row.id));
}

/** Keys that are shown in a list: the customer's, or the administrators' own for null. */
export async function listAccessKeys(db: Connection, customerId: CustomerId | null, { limit, after }: PageRequest): Promise<Page<AccessKeyRow>> {
  let query = db
    .selectFrom("access_keys")
    .selectAll()
    .select(pageInstant("created_at").as("page_at"))
    .where("customer_id", customerId === null ? "is" : "=", customerId);
  if (after !== undefined) query = query.where(isBehind("created_at", "id", after));
  const rows = await query
    .orderBy("created_at", "desc")
    .orderBy("id")
    .limit(limit + 1)
    .execute();
  return toPage(rows, limit);
}

/** Ends the key's life at once. Undefined if there is no such key; a second call changes nothing. */
export async function revokeAccessKey(db: Connection, customerId: CustomerId | null, id: AccessKeyId): Promise<AccessKeyRow | undefined> {
  return db
    .updateTable("access_keys")
    .set((eb) => ({ revoked_at: eb.fn.coalesce("revoked_at", sql<Date>`now()`) }))
    .where("id", "=", id)
    .where("customer_id", customerId === null ? "is" : "=", customerId)
    .returningAll()
    .executeTakeFirst();
}

const keyStart = "evp_";
/** 32 bytes and 4 of checksum, in base58 of fixed width. */
const bodyLength = 44;
const checkLength = 6;

function newKey(): string {
  const body = base58(randomBytes(32));
  return `${keyStart}${body}${checksum(body)}`;
}

function hasKeyShape(key: string): boolean {
  if (!key.startsWith(keyStart) || key.length !== keyStart.length + bodyLength + checkLength) return false;
  const body = key.slice(keyStart.length, keyStart.length + bodyLength);
  return key.slice(keyStart.length + bodyLength) === checksum(body);
}

/** Not a defence: it tells a mistyped or cut key from a wrong one, and lets a secret scanner be sure. */
function checksum(body: string): string {
  return base58(createHash("sha256").update(body).digest().subarray(0, 4));
}

function hashOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
