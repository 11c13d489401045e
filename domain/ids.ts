/**
 * Every id carries its type as a prefix, so that a wrong id is refused where it enters and not where it is used.
 * What follows the prefix is base58 and says nothing; only db/ids.ts makes new ones.
 */
export const idPrefixes = {
  customer: "cus",
  accessKey: "key",
  mailbox: "mbx",
  folder: "fld",
  message: "msg",
  thread: "thr",
  event: "evt",
  webhookEndpoint: "whe",
  webhookDelivery: "whd",
  connectionTest: "tst",
  messageAction: "act",
  blob: "blb",
  auditEntry: "log",
  request: "req",
} as const;

export type IdKind = keyof typeof idPrefixes;
export type Id<Kind extends IdKind> = `${(typeof idPrefixes)[Kind]}_${string}`;

export type CustomerId = Id<"customer">;
export type AccessKeyId = Id<"accessKey">;
export type MailboxId = Id<"mailbox">;
export type FolderId = Id<"folder">;
export type MessageId = Id<"message">;
export type ThreadId = Id<"thread">;
export type EventId = Id<"event">;
export type WebhookEndpointId = Id<"webhookEndpoint">;
export type WebhookDeliveryId = Id<"webhookDelivery">;
export type MessageActionId = Id<"messageAction">;
export type BlobKey = Id<"blob">;
export type ConnectionTestId = Id<"connectionTest">;

/** Whether `text` has the shape of an id of this kind. It says nothing about whether such a thing exists. */
export function isId<Kind extends IdKind>(kind: Kind, text: string): text is Id<Kind> {
  const prefix = `${idPrefixes[kind]}_`;
  return text.startsWith(prefix) && /^[1-9A-HJ-NP-Za-km-z]{10,40}$/.test(text.slice(prefix.length));
}
