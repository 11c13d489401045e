import { defineSearchAttributeKey, SearchAttributeType } from "@temporalio/common";
import type { ConnectionTestId, MailboxId, MessageId, WebhookEndpointId } from "../domain/ids.ts";

/** One task queue for each kind of work that must not take the slots of another. A prefix keeps installations in one namespace apart. */
export const taskQueues = {
  /** Workflows, and activities that only touch the database. */
  mail: "mail",
  /** What talks to a mail provider for a moment. */
  providers: "providers",
  /** First syncs: long, many pages. */
  bulk: "bulk",
  /** What is kept of messages: sources, texts, attachments. */
  content: "content",
  /** IDLE shards: one slot holds hundreds of connections. */
  idle: "idle",
  /** Deliveries to customers' endpoints, some of which hang. */
  webhooks: "webhooks",
} as const;
export type TaskQueue = keyof typeof taskQueues;

export function taskQueueName(prefix: string, queue: TaskQueue): string {
  return prefix === "" ? taskQueues[queue] : `${prefix}-${taskQueues[queue]}`;
}

/** Workflow ids: ids of ours and numbers, never an address or a name. */
export const workflowIds = {
  mailbox: (id: MailboxId) => `mailbox/${id}`,
  /** Shards are numbered in each installation anew, so that this id alone needs the prefix. */
  idleShard: (prefix: string, shard: number) => (prefix === "" ? `idle-shard/${shard}` : `${prefix}-idle-shard/${shard}`),
  webhookRelay: (id: WebhookEndpointId) => `webhooks/${id}`,
  messageActions: (id: MailboxId) => `actions/${id}`,
  keepContent: (id: MailboxId) => `content/${id}`,
  messageText: (id: MessageId) => `message-text/${id}`,
  connectionTest: (id: ConnectionTestId) => `connection-test/${id}`,
} as const;

export const searchAttributes = {
  mailboxId: defineSearchAttributeKey("MailboxId", SearchAttributeType.KEYWORD),
  customerId: defineSearchAttributeKey("CustomerId", SearchAttributeType.KEYWORD),
  provider: defineSearchAttributeKey("Provider", SearchAttributeType.KEYWORD),
  mailboxState: defineSearchAttributeKey("MailboxState", SearchAttributeType.KEYWORD),
  lastErrorType: defineSearchAttributeKey("LastErrorType", SearchAttributeType.KEYWORD),
  nextDueAt: defineSearchAttributeKey("NextDueAt", SearchAttributeType.DATETIME),
} as const;
