import type { MailErrorCode } from "./errors.ts";
import type { Flags, RemoteMessage } from "./message.ts";

/**
 * What has a cursor of its own: a folder in IMAP and Graph, the whole mailbox in Gmail. The provider says which; sync code does not care.
 */
export interface SyncScope {
  readonly path: string;
}

/** Opaque outside its provider's folder; plain JSON, because it is stored beside the rows it accounts for. */
export type SyncCursor = Readonly<Record<string, unknown>>;

/** A message we listed before whose flags are now these. Providers may repeat flags that did not change. */
export interface FlagChange {
  readonly ref: string;
  readonly flags: Flags;
}

/**
 * Numeric refs as ascending, disjoint, closed ranges: `[[1, 400], [402, 910]]`. A million messages are a handful of pairs, so a complete
 * listing stays small in memory and is one parameter in SQL.
 */
export type RefRanges = readonly (readonly [number, number])[];

/** A message that is there and that the provider would not give in any form: no reason to stop, and to be asked for again later (`fetchMessages`). */
export interface SkippedMessage {
  readonly ref: string;
  readonly code: MailErrorCode;
  readonly serverSaid: string | null;
}

/** What happened in a scope since a cursor. Committed together with its cursor, or not at all. */
export interface ChangePage {
  /** Messages that arrived since the cursor, oldest first. */
  readonly added: readonly RemoteMessage[];
  readonly flagChanges: readonly FlagChange[];
  readonly removed: readonly string[];
  /** New messages that could not be read. The cursor goes past them: they are never listed again by it. */
  readonly skipped: readonly SkippedMessage[];
  /** The complete listing of the scope, where the provider could only tell removals that way: a known ref outside of it is gone. */
  readonly present: RefRanges | undefined;
  readonly cursor: SyncCursor;
  /** True when another page is ready now. */
  readonly more: boolean;
  /**
   * True when nothing that was known about the scope holds any more: the first look, a changed UIDVALIDITY, an expired delta token, a history id
   * too old. A new listing begins (`historyCursor`), and what that listing has not named when it is complete is gone.
   */
  readonly reset: boolean;
  /** Where the listing of what was there before begins; only with `reset`. */
  readonly historyCursor: SyncCursor | undefined;
  /** How many messages the scope holds, as the server says. */
  readonly total: number;
}

/** A page of what was in the scope before we first looked, newest first. */
export interface HistoryPage {
  readonly messages: readonly RemoteMessage[];
  readonly skipped: readonly SkippedMessage[];
  readonly cursor: SyncCursor;
  readonly more: boolean;
}

/** Messages asked for by name. What is neither among them nor skipped is gone. */
export interface FetchedMessages {
  readonly messages: readonly RemoteMessage[];
  readonly skipped: readonly SkippedMessage[];
}

/** Whether a scope differs from its cursor, learned without reading it (IMAP STATUS). */
export interface ScopeState {
  readonly path: string;
  readonly changed: boolean;
  readonly total: number;
  readonly unseen: number;
  /** False where flags may have changed without these numbers showing it: only reading the scope thoroughly tells. */
  readonly countsFlags: boolean;
}

/** How far a mailbox's folders are listed: two counts of folders, two of messages. */
export interface ListingProgress {
  readonly folders: number;
  readonly foldersListed: number;
  readonly messages: number;
  readonly messagesListed: number;
}
