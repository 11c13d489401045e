import type { MailboxId } from "../domain/ids.ts";
import type { Connection, Database } from "./database.ts";
import type { WorkMailbox } from "./mailbox-state.ts";
import { type KeyRing, type Sealed, seal } from "./secrets.ts";

/** A token is renewed when less than this is left of it. */
export const refreshBeforeMs = 10 * 60_000;

/** Stores what opens a mailbox, sealed for this row alone. `expiresAt` is the access token's end; null for passwords. */
export async function saveCredentials(
  db: Connection,
  ring: KeyRing,
  owner: Pick<WorkMailbox, "id" | "customerId">,
  credentials: unknown,
  expiresAt: Date | null = null,
): Promise<void> {
  const sealed = JSON.stringify(seal(ring, owner.id, credentials));
  await db
    .insertInto("credentials")
    .values({ mailbox_id: owner.id, customer_id: owner.customerId, sealed, expires_at: expiresAt })
    .onConflict((conflict) => conflict.column("mailbox_id").doUpdateSet({ sealed, expires_at: expiresAt, updated_at: new Date() }))
    .execute();
}

/**
 * Replaces credentials by what `refresh` makes of them, under the row's lock, unless somebody else did so a moment ago. Returns when the token now
 * stored ends. A refresh token that rotates is used once and its successor stored, whoever asks.
 */
export async function replaceCredentials(
  db: Database,
  mailbox: Pick<WorkMailbox, "id" | "customerId">,
  refresh: (sealed: Sealed) => Promise<{ readonly credentials: unknown; readonly expiresAt: Date } | undefined>,
  ring: KeyRing,
): Promise<Date | null> {
  return db.transaction().execute(async (trx) => {
    const row = await lockCredentials(trx, mailbox.id);
    if (row === undefined) return null;
    if (row.expires_at !== null && row.expires_at.getTime() - Date.now() > refreshBeforeMs) return row.expires_at;
    const refreshed = await refresh(row.sealed);
    if (refreshed === undefined) return row.expires_at;
    await saveCredentials(trx, ring, mailbox, refreshed.credentials, refreshed.expiresAt);
    return refreshed.expiresAt;
  });
}

async function lockCredentials(trx: Connection, id: MailboxId) {
  return trx.selectFrom("credentials").select(["sealed", "expires_at"]).where("mailbox_id", "=", id).forUpdate().executeTakeFirst();
}
