import { type Selectable, sql } from "kysely";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { MailboxFacts, MailboxStatus } from "../domain/mailbox.ts";
import { defaultSyncSettings, lookEveryMs, type SyncSettings } from "../domain/sync-settings.ts";
import { saveCredentials } from "./credentials.ts";
import { isBehind, type PageCursor, pageInstant } from "./pages.ts";
import type { MailboxesTable } from "./schema.ts";
import type { ScopedConnection } from "./scope.ts";
import { type KeyRing, unseal } from "./secrets.ts";

export type MailboxRow = Selectable<MailboxesTable> & { readonly shard_alive_at: Date | null };

export interface NewMailbox {
  readonly id: MailboxId;
  readonly customerId: CustomerId;
  readonly externalId: string | null;
  readonly email: string;
  readonly displayName: string | null;
  readonly provider: string;
  readonly settings: unknown;
  readonly sync: SyncSettings;
  readonly aliases: readonly string[];
  readonly ownDomains: readonly string[];
}

/** Stores a mailbox and its credentials; false if its id or its external id is taken. Call it in a transaction. */
export async function insertMailbox(trx: ScopedConnection, ring: KeyRing, mailbox: NewMailbox, credentials: unknown): Promise<boolean> {
  const inserted = await trx
    .insertInto("mailboxes")
    .values({
      id: mailbox.id,
      customer_id: mailbox.customerId,
      external_id: mailbox.externalId,
      email: mailbox.email,
      display_name: mailbox.displayName,
      provider: mailbox.provider,
      settings: JSON.stringify(mailbox.settings),
      sync: JSON.stringify(mailbox.sync),
      aliases: [...mailbox.aliases],
      own_domains: [...mailbox.ownDomains],
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning("id")
    .executeTakeFirst();
  if (inserted === undefined) return false;
  await saveCredentials(trx, ring, mailbox, credentials);
  return true;
}

/** A mailbox that was not deleted. */
export async function findMailbox(db: ScopedConnection, id: MailboxId): Promise<MailboxRow | undefined> {
  return selectMailboxes(db).where("m.id", "=", id).executeTakeFirst();
}

export async function findMailboxByExternalId(db: ScopedConnection, externalId: string): Promise<MailboxRow | undefined> {
  return selectMailboxes(db).where("m.external_id", "=", externalId).executeTakeFirst();
}

/** What opens the mailbox; undefined if it was forgotten. Throws `credentials_unreadable`. */
export async function readCredentials(db: ScopedConnection, ring: KeyRing, id: MailboxId): Promise<unknown> {
  const row = await db.selectFrom("credentials").select("sealed").where("mailbox_id", "=", id).executeTakeFirst();
  return row === undefined ? undefined : unseal(ring, id, row.sealed);
}

export interface MailboxFilter {
  readonly externalId?: string | undefined;
  readonly email?: string | undefined;
  readonly status?: MailboxStatus | undefined;
}

/**
 * The next rows of the listing. By `status` it leaves out what cannot have it; whether a row has it depends on the time and is the caller's to see
 * (`describeMailbox`): what is stored as connected may be in error by now.
 */
export async function scanMailboxes(
  db: ScopedConnection,
  filter: MailboxFilter,
  { limit, after }: { readonly limit: number; readonly after: PageCursor | undefined },
): Promise<readonly (MailboxRow & { readonly page_at: string })[]> {
  let query = selectMailboxes(db).select(pageInstant("m.created_at").as("page_at"));
  if (filter.externalId !== undefined) query = query.where("m.external_id", "=", filter.externalId);
  if (filter.email !== undefined) query = query.where(sql`lower(m.email)`, "=", filter.email.toLowerCase());
  if (filter.status === "error") query = query.where("m.status", "in", ["configured", "connected", "error"]);
  else if (filter.status !== undefined) query = query.where("m.status", "=", filter.status);
  if (after !== undefined) query = query.where(isBehind("m.created_at", "m.id", after));
  return query.orderBy("m.created_at", "desc").orderBy("m.id").limit(limit).execute();
}

/** What `describeMailbox` judges by. */
export function toFacts(row: MailboxRow, pollFloorMs: number): MailboxFacts {
  return {
    status: row.status,
    isPaused: row.is_paused,
    problem: row.problem,
    createdAt: row.created_at.toISOString(),
    lastSuccessAt: row.last_success_at?.toISOString() ?? null,
    watchAliveAt: row.watch_state === "watching" ? (row.shard_alive_at?.toISOString() ?? null) : null,
    pollFloorMs: lookEveryMs({ ...defaultSyncSettings, ...row.sync }, pollFloorMs),
    importTotal: row.import_total,
    importDone: row.import_done,
    importStartedAt: row.import_started_at?.toISOString() ?? null,
    isImporting: row.import_started_at !== null && row.import_finished_at === null,
  };
}

export interface MailboxChanges {
  readonly externalId?: string | null | undefined;
  readonly displayName?: string | null | undefined;
  readonly aliases?: readonly string[] | undefined;
  readonly ownDomains?: readonly string[] | undefined;
  readonly sync?: SyncSettings | undefined;
  readonly settings?: unknown;
}

/** Locks the row, so that two changes at once come one after the other and none is lost. */
export async function lockMailbox(trx: ScopedConnection, id: MailboxId): Promise<MailboxRow | undefined> {
  const locked = await trx.selectFrom("mailboxes").select("id").where("id", "=", id).where("deleted_at", "is", null).forUpdate().executeTakeFirst();
  return locked === undefined ? undefined : findMailbox(trx, id);
}

/** Changes what the customer may set. `updated_at` moves, by which connections opened with the old settings know that they are stale. */
export async function updateMailbox(trx: ScopedConnection, id: MailboxId, changes: MailboxChanges): Promise<void> {
  const { externalId, displayName, aliases, ownDomains, sync, settings } = changes;
  await trx
    .updateTable("mailboxes")
    .set({
      ...(externalId === undefined ? {} : { external_id: externalId }),
      ...(displayName === undefined ? {} : { display_name: displayName }),
      ...(aliases === undefined ? {} : { aliases: [...aliases] }),
      ...(ownDomains === undefined ? {} : { own_domains: [...ownDomains] }),
      ...(sync === undefined ? {} : { sync: JSON.stringify(sync) }),
      ...(settings === undefined ? {} : { settings: JSON.stringify(settings) }),
      updated_at: sql<Date>`clock_timestamp()`,
    })
    .where("id", "=", id)
    .execute();
}

function selectMailboxes(db: ScopedConnection) {
  return db
    .selectFrom("mailboxes as m")
    .leftJoin("idle_shards as s", "s.shard", "m.idle_shard")
    .selectAll("m")
    .select("s.alive_at as shard_alive_at")
    .where("m.deleted_at", "is", null);
}
