import { sql } from "kysely";
import type { BlobKey, CustomerId, MailboxId, MessageId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { type KeyRing, type Sealed, seal, unseal } from "./secrets.ts";

/** The part under which a message's whole source is kept. */
export const sourcePart = "";

/** A kept content with what opens it. */
export interface MessageBlob {
  readonly key: BlobKey;
  readonly messageId: MessageId;
  /** A part's number, or `sourcePart`. */
  readonly part: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: Buffer;
  readonly dataKey: Buffer;
}

/** What a sealed data key is sealed for: db/rotate-keys.ts opens it under the same name. */
export const blobKeyContext = (key: string) => `blob/${key}`;

/** How long a blob may be on its way to the store before it counts as left behind. */
const graceOfPuts = sql`now() + interval '1 day'`;

/** Notes blobs that are about to be put. Until `saveBlobs` takes them back, they are to be removed in a day: nobody else would know of them. */
export async function announceBlobs(db: Connection, keys: readonly BlobKey[]): Promise<void> {
  if (keys.length === 0) return;
  await sql`insert into blob_removals (key, due_at) select unnest(${keys}::text[]), ${graceOfPuts}`.execute(db);
}

/**
 * Makes blobs that were announced and put a message's own, in the transaction that says so of the message. A part that is kept already is replaced. Fails if
 * one was removed in the meantime: then its content is gone, and is to be put again.
 */
export async function saveBlobs(
  trx: Connection,
  ring: KeyRing,
  owner: { readonly customerId: CustomerId; readonly mailboxId: MailboxId },
  blobs: readonly MessageBlob[],
): Promise<void> {
  if (blobs.length === 0) return;
  const keys = blobs.map((blob) => blob.key);
  const taken = await sql`delete from blob_removals where key = any(${keys}::text[])`.execute(trx);
  if (taken.numAffectedRows !== BigInt(keys.length)) throw new Error("blobs were removed before they were saved");
  const rows = blobs.map(({ key, messageId, part, contentType, sizeBytes, sha256, dataKey }) => ({
    key,
    message_id: messageId,
    part,
    content_type: contentType,
    size_bytes: sizeBytes,
    sha256: sha256.toString("hex"),
    sealed_key: seal(ring, blobKeyContext(key), dataKey.toString("base64")),
  }));
  const json = JSON.stringify(rows);
  await sql`
    delete from message_blobs b using jsonb_to_recordset(${json}::jsonb) as n (message_id text, part text)
    where b.message_id = n.message_id and b.part = n.part
  `.execute(trx);
  await sql`
    insert into message_blobs (key, customer_id, mailbox_id, message_id, part, content_type, size_bytes, sha256, sealed_key)
    select n.key, ${owner.customerId}, ${owner.mailboxId}, n.message_id, n.part, n.content_type, n.size_bytes, decode(n.sha256, 'hex'), n.sealed_key
    from jsonb_to_recordset(${json}::jsonb) as n (key text, message_id text, part text, content_type text, size_bytes bigint, sha256 text,
      sealed_key jsonb)
  `.execute(trx);
}

/** The kept content of one part; undefined where none is kept. */
export async function findBlob(db: Connection, ring: KeyRing, messageId: MessageId, part: string): Promise<MessageBlob | undefined> {
  const row = await selectBlobs(db).where("message_id", "=", messageId).where("part", "=", part).executeTakeFirst();
  return row === undefined ? undefined : toBlob(ring, row);
}

/** The kept sources of these messages. */
export async function findSources(db: Connection, ring: KeyRing, messageIds: readonly MessageId[]): Promise<ReadonlyMap<MessageId, MessageBlob>> {
  if (messageIds.length === 0) return new Map();
  const rows = await selectBlobs(db).where("message_id", "in", messageIds).where("part", "=", sourcePart).execute();
  return new Map(rows.map((row) => [row.message_id, toBlob(ring, row)]));
}

function selectBlobs(db: Connection) {
  return db.selectFrom("message_blobs").select(["key", "message_id", "part", "content_type", "size_bytes", "sha256", "sealed_key"]);
}

interface BlobRow {
  readonly key: BlobKey;
  readonly message_id: MessageId;
  readonly part: string;
  readonly content_type: string;
  readonly size_bytes: number;
  readonly sha256: Buffer;
  readonly sealed_key: Sealed;
}

function toBlob(ring: KeyRing, row: BlobRow): MessageBlob {
  const dataKey = unseal(ring, blobKeyContext(row.key), row.sealed_key);
  return {
    key: row.key,
    messageId: row.message_id,
    part: row.part,
    contentType: row.content_type,
    sizeBytes: Number(row.size_bytes),
    sha256: row.sha256,
    dataKey: Buffer.from(String(dataKey), "base64"),
  };
}

/** Blobs whose time has come, a few at a time, claimed for some minutes so that two sweeps do not take the same. */
export async function claimRemovals(db: Connection, limit: number): Promise<readonly BlobKey[]> {
  const { rows } = await sql<{ key: BlobKey }>`
    update blob_removals set due_at = now() + interval '10 minutes' * least(attempts + 1, 144), attempts = attempts + 1
    where key in (select key from blob_removals where due_at <= now() order by due_at limit ${limit} for update skip locked)
    returning key
  `.execute(db);
  return rows.map((row) => row.key);
}

/** The store no longer has these. */
export async function forgetRemovals(db: Connection, keys: readonly BlobKey[]): Promise<void> {
  if (keys.length > 0) await db.deleteFrom("blob_removals").where("key", "in", keys).execute();
}
