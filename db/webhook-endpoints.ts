import { type Selectable, sql } from "kysely";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { recordEvents } from "./events.ts";
import { newId } from "./ids.ts";
import { isBehind, type Page, type PageRequest, pageInstant, toPage } from "./pages.ts";
import type { WebhookEndpointsTable } from "./schema.ts";
import { type KeyRing, seal, unseal } from "./secrets.ts";

export type WebhookEndpointRow = Selectable<WebhookEndpointsTable>;

/** A signing secret as it is kept, newest first; webhooks/sign.ts says which of them sign. */
export interface EndpointSecret {
  readonly secret: string;
  readonly expiresAt: string | null;
}

export interface EndpointSettings {
  readonly url: string;
  readonly description: string;
  /** Null for every type. */
  readonly eventTypes: readonly string[] | null;
  /** Null for every mailbox, those that come later among them. */
  readonly mailboxIds: readonly MailboxId[] | null;
  readonly includesText: boolean;
}

export async function createWebhookEndpoint(
  db: Connection,
  ring: KeyRing,
  customerId: CustomerId,
  settings: EndpointSettings,
  secrets: readonly EndpointSecret[],
): Promise<WebhookEndpointRow> {
  const id = newId("webhookEndpoint");
  return db
    .insertInto("webhook_endpoints")
    .values({ id, customer_id: customerId, url: settings.url, ...columnsOf(settings), sealed_secrets: sealSecrets(ring, id, secrets) })
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Newest first, without the deleted ones. */
export async function listWebhookEndpoints(db: Connection, { limit, after }: PageRequest): Promise<Page<WebhookEndpointRow>> {
  let query = db.selectFrom("webhook_endpoints").selectAll().select(pageInstant("created_at").as("page_at")).where("deleted_at", "is", null);
  if (after !== undefined) query = query.where(isBehind("created_at", "id", after));
  const rows = await query
    .orderBy("created_at", "desc")
    .orderBy("id")
    .limit(limit + 1)
    .execute();
  return toPage(rows, limit);
}

export async function findWebhookEndpoint(db: Connection, id: WebhookEndpointId): Promise<WebhookEndpointRow | undefined> {
  return db.selectFrom("webhook_endpoints").selectAll().where("id", "=", id).where("deleted_at", "is", null).executeTakeFirst();
}

/** The endpoint as its relay needs it: also when it is disabled or deleted. */
export async function loadRelayEndpoint(db: Connection, id: WebhookEndpointId): Promise<WebhookEndpointRow | undefined> {
  return db.selectFrom("webhook_endpoints").selectAll().where("id", "=", id).executeTakeFirst();
}

/** Holds the row until the transaction ends, so that two rotations or settings do not undo each other. */
export async function lockWebhookEndpoint(trx: Connection, id: WebhookEndpointId): Promise<WebhookEndpointRow | undefined> {
  return trx.selectFrom("webhook_endpoints").selectAll().where("id", "=", id).where("deleted_at", "is", null).forUpdate().executeTakeFirst();
}

export async function updateWebhookEndpoint(
  db: Connection,
  id: WebhookEndpointId,
  changes: { readonly [Name in keyof EndpointSettings]?: EndpointSettings[Name] | undefined },
): Promise<WebhookEndpointRow | undefined> {
  return db
    .updateTable("webhook_endpoints")
    .set({ ...columnsOf(changes), updated_at: sql<Date>`now()` })
    .where("id", "=", id)
    .where("deleted_at", "is", null)
    .returningAll()
    .executeTakeFirst();
}

export async function setEndpointSecrets(db: Connection, ring: KeyRing, id: WebhookEndpointId, secrets: readonly EndpointSecret[]): Promise<void> {
  await db
    .updateTable("webhook_endpoints")
    .set({ sealed_secrets: sealSecrets(ring, id, secrets), updated_at: sql<Date>`now()` })
    .where("id", "=", id)
    .execute();
}

/** Whether there was such an endpoint. Nothing is delivered to it any more; its relay, once woken, removes the deliveries and the row. */
export async function deleteWebhookEndpoint(db: Connection, id: WebhookEndpointId): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("webhook_endpoints")
    .set({ deleted_at: sql<Date>`now()`, is_enabled: false, updated_at: sql<Date>`now()` })
    .where("id", "=", id)
    .where("deleted_at", "is", null)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/**
 * Stops deliveries to an endpoint and tells the customer's other endpoints and the stream why. What is pending stays pending; what happens from
 * now on is not queued for it. False if it was disabled or deleted already. Whoever commits then wakes the other relays.
 */
export async function disableWebhookEndpoint(
  trx: Connection,
  endpoint: Pick<WebhookEndpointRow, "id" | "customer_id">,
  reason: string,
): Promise<boolean> {
  const { numUpdatedRows } = await trx
    .updateTable("webhook_endpoints")
    .set({ is_enabled: false, disabled_reason: reason, is_awake: false, drained_until: null, updated_at: sql<Date>`now()` })
    .where("id", "=", endpoint.id)
    .where("is_enabled", "=", true)
    .where("deleted_at", "is", null)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return false;
  await recordEvents(trx, { customerId: endpoint.customer_id, mailboxId: null }, [{ type: "webhook.disabled", endpointId: endpoint.id, reason }]);
  return true;
}

/**
 * Starts deliveries again, with what was pending when they stopped, from the beginning of the retry schedule. What happened in between was not
 * queued: a replay of that time brings it. Whoever commits then wakes the relay (`claimSleepingEndpoints`).
 */
export async function enableWebhookEndpoint(trx: Connection, id: WebhookEndpointId): Promise<WebhookEndpointRow | undefined> {
  await trx
    .updateTable("webhook_deliveries")
    .set({ next_attempt_at: sql<Date>`now()`, attempt_count: 0 })
    .where("endpoint_id", "=", id)
    .where("state", "=", "pending")
    .where("attempt_count", ">", 0)
    .execute();
  return trx
    .updateTable("webhook_endpoints")
    .set({
      is_enabled: true,
      disabled_reason: null,
      failing_since: null,
      // Who is at work on one that was enabled all the time goes on.
      is_awake: sql<boolean>`is_enabled and is_awake`,
      updated_at: sql<Date>`now()`,
    })
    .where("id", "=", id)
    .where("deleted_at", "is", null)
    .returningAll()
    .executeTakeFirst();
}

/** The secrets of an endpoint. Throws `credentials_unreadable` if the key ring does not open them. */
export function openEndpointSecrets(ring: KeyRing, row: Pick<WebhookEndpointRow, "id" | "sealed_secrets">): readonly EndpointSecret[] {
  return unseal(ring, endpointSecretsContext(row.id), row.sealed_secrets) as readonly EndpointSecret[];
}

/** What the sealed secrets are bound to: for whoever rotates the key ring. */
export function endpointSecretsContext(id: WebhookEndpointId): string {
  return `webhook_endpoints/${id}`;
}

function sealSecrets(ring: KeyRing, id: WebhookEndpointId, secrets: readonly EndpointSecret[]): string {
  return JSON.stringify(seal(ring, endpointSecretsContext(id), secrets));
}

function columnsOf(settings: { readonly [Name in keyof EndpointSettings]?: EndpointSettings[Name] | undefined }) {
  const { url, description, eventTypes, mailboxIds, includesText } = settings;
  return {
    ...(url === undefined ? {} : { url }),
    ...(description === undefined ? {} : { description }),
    ...(eventTypes === undefined ? {} : { event_types: eventTypes === null ? null : [...eventTypes] }),
    ...(mailboxIds === undefined ? {} : { mailbox_ids: mailboxIds === null ? null : [...mailboxIds] }),
    ...(includesText === undefined ? {} : { includes_text: includesText }),
  };
}
