import type { Address } from "./address.ts";
import type { Defect } from "./defects.ts";
import type { Problem } from "./errors.ts";
import type { FolderRole } from "./folder.ts";
import type { FolderId, MailboxId, MessageId, ThreadId, WebhookEndpointId } from "./ids.ts";
import type { AttachmentInfo, Direction, Envelope, Flags } from "./message.ts";
import type { Trait } from "./traits.ts";

/** A message as events and the API tell it. `text` is there only where the endpoint or the request asks for it. */
export interface ToldMessage {
  readonly id: MessageId;
  readonly threadId: ThreadId;
  readonly mailboxId: MailboxId;
  /** The customer's own name for the mailbox (`externalId`). */
  readonly account: string | null;
  readonly direction: Direction;
  /** Where the message shows first: path, role and UID of its main folder. */
  readonly path: string;
  readonly folderId: FolderId;
  readonly specialUse: FolderRole;
  /** The message's role over all folders that hold it. */
  readonly messageSpecialUse: FolderRole;
  readonly uid: number | null;
  readonly messageId: string | null;
  readonly inReplyTo: string | null;
  readonly references: readonly string[];
  readonly subject: string;
  readonly from: readonly Address[];
  readonly replyTo: readonly Address[];
  readonly to: readonly Address[];
  readonly cc: readonly Address[];
  readonly bcc: readonly Address[];
  /** How many addresses To, Cc and Bcc name; more than are listed where `defects` says `recipients_truncated`. */
  readonly recipientsTotal: number;
  readonly sentAt: string | null;
  readonly receivedAt: string;
  readonly sizeBytes: number;
  readonly flags: Flags;
  readonly attachments: readonly AttachmentInfo[];
  readonly snippet: string | null;
  readonly traits: readonly Trait[];
  readonly defects: readonly Defect[];
}

/** What is on record about a message, from which it is told. */
export interface MessageRecord {
  readonly id: MessageId;
  readonly threadId: ThreadId;
  readonly mailboxId: MailboxId;
  readonly account: string | null;
  readonly direction: Direction;
  readonly main: { readonly folderId: FolderId; readonly path: string; readonly role: FolderRole; readonly ref: string | null };
  readonly envelope: Envelope;
  readonly flags: Flags;
  readonly sizeBytes: number;
  readonly receivedAt: Date;
  readonly attachments: readonly AttachmentInfo[];
  readonly snippet: string | null;
  readonly traits: readonly Trait[];
  readonly defects: readonly Defect[];
  readonly recipientsTotal: number | null;
}

/** A message in the words of events and of the API, which are the same. */
export function toToldMessage({ main, envelope, receivedAt, ...record }: MessageRecord): ToldMessage {
  const { references, inReplyTo, messageId, subject, from, replyTo, to, cc, bcc, sentAt } = envelope;
  return {
    id: record.id,
    threadId: record.threadId,
    mailboxId: record.mailboxId,
    account: record.account,
    direction: record.direction,
    path: main.path,
    folderId: main.folderId,
    specialUse: main.role,
    messageSpecialUse: main.role,
    uid: main.ref !== null && /^\d+$/.test(main.ref) ? Number(main.ref) : null,
    messageId,
    inReplyTo,
    references,
    subject,
    from,
    replyTo,
    to,
    cc,
    bcc,
    recipientsTotal: record.recipientsTotal ?? to.length + cc.length + bcc.length,
    sentAt,
    receivedAt: receivedAt.toISOString(),
    sizeBytes: record.sizeBytes,
    flags: record.flags,
    attachments: record.attachments,
    snippet: record.snippet,
    traits: record.traits,
    defects: record.defects,
  };
}

/** What a customer is told, type by type. The envelope around it (id, mailbox, sequence, time) is the same for all. */
export type EventData =
  | { readonly type: "message.created"; readonly message: ToldMessage }
  | {
      readonly type: "message.updated";
      readonly message: ToldMessage;
      readonly changes: { readonly flags?: { readonly added: Flags; readonly removed: Flags }; readonly movedTo?: string };
    }
  | { readonly type: "message.deleted"; readonly message: Pick<ToldMessage, "id" | "threadId" | "mailboxId" | "account" | "messageId"> }
  | { readonly type: "thread.merged"; readonly threadId: ThreadId; readonly mergedInto: ThreadId }
  | { readonly type: "folder.created" | "folder.deleted"; readonly folder: ToldFolder }
  | {
      readonly type: "folder.updated";
      readonly folder: ToldFolder;
      /** The path it had before; its messages went with it, and none of them is told. Left out where only its role changed. */
      readonly changes?: { readonly renamedFrom: string };
    }
  | { readonly type: "mailbox.connected"; readonly email: string }
  | { readonly type: "mailbox.disconnected" }
  | { readonly type: "mailbox.error"; readonly problem: Problem }
  | { readonly type: "mailbox.recovered" }
  | { readonly type: "mailbox.sync_completed"; readonly folders: number; readonly messages: number }
  | { readonly type: "mailbox.sync_reset"; readonly path: string }
  | { readonly type: "webhook.disabled"; readonly endpointId: WebhookEndpointId; readonly reason: string }
  | { readonly type: "webhook.test"; readonly endpointId: WebhookEndpointId };

export interface ToldFolder {
  readonly id: FolderId;
  readonly path: string;
  readonly role: FolderRole;
}

export type EventType = EventData["type"];

export const eventTypes = [
  "message.created",
  "message.updated",
  "message.deleted",
  "thread.merged",
  "folder.created",
  "folder.updated",
  "folder.deleted",
  "mailbox.connected",
  "mailbox.disconnected",
  "mailbox.error",
  "mailbox.recovered",
  "mailbox.sync_completed",
  "mailbox.sync_reset",
  "webhook.disabled",
  "webhook.test",
] as const satisfies readonly EventType[];
