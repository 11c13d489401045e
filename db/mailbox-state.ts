import { sql } from "kysely";
import type { Self } from "../domain/direction.ts";
import type { Problem } from "../domain/errors.ts";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import { defaultSyncSettings, type SyncSettings } from "../domain/sync-settings.ts";
import type { Connection, Database } from "./database.ts";
import { recordEvents } from "./events.ts";
import type { Sealed } from "./secrets.ts";
import { notifyShardOf } from "./watches.ts";

/** A mailbox as the work on it needs it. */
export interface WorkMailbox {
  readonly id: MailboxId;
  readonly customerId: CustomerId;
  readonly account: string | null;
  readonly provider: string;
  readonly settings: Record<string, unknown>;
  readonly sealedCredentials: Sealed | null;
  readonly tokenExpiresAt: Date | null;
  readonly sync: SyncSettings;
  readonly self: Self;
  readonly isPaused: boolean;
  readonly status: string;
  readonly anchoredAt: Date | null;
  /** An endpoint of the customer includes the texts of new messages. */
  readonly tellsText: boolean;
  /** When settings were last written. */
  readonly settingsAt: Date;
  /** The settings that what is stored agrees with; null before they were carried out for the first time. */
  readonly settledSync: SyncSettings | null;
  /** Whose the mailbox was when directions were judged last; null as above. */
  readonly settledSelf: Self | null;
  /** Either is another than today's. */
  readonly isUnsettled: boolean;
  /** Changes whenever settings or credentials do: an open connection made with another value is closed. */
  readonly fingerprint: string;
}

/** The mailbox, or undefined if it was disconnected or never existed. */
export async function findWorkMailbox(db: Connection, id: MailboxId): Promise<WorkMailbox | undefined> {
  const row = await db
    .selectFrom("mailboxes as m")
    .leftJoin("credentials as c", "c.mailbox_id", "m.id")
    .select([
      "m.id",
      "m.customer_id",
      "m.external_id",
      "m.provider",
      "m.settings",
      "m.sync",
      "m.email",
      "m.aliases",
      "m.own_domains",
      "m.is_paused",
      "m.status",
      "m.anchored_at",
      "m.updated_at",
      "m.settled_sync",
      "m.settled_self",
      sql<boolean>`m.settled_sync is distinct from m.sync or m.settled_self is distinct from ${writtenSelf}`.as("is_unsettled"),
      "c.sealed",
      "c.expires_at",
      "c.updated_at as credentials_updated_at",
      (eb) =>
        eb
          .exists(
            eb
              .selectFrom("webhook_endpoints as e")
              .select("e.id")
              .whereRef("e.customer_id", "=", "m.customer_id")
              .where("e.includes_text", "=", true)
              .where("e.deleted_at", "is", null),
          )
          .as("tells_text"),
    ])
    .where("m.id", "=", id)
    .where("m.deleted_at", "is", null)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    id: row.id,
    customerId: row.customer_id,
    account: row.external_id,
    provider: row.provider,
    settings: row.settings,
    sealedCredentials: row.sealed,
    tokenExpiresAt: row.expires_at,
    sync: { ...defaultSyncSettings, ...row.sync },
    self: { email: row.email, aliases: row.aliases, ownDomains: row.own_domains },
    isPaused: row.is_paused,
    status: row.status,
    anchoredAt: row.anchored_at,
    tellsText: Boolean(row.tells_text),
    settingsAt: row.updated_at,
    settledSync: row.settled_sync === null ? null : { ...defaultSyncSettings, ...row.settled_sync },
    settledSelf: row.settled_self === null ? null : { email: row.email, ...row.settled_self },
    isUnsettled: row.is_unsettled,
    fingerprint: `${row.updated_at.getTime()} ${row.credentials_updated_at?.getTime() ?? 0}`,
  };
}

/** The credentials opened the mailbox. Tells `mailbox.connected` the first time, `mailbox.recovered` if an error was told before. */
export async function recordConnected(db: Database, mailbox: WorkMailbox, confirmedAddress: string): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const before = await lockConnected(trx, mailbox.id);
    if (before === undefined) return;
    await trx
      .updateTable("mailboxes")
      .set({
        status: "connected",
        problem: null,
        confirmed_address: confirmedAddress,
        anchored_at: sql<Date>`coalesce(anchored_at, now())`,
        // Whatever is stored by now was stored with these settings.
        ...(before.anchored_at === null ? { settled_sync: JSON.stringify(mailbox.sync), settled_self: toSettledSelf(mailbox.self) } : {}),
      })
      .where("id", "=", mailbox.id)
      .execute();
    if (before.anchored_at === null) await recordEvents(trx, mailboxSource(mailbox), [{ type: "mailbox.connected", email: mailbox.self.email }]);
    else if (before.status === "error") await recordEvents(trx, mailboxSource(mailbox), [{ type: "mailbox.recovered" }]);
  });
}

/** The further addresses as the row has them, in the form in which `settled_self` keeps them. */
const writtenSelf = sql`jsonb_build_object('aliases', to_jsonb(m.aliases), 'ownDomains', to_jsonb(m.own_domains))`;

export function toSettledSelf({ aliases, ownDomains }: Self): string {
  return JSON.stringify({ aliases, ownDomains });
}

/** A step failed. `isError` moves the mailbox to `error` and tells it, once for as long as it lasts. */
export async function recordProblem(db: Database, mailbox: WorkMailbox, problem: Problem, isError: boolean, nextDueAt: Date | null): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const before = await lockConnected(trx, mailbox.id);
    if (before === undefined) return;
    await trx
      .updateTable("mailboxes")
      .set({
        problem: JSON.stringify(problem),
        last_attempt_at: sql<Date>`now()`,
        next_due_at: nextDueAt,
        ...(isError ? { status: "error" as const } : {}),
      })
      .where("id", "=", mailbox.id)
      .execute();
    if (isError && before.status !== "error") await recordEvents(trx, mailboxSource(mailbox), [{ type: "mailbox.error", problem }]);
  });
}

/** Undefined for a mailbox that was disconnected while something was under way for it: nothing brings it back. */
async function lockConnected(trx: Connection, id: MailboxId) {
  return trx
    .selectFrom("mailboxes")
    .select(["status", "anchored_at"])
    .where("id", "=", id)
    .where("deleted_at", "is", null)
    .forUpdate()
    .executeTakeFirst();
}

/** A look at the server succeeded: whatever was wrong is over. */
export async function recordSuccess(db: Database, mailbox: WorkMailbox, nextDueAt?: Date): Promise<void> {
  const due = nextDueAt === undefined ? {} : { next_due_at: nextDueAt };
  if (mailbox.status === "error") await recordRecovered(db, mailbox);
  await db
    .updateTable("mailboxes")
    .set({ last_success_at: sql<Date>`now()`, last_attempt_at: sql<Date>`now()`, problem: null, ...due })
    .where("id", "=", mailbox.id)
    .execute();
}

async function recordRecovered(db: Database, mailbox: WorkMailbox): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const { numUpdatedRows } = await trx
      .updateTable("mailboxes")
      .set({ status: "connected", problem: null, last_success_at: sql<Date>`now()`, last_attempt_at: sql<Date>`now()` })
      .where("id", "=", mailbox.id)
      .where("status", "=", "error")
      .executeTakeFirst();
    if (numUpdatedRows > 0n) await recordEvents(trx, mailboxSource(mailbox), [{ type: "mailbox.recovered" }]);
  });
}

export async function recordPaused(db: Connection, id: MailboxId, isPaused: boolean): Promise<void> {
  await db.updateTable("mailboxes").set({ is_paused: isPaused }).where("id", "=", id).execute();
}

/** The sums of all folders' imports, after a page. The first call starts the clock of the ETA. */
export async function recordImportProgress(db: Connection, id: MailboxId): Promise<void> {
  await sql`
    update mailboxes set
      import_total = (select coalesce(sum(greatest(import_total, import_done)), 0) from folders where mailbox_id = ${id} and is_synced),
      import_done = (select coalesce(sum(import_done), 0) from folders where mailbox_id = ${id} and is_synced),
      import_started_at = coalesce(import_started_at, now())
    where id = ${id}
  `.execute(db);
}

/** Marks a listing from the start as begun: the flow is `importing` until it is complete. */
export async function recordImportStarted(db: Connection, id: MailboxId): Promise<void> {
  await sql`
    update mailboxes set import_started_at = case when import_finished_at is null then coalesce(import_started_at, now()) else now() end,
      import_finished_at = null
    where id = ${id}
  `.execute(db);
  await recordImportProgress(db, id);
}

/** Once every folder is listed to its end: tells `mailbox.sync_completed`, once per listing. */
export async function recordImportFinished(db: Database, mailbox: WorkMailbox): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const open = await trx
      .selectFrom("folders")
      .select("id")
      .where("mailbox_id", "=", mailbox.id)
      .where("is_synced", "=", true)
      .where("import_state", "=", "importing")
      .executeTakeFirst();
    if (open !== undefined) return;
    const row = await trx
      .updateTable("mailboxes")
      .set({ import_finished_at: sql<Date>`now()` })
      .where("id", "=", mailbox.id)
      .where("import_finished_at", "is", null)
      .where("import_started_at", "is not", null)
      .returning("import_done")
      .executeTakeFirst();
    if (row === undefined) return;
    const { folders } = await trx
      .selectFrom("folders")
      .select((eb) => eb.fn.countAll<number>().as("folders"))
      .where("mailbox_id", "=", mailbox.id)
      .where("is_synced", "=", true)
      .executeTakeFirstOrThrow();
    await recordEvents(trx, mailboxSource(mailbox), [{ type: "mailbox.sync_completed", folders, messages: row.import_done }]);
  });
}

/**
 * Forgets what opens the mailbox and marks it as not connected; with `purge` its messages and events go as well. Safe to repeat.
 */
export async function forgetMailbox(db: Database, id: MailboxId, purge: boolean): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const row = await trx.selectFrom("mailboxes").select(["customer_id", "status", "email"]).where("id", "=", id).forUpdate().executeTakeFirst();
    if (row === undefined) return;
    // Heard when this commits, and while the row still names the shard.
    await notifyShardOf(trx, id);
    await trx.deleteFrom("credentials").where("mailbox_id", "=", id).execute();
    await trx
      .updateTable("mailboxes")
      .set({
        status: "not_connected",
        watch_state: "off",
        idle_shard: null,
        problem: null,
        next_due_at: null,
        deleted_at: sql<Date>`coalesce(deleted_at, now())`,
      })
      .where("id", "=", id)
      .execute();
    if (row.status !== "not_connected") {
      await recordEvents(trx, { customerId: row.customer_id, mailboxId: id }, [{ type: "mailbox.disconnected" }]);
    }
  });
  if (purge) await purgeMessages(db, id);
}

/** Deletes in slices, so that a million messages do not hold their locks for minutes. */
async function purgeMessages(db: Database, id: MailboxId): Promise<void> {
  // Places first: with its folder, a million of them would go in one statement.
  for (;;) {
    const { numAffectedRows } = await sql`
      delete from message_locations where ctid = any(array(
        select l.ctid from message_locations l where l.folder_id = any(array(select id from folders where mailbox_id = ${id})) limit 5000))
    `.execute(db);
    if (numAffectedRows === 0n || numAffectedRows === undefined) break;
  }
  await db.deleteFrom("folders").where("mailbox_id", "=", id).execute();
  for (;;) {
    // Texts refer to no row: they are written before their messages' page is, and kept ones would stay for ever.
    const { numAffectedRows } = await sql`
      with gone as (delete from messages where ctid = any(array(select ctid from messages where mailbox_id = ${id} limit 5000)) returning id),
        texts as (delete from message_texts t using gone where t.message_id = gone.id)
      select from gone
    `.execute(db);
    if (numAffectedRows === 0n || numAffectedRows === undefined) break;
  }
  for (const table of ["threads", "thread_keys", "events", "webhook_deliveries"] as const) {
    for (;;) {
      const { numAffectedRows } = await sql`
        delete from ${sql.table(table)} where ctid = any(array(
          select ctid from ${sql.table(table)} where mailbox_id = ${id}
          ${table === "events" ? sql`and type <> 'mailbox.disconnected'` : sql``}
          ${table === "webhook_deliveries" ? sql`and event_id not in (select id from events where mailbox_id = ${id})` : sql``} limit 5000))
      `.execute(db);
      if (numAffectedRows === 0n || numAffectedRows === undefined) break;
    }
  }
}

function mailboxSource(mailbox: WorkMailbox) {
  return { customerId: mailbox.customerId, mailboxId: mailbox.id };
}
