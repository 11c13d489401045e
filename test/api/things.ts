import { createAccessKey } from "../../db/access-keys.ts";
import { recordAudit } from "../../db/audit-log.ts";
import { saveCredentials } from "../../db/credentials.ts";
import { newId } from "../../db/ids.ts";
import { insertMessageAction } from "../../db/message-actions.ts";
import { scopedTo } from "../../db/scope.ts";
import { seal } from "../../db/secrets.ts";
import type { CustomerId, MailboxId } from "../../domain/ids.ts";
import { toTermVector } from "../../domain/search-terms.ts";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";
import type { Api } from "./api.ts";

/** One of everything that a customer can own, each belonging to one mailbox where it can. */
export type Things = Readonly<Record<Collection, string>> & { readonly mailboxes: MailboxId };

/** The path segment behind /v1 under which a thing is addressed by its id. */
export type Collection =
  | "mailboxes"
  | "folders"
  | "messages"
  | "threads"
  | "access-keys"
  | "events"
  | "webhook-endpoints"
  | "webhook-deliveries"
  | "attachments"
  | "message-actions";

/** Puts one of everything into the database by hand, as the engine would have. */
export async function makeThings({ db, config }: Api, customerId: CustomerId): Promise<Things> {
  const [mailboxId, folderId, messageId, threadId] = [newId("mailbox"), newId("folder"), newId("message"), newId("thread")];
  const [eventId, endpointId, deliveryId] = [newId("event"), newId("webhookEndpoint"), newId("webhookDelivery")];
  await db
    .insertInto("mailboxes")
    .values({
      id: mailboxId,
      customer_id: customerId,
      external_id: `user-${mailboxId}`,
      email: "ann@example.com",
      display_name: null,
      provider: "memory",
      settings: JSON.stringify({ mailbox: mailboxId }),
      sync: JSON.stringify(defaultSyncSettings),
    })
    .execute();
  await saveCredentials(db, config.keyRing, { id: mailboxId, customerId }, { password: "memory" });
  await db
    .insertInto("folders")
    .values({
      id: folderId,
      customer_id: customerId,
      mailbox_id: mailboxId,
      path: "INBOX",
      name: "INBOX",
      delimiter: "/",
      role: "inbox",
      role_source: "name",
      is_selectable: true,
      is_synced: true,
      total: 1,
      unseen: 1,
    })
    .execute();
  const receivedAt = "2026-11-01T10:00:01.000Z";
  const envelope = {
    messageId: "<1@example.com>",
    inReplyTo: null,
    references: [],
    subject: "Hello",
    from: [{ name: "Bob", address: "bob@example.net" }],
    replyTo: [],
    to: [{ name: "", address: "ann@example.com" }],
    cc: [],
    bcc: [],
    sentAt: "2026-11-01T10:00:00.000Z",
  };
  await db
    .insertInto("messages")
    .values({
      id: messageId,
      customer_id: customerId,
      mailbox_id: mailboxId,
      thread_id: threadId,
      message_id: envelope.messageId,
      envelope: JSON.stringify(envelope),
      subject: envelope.subject,
      flags: ["seen"],
      size_bytes: 1234,
      received_at: receivedAt,
      attachments: "[]",
      snippet: "Hello Ann",
      direction: "incoming",
      special_use: "inbox",
      main_folder_id: folderId,
      main_ref: "7",
      state: "settled",
      terms: toTermVector(customerId, { mailboxId, receivedAt, envelope, attachments: [], traits: [], snippet: "Hello Ann", text: null }),
    })
    .execute();
  await db.insertInto("threads").values({ id: threadId, customer_id: customerId, mailbox_id: mailboxId, last_at: receivedAt }).execute();
  await db
    .insertInto("message_locations")
    .values({ folder_id: folderId, ref: "7", message_id: messageId, customer_id: customerId, mailbox_id: mailboxId, flags: ["seen"], generation: 0 })
    .execute();
  await db
    .insertInto("events")
    .values({
      id: eventId,
      customer_id: customerId,
      mailbox_id: mailboxId,
      sequence: 1,
      type: "mailbox.connected",
      data: JSON.stringify({ email: "ann@example.com" }),
    })
    .execute();
  await db
    .insertInto("webhook_endpoints")
    .values({
      id: endpointId,
      customer_id: customerId,
      url: "https://example.com/hook",
      sealed_secrets: JSON.stringify(seal(config.keyRing, `webhook_endpoints/${endpointId}`, [])),
    })
    .execute();
  await db
    .insertInto("webhook_deliveries")
    .values({ id: deliveryId, customer_id: customerId, endpoint_id: endpointId, event_id: eventId, mailbox_id: mailboxId, lane: mailboxId })
    .execute();
  const actionId = newId("messageAction");
  const action = { id: actionId, customerId, mailboxId, action: { type: "setFlags", add: ["seen"], remove: [] }, whenAway: "queue" } as const;
  await insertMessageAction(scopedTo(db, { customerId, mailboxId: null }), action, [{ messageId, mailboxId, state: "queued", problem: null }]);
  await recordAudit(db, { customerId, mailboxId, actor: "system", action: "mailbox.created", target: mailboxId, requestId: "req_1" });
  const { row } = await createAccessKey(db, { customerId, role: "customer", name: "other", scopes: [] });
  return {
    mailboxes: mailboxId,
    folders: folderId,
    messages: messageId,
    threads: threadId,
    "access-keys": row.id,
    events: eventId,
    "webhook-endpoints": endpointId,
    "webhook-deliveries": deliveryId,
    "message-actions": actionId,
    // A part's number; no other text in an answer looks like it.
    attachments: "1234.4321.1234",
  };
}
