import { randomBytes } from "node:crypto";
import type { Database } from "../../db/database.ts";
import { recordEvents } from "../../db/events.ts";
import { newId } from "../../db/ids.ts";
import { createWebhookEndpoint, type EndpointSettings } from "../../db/webhook-endpoints.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../../domain/ids.ts";
import { newSigningSecret } from "../../webhooks/sign.ts";

export const keyRing = [{ name: "test", bytes: randomBytes(32) }];

export async function createCustomer(db: Database): Promise<CustomerId> {
  const id = newId("customer");
  await db.insertInto("customers").values({ id, name: "Test" }).execute();
  return id;
}

export async function createMailboxes(db: Database, customerId: CustomerId, count: number): Promise<readonly MailboxId[]> {
  const ids = Array.from({ length: count }, () => newId("mailbox"));
  const sync = JSON.stringify({});
  const rows = ids.map((id, i) => ({
    id,
    customer_id: customerId,
    external_id: `agent-${i}`,
    email: `m${i}@example.test`,
    provider: "memory",
    settings: "{}",
    sync,
  }));
  await db.insertInto("mailboxes").values(rows).execute();
  return ids;
}

export async function createEndpoint(
  db: Database,
  customerId: CustomerId,
  url: string,
  settings: Partial<EndpointSettings> = {},
): Promise<{ readonly id: WebhookEndpointId; readonly secret: string }> {
  const secret = newSigningSecret();
  const all = { url, description: "", eventTypes: null, mailboxIds: null, includesText: false, ...settings };
  const { id } = await createWebhookEndpoint(db, keyRing, customerId, all, [{ secret, expiresAt: null }]);
  return { id, secret };
}

/** Tells `count` events of a mailbox, one transaction each 500. */
export async function tell(db: Database, customerId: CustomerId, mailboxId: MailboxId | null, count: number): Promise<void> {
  for (let told = 0; told < count; told += 500) {
    const events = Array.from({ length: Math.min(500, count - told) }, () => ({ type: "mailbox.recovered" as const }));
    await db.transaction().execute((trx) => recordEvents(trx, { customerId, mailboxId }, events));
  }
}
