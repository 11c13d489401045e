import { Context } from "@temporalio/activity";
import type { Database } from "../db/database.ts";
import { listSyncFolders, type SyncFolder } from "../db/folder-sync.ts";
import { findWorkMailbox, recordImportFinished, recordImportProgress, type WorkMailbox } from "../db/mailbox-state.ts";
import { listingProgress, pendingWork } from "../db/pending-work.ts";
import { restAfterFailure } from "../db/rests.ts";
import {
  CursorMoved,
  type PageOwner,
  type PreparedMessage,
  type PreparedPage,
  prepareMessages,
  preparePage,
  storeHistory,
} from "../db/store-page.ts";
import { MailError, toProblem } from "../domain/errors.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { HistoryPage, ListingProgress, SyncCursor, SyncScope } from "../domain/sync.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { readFolder } from "./fetch-changes.ts";
import { withHeartbeat } from "./heartbeat.ts";
import { isFoldersOwn, ownerOf } from "./pages.ts";
import { type ReadAhead, readAhead } from "./read-ahead.ts";

export interface ImportHistoryResult {
  readonly imported: number;
  /** Messages that a listing asks to tell. */
  readonly unsettled: number;
  readonly missing: number;
  /** Events wait for a relay that sleeps. */
  readonly mustTell: boolean;
  /** How far the folders are listed, for operators; absent in histories of earlier releases. */
  readonly progress?: ListingProgress;
  /** False when a time slice ended before the listing did. */
  readonly isComplete: boolean;
}

interface ImportDependencies {
  readonly db: Database;
  readonly sessions: Sessions;
  readonly pageSize: number;
  /** Aborts when this process drains: the slice ends after the page at hand, and another worker goes on. */
  readonly draining: AbortSignal;
  /** An attempt has stored its first page: what is to be done about messages need not wait for the last. */
  readonly onFirstPage?: (mailboxId: MailboxId) => Promise<void>;
}

/** One activity lists for this long, so that operators see how far it is: a large mailbox costs a few events a minute while it is listed. */
const sliceMs = 60_000;
/** The mailbox's progress is written this often: it is read by people. */
const progressEveryMs = 500;

/**
 * Lists what was in the folders before the first look, newest first, until all is listed or the slice ends. Resumable to the page: the cursor is stored
 * with the rows, so a retry goes on where the last commit was.
 */
export async function importHistory(deps: ImportDependencies, input: { readonly mailboxId: MailboxId }): Promise<ImportHistoryResult> {
  const mailbox = await findWorkMailbox(deps.db, input.mailboxId);
  if (mailbox === undefined) return { imported: 0, unsettled: 0, missing: 0, mustTell: false, isComplete: true };
  const slice: Slice = { endsAt: Date.now() + sliceMs, folder: null, imported: 0 };
  await withHeartbeat(
    () => deps.sessions.use(mailbox, (provider) => importSlice(deps, mailbox, provider, slice)),
    () => ({ folder: slice.folder, imported: slice.imported }),
  );
  return concludeImport(deps.db, mailbox, slice.imported);
}

/** Writes down how far the listing is, and says what is left to do. */
async function concludeImport(db: Database, mailbox: WorkMailbox, imported: number): Promise<ImportHistoryResult> {
  await recordImportProgress(db, mailbox.id);
  // Asked of the store: another attempt may have listed what this one did not.
  const { unsettled, missing, mustTell, needsImport } = await pendingWork(db, mailbox);
  if (!needsImport) await recordImportFinished(db, mailbox);
  const progress = await listingProgress(db, mailbox.id);
  return { imported, unsettled, missing, mustTell: mustTell || !needsImport, isComplete: !needsImport, progress };
}

/** A mailbox with no more than this is listed while it is opened: a page or two, which cost less than the hops of an activity of their own. */
const shortMax = 1_000;
const shortSliceMs = 10_000;

/**
 * Lists a mailbox that is small enough to be listed at once, on the connection that is open already. Returns how many messages that were. What it does
 * not come to, or fails at, is left to importHistory.
 */
export async function importShortHistory(deps: ImportDependencies, mailbox: WorkMailbox, provider: MailProvider): Promise<number> {
  const { messages, foldersListed, folders } = await listingProgress(deps.db, mailbox.id);
  if (messages > shortMax || foldersListed === folders) return 0;
  const slice: Slice = { endsAt: Date.now() + shortSliceMs, folder: null, imported: 0, isBrief: true };
  try {
    await importSlice(deps, mailbox, provider, slice);
  } catch (error) {
    if (!(error instanceof MailError)) throw error;
  }
  await recordImportProgress(deps.db, mailbox.id);
  return slice.imported;
}

/** One run of the activity, and how far it is. */
interface Slice {
  readonly endsAt: number;
  /** Pages are read on the connection for what is new. */
  readonly isBrief?: boolean;
  folder: FolderId | null;
  imported: number;
}

async function importSlice(deps: ImportDependencies, mailbox: WorkMailbox, provider: MailProvider, slice: Slice): Promise<void> {
  const { cancellationSignal: signal } = Context.current();
  const progress = progressWriter(deps.db, mailbox);
  const owner = ownerOf(mailbox);
  const options = { limit: deps.pageSize, signal, receivedFrom: owner.rules.keptFrom, isBrief: slice.isBrief ?? false };
  const folders = (await listSyncFolders(deps.db, mailbox.id)).filter(isListing);
  const read = (folder: ListingFolder, onPulled: () => void) =>
    readAhead(preparePages(owner, folder, readAhead(pullPages(provider, { path: folder.path }, folder.historyCursor, options, onPulled))));
  const ahead = folderAhead(folders, read);
  try {
    for (const folder of folders) {
      const pages = ahead.take(folder);
      slice.folder = folder.id;
      try {
        for await (const listed of importFolder(deps, owner, folder, pages, slice)) {
          if (slice.imported === 0 && listed > 0) await deps.onFirstPage?.(mailbox.id);
          slice.imported += listed;
          await progress();
        }
        if (isOver(deps, slice)) return;
        await compareWithServer(deps, mailbox, provider, folder, signal);
      } catch (error) {
        await passOver(deps.db, folder, provider, error);
      }
    }
  } finally {
    await ahead.end();
  }
}

/** A folder's first page is fetched while the last ones of the folder before are stored; a mailbox of many small folders is no further ahead than that. */
function folderAhead(folders: readonly ListingFolder[], read: (folder: ListingFolder, onPulled: () => void) => ReadAhead<PreparedHistory>) {
  const begun = new Map<ListingFolder, ReadAhead<PreparedHistory>>();
  const pulled = new Set<ListingFolder>();
  let current: ListingFolder | undefined;
  const begin = (folder: ListingFolder): ReadAhead<PreparedHistory> => {
    const pages = begun.get(folder) ?? read(folder, () => onPulled(folder));
    begun.set(folder, pages);
    return pages;
  };
  const onPulled = (folder: ListingFolder): void => {
    pulled.add(folder);
    if (folder === current) beginNext(folder);
  };
  const beginNext = (folder: ListingFolder): void => {
    const next = folders[folders.indexOf(folder) + 1];
    if (next !== undefined) begin(next);
  };
  return {
    take(folder: ListingFolder): ReadAhead<PreparedHistory> {
      current = folder;
      const pages = begin(folder);
      if (pulled.has(folder)) beginNext(folder);
      return pages;
    },
    async end(): Promise<void> {
      for (const pages of begun.values()) await pages.return();
    },
  };
}

/** A folder of which a listing is under way. */
type ListingFolder = SyncFolder & { readonly historyCursor: SyncCursor };

function isListing(folder: SyncFolder): folder is ListingFolder {
  return folder.importState === "importing" && folder.historyCursor !== null && !folder.isResting;
}

function isOver({ draining }: ImportDependencies, { endsAt }: Slice): boolean {
  return Date.now() > endsAt || draining.aborted;
}

/** A folder that cannot be listed does not keep the others from it: it says why, and is tried again in a while. Whatever else fails, rises. */
async function passOver(db: Database, folder: SyncFolder, provider: MailProvider, error: unknown): Promise<void> {
  const isItsOwn = error instanceof MailError && (isFoldersOwn(error) || error.code === "not_found");
  if (!isItsOwn || !provider.isUsable()) throw error;
  await restAfterFailure(db, folder.id, toProblem(error, new Date().toISOString()));
}

/**
 * Once a folder is listed, its places are compared with all that the server holds: a message that was removed while its page was under way was taken
 * off the live cursor's count before it was stored, and would stay for ever. Not where the live cursor has stood still since before the folder's
 * very first page: it has taken nothing off, and what went meanwhile it will find by its count.
 */
async function compareWithServer(
  deps: ImportDependencies,
  mailbox: WorkMailbox,
  provider: MailProvider,
  before: SyncFolder,
  signal: AbortSignal,
): Promise<void> {
  const folder = (await listSyncFolders(deps.db, mailbox.id)).find(({ path }) => path === before.path);
  if (folder === undefined) return;
  const isFirst = before.generation === 1 && before.importDone === 0 && folder.generation === 1;
  // Both as the database gave them, whose JSON has one order of members.
  if (isFirst && JSON.stringify(folder.cursor) === JSON.stringify(before.cursor)) return;
  await readFolder(deps, mailbox, provider, folder, true, signal);
}

/**
 * The sizes of one folder's pages, one after the other as they are committed. While one is being committed, the next waits for that in the database, the
 * one after it is prepared and another fetched: mail server, database and this process work at the same time, and four pages are in memory.
 */
async function* importFolder(
  deps: ImportDependencies,
  owner: PageOwner,
  folder: SyncFolder,
  pages: ReadAhead<PreparedHistory>,
  slice: Slice,
): AsyncGenerator<number> {
  let storing: StoredPage | undefined;
  try {
    for await (const { previous, page, prepared } of pages) {
      const before = storing;
      if (before !== undefined && isOver(deps, slice)) break;
      storing = storePage((onTurn) => storeHistory(deps.db, owner, folder, previous, page, prepared, onTurn), page.messages.length);
      // The page before first: if it failed, this one only says that the cursor is not where it should be.
      if (before !== undefined) yield await before.done;
      await storing.turn;
    }
    if (storing !== undefined) yield await storing.done;
  } catch (error) {
    // A new listing began, or another attempt of this activity is at work: it goes on from what is stored.
    if (!(error instanceof CursorMoved)) throw error;
  } finally {
    // Whoever is done with the folder finds nobody at work on it.
    await storing?.done.catch(() => {});
  }
}

interface StoredPage {
  /** Its turn has come, or it has failed: the next page may queue behind it. */
  readonly turn: Promise<void>;
  /** Resolves with the page's size when it is committed. */
  readonly done: Promise<number>;
}

function storePage(store: (onTurn: () => void) => Promise<void>, size: number): StoredPage {
  const turn = Promise.withResolvers<void>();
  const done = store(turn.resolve)
    .finally(turn.resolve)
    .then(() => size);
  // Awaited in its turn; until then a failure must not count as unhandled.
  done.catch(() => {});
  return { turn: turn.promise, done };
}

interface PulledPage {
  readonly previous: SyncCursor;
  readonly page: HistoryPage;
}

/** `onPulled` is called when the last page is there. */
async function* pullPages(
  provider: MailProvider,
  scope: SyncScope,
  start: SyncCursor,
  options: Parameters<MailProvider["pullHistory"]>[2],
  onPulled: () => void,
): AsyncGenerator<PulledPage> {
  for (let previous = start; ; ) {
    const page = await provider.pullHistory(scope, previous, options);
    if (!page.more) onPulled();
    yield { previous, page };
    if (!page.more) return;
    previous = page.cursor;
  }
}

/** Messages that are prepared at once, some milliseconds' work: answers of the mail server and of the database do not wait for a whole page. */
const preparedAtOnce = 50;

interface PreparedHistory extends PulledPage {
  readonly prepared: PreparedPage;
}

async function* preparePages(owner: PageOwner, folder: SyncFolder, pages: AsyncIterable<PulledPage>): AsyncGenerator<PreparedHistory> {
  for await (const pulled of pages) {
    const { messages } = pulled.page;
    const prepared: PreparedMessage[] = [];
    for (let at = 0; at < messages.length; at += preparedAtOnce) {
      prepared.push(...prepareMessages(owner, folder, messages.slice(at, at + preparedAtOnce)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    yield { ...pulled, prepared: preparePage(prepared) };
  }
}

function progressWriter(db: Database, mailbox: WorkMailbox): () => Promise<void> {
  let writtenAt = 0;
  return async () => {
    if (Date.now() - writtenAt < progressEveryMs) return;
    writtenAt = Date.now();
    await recordImportProgress(db, mailbox.id);
  };
}
