import { sql } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import { defaultSyncSettings, type SyncSettings } from "../domain/sync-settings.ts";
import type { Database } from "./database.ts";
import { forgetOld } from "./settle-settings.ts";

/** One sweep is one of many things that keep the house in order: what it does not get to is left for the next, a minute later. */
const sweepMs = 20_000;

/**
 * Forgets, once a day, what grew older than its mailbox's age limit; returns how many mailboxes are through. A mailbox that could not be finished stays
 * due. Paused mailboxes as well: how long mail is kept is a promise, and needs no server.
 */
export async function sweepOldMessages(db: Database): Promise<number> {
  const endsAt = Date.now() + sweepMs;
  const { rows } = await sql<{ id: MailboxId; sync: SyncSettings }>`
    select id, sync from mailboxes
    where deleted_at is null and (sync->>'ageLimitDays') is not null and coalesce(retained_at, created_at) < now() - interval '1 day'
    order by retained_at nulls first limit 1000
  `.execute(db);
  let swept = 0;
  for (const { id, sync } of rows) {
    if ((await forgetOld(db, id, { ...defaultSyncSettings, ...sync }, endsAt)) === "more" || Date.now() > endsAt) break;
    await db.updateTable("mailboxes").set({ retained_at: sql<Date>`now()` }).where("id", "=", id).execute();
    swept += 1;
  }
  return swept;
}
