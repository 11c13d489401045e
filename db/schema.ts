import type { ColumnType, Generated, JSONColumnType } from "kysely";
import type { ContentPlan } from "../domain/content-plan.ts";
import type { Defect } from "../domain/defects.ts";
import type { Self } from "../domain/direction.ts";
import type { MailErrorCode, Problem } from "../domain/errors.ts";
import type { EventType } from "../domain/events.ts";
import type { FolderRole, RoleSource } from "../domain/folder.ts";
import type {
  AccessKeyId,
  BlobKey,
  ConnectionTestId,
  CustomerId,
  EventId,
  FolderId,
  MailboxId,
  MessageActionId,
  MessageId,
  ThreadId,
  WebhookDeliveryId,
  WebhookEndpointId,
} from "../domain/ids.ts";
import type { StoredStatus } from "../domain/mailbox.ts";
import type { AttachmentInfo, Direction, Envelope, TextPart } from "../domain/message.ts";
import type { BegunStep, ItemState, MessageAction } from "../domain/message-action.ts";
import type { SyncCursor } from "../domain/sync.ts";
import type { SyncSettings } from "../domain/sync-settings.ts";
import type { Trait } from "../domain/traits.ts";
import type { Sealed } from "./secrets.ts";

/** An instant: a Date when read, a Date or an ISO text when written. */
type Instant = ColumnType<Date, Date | string, Date | string>;
type InstantOrNull = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
/** jsonb: read as the value, written as its JSON text. */
type Json<T extends object> = JSONColumnType<T>;
type JsonOrNull<T extends object> = ColumnType<T | null, string | null | undefined, string | null>;
type TextOrNull = ColumnType<string | null, string | null | undefined, string | null>;
type CreatedAt = ColumnType<Date, Date | string | undefined, never>;

export interface CustomersTable {
  id: CustomerId;
  name: string;
  created_at: CreatedAt;
}

export interface AccessKeysTable {
  id: AccessKeyId;
  customer_id: CustomerId | null;
  role: "administrator" | "customer";
  name: string;
  /** The first characters of the key, for recognising it in a list. */
  prefix: string;
  /** SHA-256 of the whole key: it has 256 random bits, so a slow hash would add nothing. */
  hash: Buffer;
  scopes: string[];
  mailbox_id: MailboxId | null;
  expires_at: InstantOrNull;
  last_used_at: InstantOrNull;
  revoked_at: InstantOrNull;
  created_at: CreatedAt;
}

export interface AuditLogTable {
  id: string;
  customer_id: CustomerId | null;
  mailbox_id: MailboxId | null;
  actor: string;
  action: string;
  target: string;
  details: Json<Record<string, unknown>>;
  request_id: string | null;
  created_at: CreatedAt;
}

export interface IdempotencyKeysTable {
  customer_id: string;
  key: string;
  request_hash: Buffer;
  status: number | null;
  response: JsonOrNull<{ readonly body: unknown; readonly headers: Readonly<Record<string, string>> }>;
  created_at: CreatedAt;
}

export interface MailboxesTable {
  id: MailboxId;
  customer_id: CustomerId;
  external_id: string | null;
  email: string;
  display_name: string | null;
  provider: string;
  settings: Json<Record<string, unknown>>;
  sync: Json<SyncSettings>;
  aliases: Generated<string[]>;
  own_domains: Generated<string[]>;
  status: Generated<StoredStatus>;
  is_paused: Generated<boolean>;
  problem: JsonOrNull<Problem>;
  confirmed_address: string | null;
  event_sequence: Generated<number>;
  /** What the last event carries as its transaction: those after it never carry less. */
  event_tx: Generated<string>;
  idle_shard: number | null;
  watch_state: Generated<"off" | "connecting" | "watching" | "unsupported">;
  watch_since: InstantOrNull;
  anchored_at: InstantOrNull;
  import_total: Generated<number>;
  import_done: Generated<number>;
  import_started_at: InstantOrNull;
  import_finished_at: InstantOrNull;
  last_success_at: InstantOrNull;
  /** What had no place in any folder before this instant is gone: written by a search of all folders (ADR 0020). */
  gone_before: InstantOrNull;
  last_attempt_at: InstantOrNull;
  next_due_at: InstantOrNull;
  /** The settings that what is stored agrees with; null before the first look. */
  settled_sync: JsonOrNull<SyncSettings>;
  /** The further addresses by which directions of what is stored were judged. */
  settled_self: JsonOrNull<Omit<Self, "email">>;
  /** What the kept content of stored messages agrees with, or is being brought in line with. */
  content_plan: JsonOrNull<ContentPlan>;
  retained_at: InstantOrNull;
  /** Cursors of the feed of changes from before this transaction are too old. */
  changes_floor: Generated<string>;
  deleted_at: InstantOrNull;
  created_at: CreatedAt;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface CredentialsTable {
  mailbox_id: MailboxId;
  customer_id: CustomerId;
  sealed: Json<Sealed>;
  /** When the access token in it ends; null for passwords. */
  expires_at: InstantOrNull;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface IdleShardsTable {
  shard: number;
  alive_at: InstantOrNull;
}

export interface FoldersTable {
  id: FolderId;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  path: string;
  name: string;
  delimiter: string;
  role: FolderRole;
  role_source: RoleSource;
  is_selectable: boolean;
  is_synced: boolean;
  cursor: JsonOrNull<SyncCursor>;
  history_cursor: JsonOrNull<SyncCursor>;
  import_state: Generated<"pending" | "importing" | "complete">;
  /** A listing was complete once: what a later listing finds that the registry does not know is new mail. */
  was_complete: Generated<boolean>;
  import_total: Generated<number>;
  import_done: Generated<number>;
  generation: Generated<number>;
  /** Counts our own writes to it: a page that was read before one of them is out of date. */
  writes: Generated<number>;
  total: Generated<number>;
  unseen: Generated<number>;
  problem: JsonOrNull<Problem>;
  checked_at: InstantOrNull;
  /** Set while settings have the folder listed: what it received before this is told to nobody. */
  quiet_before: InstantOrNull;
  /** The provider's id of the folder that stays when it is renamed (MAILBOXID), where there is one. */
  stable_id: TextOrNull;
  /** Removals that the brake holds back, since when, and how many. */
  held_since: InstantOrNull;
  held_count: Generated<number>;
  /** How often the server began the folder anew, within a day from `resets_since`; too often, and it is left alone until `rests_until`. */
  resets: Generated<number>;
  resets_since: InstantOrNull;
  rests_until: InstantOrNull;
  /** When the places on record were last counted against the server's total, and since when they differ. */
  counted_at: InstantOrNull;
  miscounted_since: InstantOrNull;
  created_at: CreatedAt;
}

export interface MessagesTable {
  id: MessageId;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  thread_id: ThreadId;
  /** 64 bits that stand for the subject by which answers without references may find the message. */
  subject_key: ColumnType<string | null, string | null | undefined, string | null>;
  /** It answers something by its subject and names nothing that it answers. */
  is_bare_reply: Generated<boolean>;
  message_id: string | null;
  envelope: Json<Envelope>;
  subject: string;
  flags: string[];
  size_bytes: number;
  received_at: Instant;
  attachments: ColumnType<readonly AttachmentInfo[], string, string>;
  text_part: JsonOrNull<TextPart>;
  snippet: string | null;
  traits: ColumnType<readonly Trait[], string | undefined, string>;
  defects: Generated<readonly Defect[]>;
  /** Addresses of To, Cc and Bcc, where the envelope keeps fewer. */
  recipients_total: Generated<number | null>;
  direction: Direction;
  special_use: FolderRole;
  main_folder_id: FolderId | null;
  main_ref: string | null;
  /** What classifyMessages has to do with it: tell it, tell a change, see whether it is gone, nothing. */
  state: "fetched" | "changed" | "missing" | "settled";
  /** When message.created was told; null for history. */
  told_at: InstantOrNull;
  is_deleted: Generated<boolean>;
  /** What has to be done about its content; null where the settings keep none. */
  content_state: Generated<"pending" | "kept" | "failed" | null>;
  /** Nothing is left of it but its place in the registry: settings do not want it any more. Always deleted as well. */
  is_forgotten: Generated<boolean>;
  /** Since when it has no place; only read while the state is `missing`. */
  missing_since: InstantOrNull;
  /** It lost its place before anybody was told of it: when it turns up, it is new. */
  is_untold: Generated<boolean>;
  /** The words by which it is found (domain/search-terms.ts); null until they are written. */
  terms: ColumnType<string | null, string | null | undefined, string | null>;
  /** The transaction that changed the row last: the database sees to it. */
  revision: ColumnType<string, never, never>;
  created_at: CreatedAt;
}

export interface ThreadsTable {
  id: ThreadId;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  /** When the newest message that still lies somewhere was received; null when none does, and for merged threads. */
  last_at: InstantOrNull;
  /** The thread that this one proved to be part of: never itself a merged one. */
  merged_into: ThreadId | null;
  /** No message carries a merged thread's id any more. */
  is_moved: Generated<boolean>;
}

export interface ThreadKeysTable {
  mailbox_id: MailboxId;
  /** 64 bits of a hash: a text in JavaScript, which has no such numbers. */
  key: string;
  /** As it was when the key was first seen: threads.merged_into leads on. */
  thread_id: ThreadId;
  subject: number;
  /** All hashes of subjects, the first one among them, where there is more than one. */
  subjects: number[] | null;
}

export interface MessageLocationsTable {
  folder_id: FolderId;
  ref: string;
  message_id: MessageId;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  flags: string[];
  generation: number;
  /** The message's own; the database fills it in where an insert leaves it out. */
  received_at: InstantOrNull;
}

/** Messages that could not be fetched or stored, by folder and ref. */
export interface SkippedMessagesTable {
  folder_id: FolderId;
  ref: string;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  code: MailErrorCode;
  /** The server's or the database's own words, if they quote no content. */
  reason: string | null;
  attempts: Generated<number>;
  next_attempt_at: Instant;
  /** Told if it was received since then: `-infinity` always, `infinity` never. */
  tells_from: Generated<Date | number>;
  created_at: CreatedAt;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface MessageTextsTable {
  message_id: MessageId;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  text: string;
  /** The message says more than is kept. */
  is_truncated: boolean;
  /** Kept because the mailbox's settings say so, not only for as long as a delivery may want it. */
  is_kept: Generated<boolean>;
  /** What the person wrote, without quotes and signature; null where nobody looked for it. */
  reply: string | null;
  created_at: CreatedAt;
}

export interface MessageBlobsTable {
  key: BlobKey;
  customer_id: CustomerId;
  mailbox_id: MailboxId;
  message_id: MessageId;
  /** A part's number; empty for the whole source. */
  part: string;
  content_type: string;
  size_bytes: number;
  sha256: Buffer;
  /** Opens this blob, sealed under the ring. */
  sealed_key: Json<Sealed>;
  created_at: CreatedAt;
}

/** Blobs that are to be removed from the store: they have no row of their own, or not yet. */
export interface BlobRemovalsTable {
  key: BlobKey;
  due_at: ColumnType<Date, Date | string | undefined, Date | string>;
  attempts: Generated<number>;
}

export interface EventsTable {
  id: EventId;
  customer_id: CustomerId;
  mailbox_id: MailboxId | null;
  /** Counts the mailbox's events from 1 without gaps. */
  sequence: number | null;
  type: EventType;
  data: Json<Record<string, unknown>>;
  tx: Generated<string>;
  position: Generated<number>;
  created_at: CreatedAt;
}

export interface WebhookEndpointsTable {
  id: WebhookEndpointId;
  customer_id: CustomerId;
  url: string;
  description: Generated<string>;
  event_types: string[] | null;
  mailbox_ids: string[] | null;
  includes_text: Generated<boolean>;
  sealed_secrets: Json<Sealed>;
  is_enabled: Generated<boolean>;
  disabled_reason: string | null;
  failing_since: InstantOrNull;
  /** True while its relay is at work or has been signalled: who inserts deliveries need not signal again. */
  is_awake: Generated<boolean>;
  /** While a process that told an event drains by itself: until when it may at most. */
  drained_until: InstantOrNull;
  deleted_at: InstantOrNull;
  created_at: CreatedAt;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
}

export interface DeliveryAttempt {
  readonly at: string;
  readonly durationMs: number;
  readonly status: number | null;
  /** Why it failed, in a few words; null for a success. */
  readonly error: string | null;
}

export interface WebhookDeliveriesTable {
  id: WebhookDeliveryId;
  customer_id: CustomerId;
  endpoint_id: WebhookEndpointId;
  event_id: EventId;
  mailbox_id: MailboxId | null;
  lane: string;
  position: Generated<number>;
  state: Generated<"pending" | "delivered" | "failed">;
  is_replay: Generated<boolean>;
  attempts: ColumnType<readonly DeliveryAttempt[], string | undefined, string>;
  attempt_count: Generated<number>;
  next_attempt_at: ColumnType<Date, Date | string | undefined, Date | string>;
  delivered_at: InstantOrNull;
  created_at: CreatedAt;
}

export interface ConnectionTestsTable {
  id: ConnectionTestId;
  customer_id: CustomerId;
  mailbox_id: MailboxId | null;
  provider: string;
  email: string;
  sealed_request: JsonOrNull<Sealed>;
  report: JsonOrNull<Record<string, unknown>>;
  created_at: CreatedAt;
}

export interface MessageActionsTable {
  id: MessageActionId;
  customer_id: CustomerId;
  /** Set where the request concerns one mailbox only. */
  mailbox_id: MailboxId | null;
  action: Json<MessageAction>;
  when_away: "refuse" | "queue";
  created_at: CreatedAt;
  expires_at: Instant;
}

export interface MessageActionItemsTable {
  action_id: MessageActionId;
  message_id: MessageId;
  customer_id: CustomerId;
  mailbox_id: MailboxId | null;
  position: Generated<number>;
  state: ItemState;
  /** Places of the message at which the action was carried out. */
  steps_done: Generated<number>;
  /** What is under way at the server, noted before it was begun. */
  step: JsonOrNull<BegunStep>;
  problem: JsonOrNull<Problem>;
}

/** Every table, as kysely sees it. */
export interface Tables {
  customers: CustomersTable;
  access_keys: AccessKeysTable;
  audit_log: AuditLogTable;
  idempotency_keys: IdempotencyKeysTable;
  mailboxes: MailboxesTable;
  credentials: CredentialsTable;
  idle_shards: IdleShardsTable;
  folders: FoldersTable;
  messages: MessagesTable;
  threads: ThreadsTable;
  thread_keys: ThreadKeysTable;
  message_locations: MessageLocationsTable;
  skipped_messages: SkippedMessagesTable;
  message_texts: MessageTextsTable;
  message_blobs: MessageBlobsTable;
  blob_removals: BlobRemovalsTable;
  events: EventsTable;
  webhook_endpoints: WebhookEndpointsTable;
  webhook_deliveries: WebhookDeliveriesTable;
  connection_tests: ConnectionTestsTable;
  message_actions: MessageActionsTable;
  message_action_items: MessageActionItemsTable;
}
