import { Context } from "@temporalio/activity";
import type { Database } from "../db/database.ts";
import { listSyncFolders, recordFolderCounts, recordFolderProblem, type SyncFolder, saveFolders } from "../db/folder-sync.ts";
import { findWorkMailbox, recordImportStarted, recordSuccess, type WorkMailbox } from "../db/mailbox-state.ts";
import { listingProgress, pendingWork } from "../db/pending-work.ts";
import { CursorMoved, type PageOwner, type PageTexts, storeChanges } from "../db/store-page.ts";
import { MailError, toProblem } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import type { RemoteMessage } from "../domain/message.ts";
import type { ListingProgress } from "../domain/sync.ts";
import { makeSnippet } from "../mime/snippet.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";

export interface FetchChangesInput {
  readonly mailboxId: MailboxId;
  /** The folders that something was heard of; null looks at all of them. */
  readonly paths: readonly string[] | null;
  /** Also learn what is cheap to miss: the list of folders, and flags where the server counts no changes. */
  readonly isThorough: boolean;
}

export interface FetchChangesResult {
  readonly isGone: boolean;
  /** Messages that wait for classifyMessages. */
  readonly unsettled: number;
  /** Messages that left a folder and were not found in another one yet. */
  readonly missing: number;
  /** A listing from the start has begun somewhere: importHistory has work. */
  readonly needsImport: boolean;
  /** Folders that could not be read while the others could; absent in histories of earlier releases. */
  readonly unread?: number;
  /** More pages wait; this call stopped to let what it found be told. */
  readonly more: boolean;
  /** Events wait for a relay that sleeps. */
  readonly mustTell: boolean;
  /** How far the folders are listed, for operators; left out where nothing about it can have changed. */
  readonly progress?: ListingProgress;
}

/** Live pages are small: the first messages of a burst are told while the rest is fetched. */
const livePageSize = 100;
/** Pages of one folder in one call at most. */
const pagesMax = 10;
/** What is read of a text to make a line of preview. */
const snippetBytes = 4_096;
/** What is told of a text at most: a webhook's body is no place for a book. */
const keptBytes = 64 * 1024;

export interface FetchDependencies {
  readonly db: Database;
  readonly sessions: Sessions;
}

/**
 * Brings the store up to what the server holds now, page by page, each page one transaction. What is left to judge and to tell is read from the
 * store at the end and not counted on the way: an attempt that died after its commit left work behind that its successor did not do.
 */
export async function fetchChanges(deps: FetchDependencies, input: FetchChangesInput): Promise<FetchChangesResult> {
  const mailbox = await findWorkMailbox(deps.db, input.mailboxId);
  if (mailbox === undefined) return { isGone: true, unsettled: 0, missing: 0, needsImport: false, more: false, mustTell: false };
  const read = await deps.sessions.use(mailbox, async (provider) => {
    const signal = Context.current().cancellationSignal;
    if (input.isThorough) await refreshFolders(deps.db, mailbox, provider, signal);
    const read = { more: false, unread: 0 };
    for (const folder of await foldersToRead(deps.db, provider, await listSyncFolders(deps.db, mailbox.id), input, signal)) {
      const outcome = await readFolder(deps, mailbox, provider, folder, input.isThorough, signal);
      if (outcome === "more") read.more = true;
      if (outcome === "unreadable") read.unread += 1;
    }
    return read;
  });
  await recordSuccess(deps.db, mailbox);
  const pending = await pendingWork(deps.db, mailbox);
  const isListed = input.paths !== null && !pending.needsImport;
  return { isGone: false, ...read, ...pending, ...(isListed ? {} : { progress: await listingProgress(deps.db, mailbox.id) }) };
}

async function refreshFolders(db: Database, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<void> {
  const listed = await provider.listFolders(signal);
  await db.transaction().execute((trx) => saveFolders(trx, { customerId: mailbox.customerId, mailboxId: mailbox.id }, listed, mailbox.sync));
}

/** The folders that differ from their cursors, in reading order. A folder that was never looked at always does. */
async function foldersToRead(
  db: Database,
  provider: MailProvider,
  folders: readonly SyncFolder[],
  input: FetchChangesInput,
  signal: AbortSignal,
): Promise<readonly SyncFolder[]> {
  if (input.paths !== null) return folders.filter((folder) => input.paths?.includes(folder.path));
  const known = folders.flatMap((folder) => (folder.cursor === null ? [] : [[folder.path, folder.cursor] as const]));
  const states = known.length === 0 ? [] : await provider.checkScopes(new Map(known), signal);
  const byPath = new Map(states.map((state) => [state.path, state]));
  await recordFolderCounts(
    db,
    folders.flatMap(({ id, path }) => {
      const state = byPath.get(path);
      return state === undefined ? [] : [{ id, total: state.total, unseen: state.unseen }];
    }),
  );
  return folders.filter((folder) => folder.cursor === null || byPath.get(folder.path)?.changed === true);
}

/** Reads one folder to its end, or for as many pages as one call may take. */
export async function readFolder(
  deps: FetchDependencies,
  mailbox: WorkMailbox,
  provider: MailProvider,
  start: SyncFolder,
  isThorough: boolean,
  signal: AbortSignal,
): Promise<"read" | "more" | "unreadable"> {
  let folder: SyncFolder | undefined = start;
  try {
    for (let pages = 0; folder !== undefined; pages += 1) {
      if (pages === pagesMax) return "more";
      const scope = { path: folder.path };
      const page = await provider.pullChanges(scope, folder.cursor ?? undefined, { limit: livePageSize, isThorough, signal });
      await storeChanges(deps.db, ownerOf(mailbox), folder, page, await textsOf(provider, scope, page.added, mailbox.tellsText, signal));
      if (page.reset) await recordImportStarted(deps.db, mailbox.id);
      if (!page.more) return "read";
      folder = await reload(deps.db, mailbox.id, folder.path);
    }
    return "read";
  } catch (error) {
    // Another call was here first: what it stored is stored, and the rest is read by whoever comes next.
    if (error instanceof CursorMoved) return "more";
    if (!(error instanceof MailError)) throw error;
    if (error.code === "not_found") {
      await refreshFolders(deps.db, mailbox, provider, signal);
      return "read";
    }
    // One folder that cannot be read does not keep the others from being read, as long as the connection lives.
    if (!isFoldersOwn(error) || !provider.isUsable()) throw error;
    await recordFolderProblem(deps.db, start.id, toProblem(error, new Date().toISOString()));
    return "unreadable";
  }
}

function isFoldersOwn(error: MailError): boolean {
  return error.code === "permission_denied" || error.code === "invalid_response" || error.code === "rejected";
}

async function reload(db: Database, mailboxId: MailboxId, path: string): Promise<SyncFolder | undefined> {
  return (await listSyncFolders(db, mailboxId)).find((folder) => folder.path === path);
}

/** The beginnings of new messages' texts: a line of preview, and more where an endpoint asks for it. */
async function textsOf(
  provider: MailProvider,
  scope: { readonly path: string },
  messages: readonly RemoteMessage[],
  isKept: boolean,
  signal: AbortSignal,
): Promise<PageTexts> {
  if (messages.length === 0) return { snippets: new Map(), kept: new Map() };
  const bytesMax = isKept ? keptBytes : snippetBytes;
  const texts = await provider.fetchTexts(scope, messages, { bytesMax, signal });
  const kept = [...texts].map(([ref, text]) => [ref, { text, isTruncated: Buffer.byteLength(text) >= bytesMax - 3 }] as const);
  return {
    snippets: new Map([...texts].map(([ref, text]) => [ref, makeSnippet(text)])),
    kept: new Map(isKept ? kept : []),
  };
}

/**
 * Looks at every folder that was never looked at. What lies in them now is history; what comes from here on is new. Only then is the mailbox connected:
 * whoever waits for that and sends a mail will be told of it.
 */
export async function anchorFolders(deps: FetchDependencies, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<void> {
  for (const folder of await listSyncFolders(deps.db, mailbox.id)) {
    if (folder.cursor === null) await readFolder(deps, mailbox, provider, folder, false, signal);
  }
}

/** Who the page belongs to. A listing's messages count as new from where the settings say, or from the second after the mailbox was connected. */
export function ownerOf(mailbox: WorkMailbox): PageOwner {
  const { notifyFrom } = mailbox.sync;
  return {
    mailboxId: mailbox.id,
    customerId: mailbox.customerId,
    self: mailbox.self,
    tellListedFrom: notifyFrom === null ? afterSecond(mailbox.anchoredAt) : new Date(notifyFrom),
  };
}

/**
 * INTERNALDATE knows no fractions (RFC 9051 §2.3.3): what carries the very second of the connection may be from before it, and was not missed, because
 * the folder's cursor stood by then. Undefined while the mailbox is not connected yet: all that is there is history.
 */
function afterSecond(instant: Date | null): Date | undefined {
  return instant === null ? undefined : new Date(Math.ceil((instant.getTime() + 1) / 1000) * 1000);
}
