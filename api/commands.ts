import type { ConnectionTestId, CustomerId, MailboxId, MessageId, WebhookEndpointId } from "../domain/ids.ts";
import type { FolderChange } from "../workflows/folder-change.ts";
import type { CountFoldersInput, FolderCounts } from "../workflows/folder-counts.ts";
import type { TaskQueue } from "../workflows/names.ts";

export type MailboxCommand = "sync" | "pause" | "resume" | "resync" | "reconnect";

/** Which mailbox a workflow is for, with what operators search by. */
export interface MailboxTarget {
  readonly id: MailboxId;
  readonly customerId: CustomerId;
  readonly provider: string;
}

/**
 * What the API asks of the workflows. Each call returns when it was done or durably taken, and throws `service_unavailable` when Temporal or the
 * workers do not answer in time.
 */
export interface Commands {
  /** Starts the mailbox's workflow, or wakes the one that runs. */
  connect(mailbox: MailboxTarget): Promise<void>;
  /** Carries out a command and waits until the mailbox's row says so; starts the workflow if it was lost. */
  command(mailbox: MailboxTarget, command: MailboxCommand): Promise<void>;
  /** Ends the mailbox's workflow and waits for its last words. */
  disconnect(mailbox: MailboxTarget, options: { readonly purge: boolean }): Promise<void>;
  /** Says that the row's settings or credentials changed. */
  settingsChanged(mailbox: MailboxTarget): Promise<void>;
  /** Has what waits for these mailboxes' messages carried out, and returns once all of it was tried. */
  carryOutActions(mailboxes: readonly MailboxTarget[]): Promise<void>;
  /** Creates, renames or deletes a folder at its server, and in the store. */
  changeFolder(mailboxId: MailboxId, change: FolderChange, requestId: string): Promise<void>;
  /** Asks a mailbox's server how many messages folders hold; what it does not tell in time is left out. */
  countFolders(input: CountFoldersInput, requestId: string): Promise<FolderCounts>;
  /** Starts or wakes the relay of a webhook endpoint. */
  wakeRelay(endpointId: WebhookEndpointId): Promise<void>;
  /** Runs a stored connection test; its report is in the row afterwards. */
  testConnection(testId: ConnectionTestId): Promise<void>;
  /** Fetches a message's text from its server into the database. */
  fetchText(messageId: MessageId): Promise<void>;
  /** Finds out a domain's mail servers. */
  autodetect(domain: string, requestId: string): Promise<unknown>;
  /** Whether Temporal answers. */
  ping(): Promise<void>;
  /** Whether a worker has asked for work of this queue lately. */
  hasPoller(queue: TaskQueue): Promise<boolean>;
}
