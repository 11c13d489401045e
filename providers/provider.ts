import type { Readable } from "node:stream";
import type { z } from "zod";
import type { ReceivingFacts, SendingFacts } from "../domain/connection-report.ts";
import type { MailError } from "../domain/errors.ts";
import type { FolderRole, RemoteFolder } from "../domain/folder.ts";
import type { HostResolver } from "../domain/host.ts";
import type { Flags, RemoteMessage } from "../domain/message.ts";
import type { FlagsChange, WriteMark, WriteRef, WriteResult, WriteScope, WriteTarget } from "../domain/message-action.ts";
import type { ChangePage, FetchedMessages, HistoryPage, ScopeState, SyncCursor, SyncScope } from "../domain/sync.ts";

/** What a provider or one of its servers can do, stated once, so that nobody outside its folder asks which provider it is. */
export interface Capabilities {
  /** Changes are announced (`watch`), so polling is only a floor. */
  readonly push: boolean;
  /** Messages keep an id when they move. What a server can do is known once it was signed in to; until then this is false. */
  readonly stableIds: boolean;
  /** Connections that one account may hold at once, all of our lanes together. */
  readonly connectionsMax: number;
}

/** What `verify` learned: proof that the credentials open the mailbox they claim to. */
export type AccountReport = ReceivingFacts;

/** What a test of the sending side learned; settings that are not there are not tested. */
export type SendingReport = SendingFacts;

export interface PageOptions {
  /** Messages a page at most. */
  readonly limit: number;
  /**
   * Read what a hint cannot tell as well: flags where the server keeps no change counter, and always the complete listing (`present`). Slow, for the
   * poll floor, and for once after the last page of history: a message that was removed while its history page was under way shows in no other way.
   */
  readonly isThorough?: boolean;
  /** History received well before this need not be listed; a provider that cannot tell without reading it lists it all the same. */
  readonly receivedFrom?: Date | undefined;
  /** A page or two that somebody waits for: not worth a connection of their own. */
  readonly isBrief?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface WatchOptions {
  /** The folder that is announced at once; the others are asked in between. */
  readonly scope: SyncScope;
  /** What is known of each folder, so that what happened before the watch began is noticed. Asked anew at each check. */
  readonly knownCursors: () => Promise<ReadonlyMap<string, SyncCursor>>;
  /** How often the other folders are asked, and the connection proved alive. */
  readonly checkEveryMs: number;
  /** Something changed in these folders. Only a hint: the cursor is the truth. */
  readonly onChange: (paths: readonly string[]) => void;
  /** The server has answered just now. */
  readonly onAlive: () => void;
  readonly signal: AbortSignal;
}

/**
 * One open mailbox. Every method throws MailError and nothing else for what the provider or the network does; a method enters when a caller
 * needs it on two providers. Calls on one instance may be made at once; the provider puts them in order where its protocol must.
 */
export interface MailProvider {
  readonly capabilities: Capabilities;
  verify(signal?: AbortSignal): Promise<AccountReport>;
  listFolders(signal?: AbortSignal): Promise<readonly RemoteFolder[]>;
  /** Whether each scope differs from its cursor, without reading it. A scope that is gone is left out. */
  checkScopes(cursors: ReadonlyMap<string, SyncCursor>, signal?: AbortSignal): Promise<readonly ScopeState[]>;
  /** The next page of changes after `cursor`; without one, the first look: an empty page with `reset`. */
  pullChanges(scope: SyncScope, cursor: SyncCursor | undefined, options: PageOptions): Promise<ChangePage>;
  /** The next page, newest first, of what was there before the first look. */
  pullHistory(scope: SyncScope, cursor: SyncCursor, options: PageOptions): Promise<HistoryPage>;
  /** How many messages a folder holds; of those received since then about as many, days being what some servers know. */
  countMessages(scope: SyncScope, receivedFrom: Date | undefined, signal?: AbortSignal): Promise<number>;
  /** Messages by their refs, for those that a page had to skip: `cursor` is the scope's, under which the refs were given; under another none of them is there. */
  fetchMessages(scope: SyncScope, cursor: SyncCursor, refs: readonly string[], signal?: AbortSignal): Promise<FetchedMessages>;
  /** The readable text of messages just listed: at most `bytesMax` each, decoded; a message that is gone, or has no text part, is left out. */
  fetchTexts(
    scope: SyncScope,
    messages: readonly Pick<RemoteMessage, "ref" | "textPart">[],
    options: {
      readonly bytesMax: number;
      /** Nobody waits for it: it keeps clear of new mail's connection, where there is another. */
      readonly isBackground?: boolean;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<ReadonlyMap<string, string>>;
  /** The source (RFC 5322) as a stream. */
  openSource(scope: SyncScope, ref: string, signal?: AbortSignal): Promise<{ readonly sizeBytes: number; readonly stream: Readable }>;
  /** The whole sources of messages that are small enough to be held together; those that are gone, or that the server refuses to give, are left out. */
  fetchSources(scope: SyncScope, refs: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, Buffer>>;
  /** One part of a message by its number (`AttachmentInfo.part`), its transfer encoding undone, as a stream that is read as far as it is taken. */
  openPart(scope: SyncScope, ref: string, part: string, signal?: AbortSignal): Promise<{ readonly stream: Readable }>;
  /** Where a folder ends now. Kept by who moves or copies into it, so that after a crash only what came since is looked through. */
  markFolder(path: string, signal?: AbortSignal): Promise<WriteMark>;
  /**
   * The writes. Each answers for every message by ref: what is gone is `not_found`, what the server said no to is `refused`. They throw where nothing is
   * known of the outcome (a connection that broke), and `unavailable` where the folder's refs are no longer those of the cursor.
   */
  setFlags(
    scope: WriteScope,
    refs: readonly string[],
    change: FlagsChange,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, WriteResult<{ readonly flags: Flags }>>>;
  /** `ref` is the message's name in the target; null where the server does not tell. */
  move(
    scope: WriteScope,
    messages: readonly WriteRef[],
    target: WriteTarget,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, WriteResult<{ readonly ref: string | null }>>>;
  copy(
    scope: WriteScope,
    messages: readonly WriteRef[],
    target: WriteTarget,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, WriteResult<{ readonly ref: string | null }>>>;
  /** Deletes for good. */
  remove(scope: WriteScope, refs: readonly string[], signal?: AbortSignal): Promise<ReadonlyMap<string, WriteResult>>;
  /** Throws `folder_exists`. */
  createFolder(path: string, signal?: AbortSignal): Promise<void>;
  /** With everything below it. Throws `folder_exists` for the new path, `not_found` for the old one. */
  renameFolder(path: string, to: string, signal?: AbortSignal): Promise<void>;
  /** With the messages in it if `force` says so, else throws `folder_not_empty`, as it does where folders below it forbid it. */
  deleteFolder(path: string, options: { readonly force: boolean }, signal?: AbortSignal): Promise<void>;
  /** Resolves when `signal` aborts, rejects with the MailError that ended the watch otherwise. Uses a connection of its own. */
  watch(options: WatchOptions): Promise<void>;
  /** Hangs up connections that no call is using: another process needs their places. */
  yieldConnections(): Promise<void>;
  /** True while the next call can go ahead without connecting anew. */
  isUsable(): boolean;
  close(): Promise<void>;
}

/** What opening a mailbox needs, besides what the provider defined for itself. */
export interface OpenOptions {
  /** Refuses hosts in private networks, unless configured; resolves to the address that is then connected to. */
  readonly resolveHost: HostResolver;
  /** Asked before each connection; left out where nobody counts them, as in a test of settings that belong to no mailbox. */
  readonly takeConnection?: ConnectionTaker | undefined;
  /** Roles that the customer set by path, over whatever the server or the name says. */
  readonly roleOverrides: Readonly<Record<string, FolderRole>>;
  /** How long a server may take; the provider's own figures where left out. */
  readonly patience?: Partial<Patience> | undefined;
}

/** How long a mail server is waited for before its connection is given up. */
export interface Patience {
  /** For the connection, TLS and the greeting each. */
  readonly connectMs: number;
  /** For all of it until the account is signed in to: a server that says a byte a second is never silent, and no use either. */
  readonly signInMs: number;
  /** Silence while an answer is due; a large search may think for a while. */
  readonly silenceMs: number;
  /** For one call, however much is said meanwhile. */
  readonly callMs: number;
  /** How often a watch that hears nothing asks for a sign of life, at the latest. */
  readonly aliveEveryMs: number;
  /** For the sign of life. */
  readonly answerMs: number;
}

/** A place for one more connection to the account, of `max` over all processes; resolves to what gives it back. Throws `too_many_connections`. */
export type ConnectionTaker = (max: number, signal?: AbortSignal) => Promise<() => void>;

/** What a test of a connection found: each side's report, or the failure with cause and fix. */
export interface ConnectionReport {
  readonly receiving: AccountReport | MailError;
  readonly sending: SendingReport | MailError | undefined;
}

export interface NamedHost {
  readonly pointer: string;
  readonly host: string;
}

/**
 * A kind of provider. `Settings` may be shown and stored as they are; `Credentials` are sealed before they are stored. Adding a provider is adding
 * one of these to the list in providers/index.ts.
 */
export interface ProviderDefinition<Settings = unknown, Credentials = unknown> {
  readonly kind: string;
  /** The members of `POST /v1/mailboxes` that only this provider knows, besides `provider`, as a strict object. */
  readonly connectSchema: z.ZodObject;
  /** What connectSchema parsed, split into what may be seen and what is sealed. `email` is the mailbox's address. */
  split(parsed: unknown, email: string): { readonly settings: Settings; readonly credentials: Credentials };
  /** New members over stored ones: what a PATCH or a reconnect changes. */
  merge(
    stored: { readonly settings: Settings; readonly credentials: Credentials },
    changes: unknown,
    email: string,
  ): { readonly settings: Settings; readonly credentials: Credentials };
  /** The hosts that members of `POST /v1/mailboxes` or of a PATCH name, by where they name them (RFC 6901); left out where no customer names any. */
  namedHosts?(members: unknown): readonly NamedHost[];
  /** For credentials that hold an access token: a new one, and when it ends. Left out where credentials do not expire. */
  refresh?(
    settings: Settings,
    credentials: Credentials,
    signal?: AbortSignal,
  ): Promise<{ readonly credentials: Credentials; readonly expiresAt: Date }>;
  open(settings: Settings, credentials: Credentials, options: OpenOptions): MailProvider;
  test(settings: Settings, credentials: Credentials, options: OpenOptions, signal?: AbortSignal): Promise<ConnectionReport>;
}
