import { sql } from "kysely";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { SyncCursor } from "../domain/sync.ts";
import type { Connection, Database } from "./database.ts";

/** The channel on which shards hear that their mailboxes changed; the payload is the shard's number. */
export const shardChannel = "everpost_idle_shard";

export interface WatchedMailbox {
  readonly id: MailboxId;
  readonly customerId: CustomerId;
  /** Changes with settings and credentials: a watch opened with another value is opened anew. */
  readonly fingerprint: string;
  /** Folders besides the inbox that are listened to on connections of their own. */
  readonly idlePaths: readonly string[];
}

export interface AssignedShard {
  readonly shard: number;
  /** Somebody ran it a moment ago, and it was not empty without this mailbox: it hears of the assignment, and need not be started. */
  readonly isAlive: boolean;
}

/**
 * Gives the mailbox a place in a shard, the lowest one with room, and tells the shard. Keeps the place it has. A lock keeps two assignments from
 * taking the same last place.
 */
export async function assignShard(db: Database, id: MailboxId, capacity: number): Promise<AssignedShard> {
  return db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(hashtext(${shardChannel}))`.execute(trx);
    const { rows } = await sql<{ shard: number }>`
      update mailboxes set idle_shard = coalesce(idle_shard, (
        select min(s) from generate_series(0, (select coalesce(max(idle_shard), -1) + 1 from mailboxes)) as s
        where (select count(*) from mailboxes o where o.idle_shard = s) < ${capacity}
      ))
      where id = ${id} and deleted_at is null
      returning idle_shard as shard
    `.execute(trx);
    const shard = rows[0]?.shard ?? 0;
    await sql`insert into idle_shards (shard) values (${shard}) on conflict do nothing`.execute(trx);
    await notifyShard(trx, shard);
    const alive = await sql`
      select from idle_shards where shard = ${shard} and alive_at > now() - interval '30 seconds'
        and exists (select from mailboxes where idle_shard = ${shard} and id <> ${id} and watch_state = 'watching')
    `.execute(trx);
    return { shard, isAlive: alive.rows.length > 0 };
  });
}

/** Tells a mailbox's shard, if it has one, to look at it again: paused, resumed, new credentials, gone. */
export async function notifyShardOf(db: Connection, id: MailboxId): Promise<void> {
  await sql`select pg_notify(${shardChannel}, idle_shard::text) from mailboxes where id = ${id} and idle_shard is not null`.execute(db);
}

/** Takes a mailbox out of its shard, which hangs up at once. */
export async function leaveShard(db: Database, id: MailboxId): Promise<void> {
  await db.transaction().execute(async (trx) => {
    // Heard when this commits, and while the row still names the shard.
    await notifyShardOf(trx, id);
    await trx.updateTable("mailboxes").set({ idle_shard: null, watch_state: "off" }).where("id", "=", id).execute();
  });
}

async function notifyShard(db: Connection, shard: number): Promise<void> {
  await sql`select pg_notify(${shardChannel}, ${String(shard)})`.execute(db);
}

/** What a shard should be watching now. A mailbox in error is left alone: its workflow waits for its owner. */
export async function listWatched(db: Connection, shard: number): Promise<readonly WatchedMailbox[]> {
  const rows = await db
    .selectFrom("mailboxes as m")
    .innerJoin("credentials as c", "c.mailbox_id", "m.id")
    .select(["m.id", "m.customer_id", "m.updated_at", "m.sync", "c.updated_at as credentials_updated_at"])
    .where("m.idle_shard", "=", shard)
    .where("m.deleted_at", "is", null)
    .where("m.is_paused", "=", false)
    .where("m.status", "=", "connected")
    .where(sql<boolean>`coalesce(m.sync->>'frequency', 'realtime') = 'realtime'`)
    .execute();
  return rows.map((row) => ({
    id: row.id,
    customerId: row.customer_id,
    fingerprint: `${row.updated_at.getTime()} ${row.credentials_updated_at.getTime()}`,
    idlePaths: row.sync.idlePaths ?? [],
  }));
}

export type WatchState = "off" | "connecting" | "watching" | "unsupported";

export async function recordWatchState(db: Connection, id: MailboxId, state: WatchState): Promise<void> {
  await db
    .updateTable("mailboxes")
    .set({ watch_state: state, watch_since: sql<Date>`now()` })
    .where("id", "=", id)
    .where("watch_state", "<>", state)
    .execute();
}

/** Says for all of a shard's watching mailboxes that somebody is listening. */
export async function recordShardAlive(db: Connection, shard: number): Promise<void> {
  await sql`insert into idle_shards (shard, alive_at) values (${shard}, now()) on conflict (shard) do update set alive_at = now()`.execute(db);
}

/** Shards that have mailboxes: each needs its workflow. */
export async function listShards(db: Connection): Promise<readonly number[]> {
  const rows = await db.selectFrom("mailboxes").select("idle_shard").distinct().where("idle_shard", "is not", null).execute();
  return rows.flatMap((row) => (row.idle_shard === null ? [] : [row.idle_shard]));
}

/** The cursors of a mailbox's folders by path: what is known, for a watch to compare with. */
export async function knownCursors(db: Connection, id: MailboxId): Promise<ReadonlyMap<string, SyncCursor>> {
  const rows = await db
    .selectFrom("folders")
    .select(["path", "cursor"])
    .where("mailbox_id", "=", id)
    .where("is_synced", "=", true)
    .where("cursor", "is not", null)
    .execute();
  return new Map(rows.flatMap((row) => (row.cursor === null ? [] : [[row.path, row.cursor] as const])));
}
