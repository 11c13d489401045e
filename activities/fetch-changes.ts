import { Context } from "@temporalio/activity";
import type { Database } from "../db/database.ts";
import { countPlaces, foldersToCount, listMiscounted } from "../db/folder-counts.ts";
import {
  beginListing,
  type FolderDifference,
  listFolderCursors,
  listSyncFolders,
  recordFolderCounts,
  recordFolderProblem,
  type SyncFolder,
  saveFolders,
} from "../db/folder-sync.ts";
import { findWorkMailbox, recordImportStarted, recordSuccess, type WorkMailbox } from "../db/mailbox-state.ts";
import { type BegunLook, beginLook, recordSearch } from "../db/missing.ts";
import { listingProgress, pendingWork } from "../db/pending-work.ts";
import { CursorMoved, type FirstLook, storeChanges, storeFirstLooks } from "../db/store-page.ts";
import { MailError, toProblem } from "../domain/errors.ts";
import type { RemoteFolder } from "../domain/folder.ts";
import type { MailboxId } from "../domain/ids.ts";
import type { ListingProgress, ScopeState } from "../domain/sync.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { findRenames } from "./find-renames.ts";
import { isFoldersOwn, isRefusedForNow, ownerOf, textsOf } from "./pages.ts";
import { retrySkipped } from "./retry-skipped.ts";

export interface FetchChangesInput {
  readonly mailboxId: MailboxId;
  /** The folders that something was heard of; null looks at all of them. */
  readonly paths: readonly string[] | null;
  /** Also learn what is cheap to miss: the list of folders, and flags where the server counts no changes. */
  readonly isThorough: boolean;
  /** When all folders are looked at next, for readers; left out where that stays as it is. */
  readonly nextDueAt?: number;
}

export interface FetchChangesResult {
  readonly isGone: boolean;
  /** The mailbox was in error until this look. */
  readonly isBack?: true;
  /** Events that this call recorded itself; absent in histories of earlier releases, where it recorded none. */
  readonly told?: number;
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
  /** Look at all folders again after this long: something waits to be known for certain. Left out where nothing does. */
  readonly lookAgainMs?: number;
}

/** A search of all folders, in how many rounds it is given up: mail arrives faster than it can be read. */
const roundsMax = 3;
/** A folder that cannot be read may hold what is missing elsewhere, but not for ever. */
const unreadMarginMs = 24 * 60 * 60_000;
const lookAgainMsMax = 15_000;
/** Not sooner, even where something is due: a server that cannot list a folder now is given a moment. */
const againMsMin = 10_000;
/** Live pages are small: the first messages of a burst are told while the rest is fetched. */
const livePageSize = 100;
/** Pages of one folder in one call at most. */
const pagesMax = 10;
export interface FetchDependencies extends ReadDependencies {
  readonly sessions: Sessions;
  /** Judges what was stored and has it told; returns how many events that made. */
  readonly tell: (mailbox: WorkMailbox) => Promise<number>;
  /** How long a missing message may be on its way where no quiet search can tell. */
  readonly graceMs: number;
}

/** What reading a folder takes. */
export interface ReadDependencies {
  readonly db: Database;
}

/**
 * Brings the store up to what the server holds now, page by page, each page one transaction. What is left to judge and to tell is read from the
 * store at the end and not counted on the way: an attempt that died after its commit left work behind that its successor did not do.
 */
export async function fetchChanges(deps: FetchDependencies, input: FetchChangesInput): Promise<FetchChangesResult> {
  const mailbox = await findWorkMailbox(deps.db, input.mailboxId);
  if (mailbox === undefined) return { isGone: true, unsettled: 0, missing: 0, needsImport: false, more: false, mustTell: false };
  const signal = Context.current().cancellationSignal;
  const look = await deps.sessions.use(mailbox, (provider) => lookAt(deps, mailbox, provider, input, signal));
  return concludeLook(deps, mailbox, look, input);
}

/** Writes down that a look succeeded, and says what is left to do after it. */
export async function concludeLook(
  { db, graceMs }: Pick<FetchDependencies, "db" | "graceMs">,
  mailbox: WorkMailbox,
  look: Omit<Look, "differed">,
  { paths, nextDueAt }: Pick<FetchChangesInput, "paths" | "nextDueAt">,
): Promise<FetchChangesResult> {
  await recordSuccess(db, mailbox, nextDueAt === undefined ? undefined : new Date(nextDueAt));
  const { heldForMs, restsForMs, skippedForMs, ...pending } = await pendingWork(db, mailbox);
  const searchMs = pending.missing > 0 && look.isComplete ? [Math.min(graceMs / 4, lookAgainMsMax)] : [];
  const dueMs = [heldForMs, restsForMs, skippedForMs].flatMap((ms) => (ms === null ? [] : [Math.max(ms, againMsMin)]));
  const waits = [...searchMs, ...dueMs];
  return {
    isGone: false,
    more: look.more,
    unread: look.unread,
    ...(look.told > 0 ? { told: look.told } : {}),
    ...(mailbox.status === "error" ? { isBack: true } : {}),
    ...pending,
    ...(paths !== null && !pending.needsImport ? {} : { progress: await listingProgress(db, mailbox.id) }),
    ...(waits.length > 0 ? { lookAgainMs: Math.ceil(Math.min(...waits)) } : {}),
  };
}

/** What one look came upon. */
interface Look {
  /** Pages are left that one call had no time for. */
  readonly more: boolean;
  readonly unread: number;
  /** Events that tell of what it brought. */
  readonly told: number;
  /** Folders that were not as their cursors said, or not there. */
  readonly differed: number;
  /** Every folder was read to its end, and is listed. */
  readonly isComplete: boolean;
}

/** Reads what changed. While messages are missing, a look at all folders is a search, and writes down what it proves. */
async function lookAt(deps: FetchDependencies, mailbox: WorkMailbox, provider: MailProvider, input: FetchChangesInput, signal: AbortSignal) {
  const begun = input.paths === null ? await beginLook(deps.db, mailbox.id) : undefined;
  // A message may have moved to a folder that was made for it.
  const isHolding = input.paths === null && (await listSyncFolders(deps.db, mailbox.id)).some((folder) => folder.isHoldOver);
  if (input.isThorough || begun?.isSearch === true || isHolding) await refreshFolders(deps.db, mailbox, provider, signal);
  const look = await readFolders(deps, mailbox, provider, input, signal);
  await retrySkipped(deps.db, mailbox, provider, signal);
  if (input.isThorough && look.isComplete) await compareCounts(deps, mailbox, provider, signal);
  return begun?.isSearch === true ? search(deps, mailbox, provider, { begun, look }, signal) : look;
}

/**
 * Once a day, whether each folder holds as many messages as are on record. What differs is read thoroughly, which removes what is gone; if it differs
 * still, something was never seen, and the folder is listed anew: what that brings to light is told as new. Settings that leave mail out are not counted.
 */
async function compareCounts(deps: ReadDependencies, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<void> {
  if (mailbox.sync.direction !== "both" || mailbox.sync.ageLimitDays !== null) return;
  const differing = await countPlaces(deps.db, await foldersToCount(deps.db, mailbox.id));
  for (const folder of (await listSyncFolders(deps.db, mailbox.id)).filter(({ id }) => differing.includes(id))) {
    if ((await readFolder(deps, mailbox, provider, folder, true, signal)) !== "read") continue;
    const [still] = await countPlaces(deps.db, [folder.id]);
    if (still === undefined) continue;
    await listMiscounted(deps.db, still);
    const known = await reload(deps.db, mailbox.id, folder.path);
    if (known !== undefined) await readFolder(deps, mailbox, provider, known, false, signal);
  }
}

/**
 * Proves what is gone. Folders are read one after the other, and what moves meanwhile from one that was not read yet to one that was is seen in neither.
 * So after they were read they are asked again, until nothing has changed in any: then each of them was, at the instant between the two rounds, as it
 * was read, and what lay in none of them at that instant lay nowhere (ADR 0020). Where mail comes too fast for that, the grace period decides.
 */
async function search(
  deps: FetchDependencies,
  mailbox: WorkMailbox,
  provider: MailProvider,
  { begun, look: first }: { readonly begun: BegunLook; readonly look: Look },
  signal: AbortSignal,
): Promise<Look> {
  let look = first;
  let isQuiet = false;
  for (let round = 1; look.isComplete && !isQuiet && round < roundsMax; round += 1) {
    const { added, removed } = await refreshFolders(deps.db, mailbox, provider, signal);
    look = await readFolders(deps, mailbox, provider, { mailboxId: mailbox.id, paths: null, isThorough: false }, signal);
    isQuiet = look.isComplete && look.differed + added + removed === 0;
  }
  await recordSearch(deps.db, mailbox.id, begun, isQuiet ? 0 : look.isComplete ? deps.graceMs : unreadMarginMs);
  return look;
}

async function readFolders(
  deps: FetchDependencies,
  mailbox: WorkMailbox,
  provider: MailProvider,
  input: FetchChangesInput,
  signal: AbortSignal,
): Promise<Look> {
  const { resting = [], awake = [] } = Object.groupBy(await listSyncFolders(deps.db, mailbox.id), ({ isResting }) =>
    isResting ? "resting" : "awake",
  );
  const { folders, gone } = await foldersToRead(deps.db, provider, awake, input, signal);
  const outcomes = [];
  const refusals: MailError[] = [];
  for (const folder of folders) {
    try {
      outcomes.push(await readFolder(deps, mailbox, provider, folder, input.isThorough || folder.heldSince !== null, signal));
    } catch (error) {
      if (!isRefusedForNow(error) || !provider.isUsable()) throw error;
      await recordFolderProblem(deps.db, folder.id, toProblem(error, new Date().toISOString()));
      refusals.push(error);
      outcomes.push("unreadable");
    }
  }
  // A server that is out of order refuses all; one that answers for other folders has one that is damaged.
  if (refusals[0] !== undefined && refusals.length === awake.length) throw refusals[0];
  // What was heard of goes out before anything else is asked. A look at all folders may yet find elsewhere what it misses here, and leaves the verdict
  // to its caller; so does one that ends an error, which is told first.
  const told = input.paths !== null && outcomes.length > 0 && mailbox.status !== "error" ? await deps.tell(mailbox) : 0;
  if (input.paths !== null && folders.length > 0) await countFolders(deps.db, folders, provider, signal);
  const more = outcomes.includes("more");
  const unread = resting.length + outcomes.filter((outcome) => outcome === "unreadable").length;
  const isComplete = input.paths === null && !more && unread === 0 && (await areAllListed(deps.db, mailbox.id));
  return { more, unread, told, differed: folders.length + gone, isComplete };
}

/** A look at all folders knows their counts before it reads them; a look at some asks afterwards, so that what is shown as unread follows at once. */
async function countFolders(db: Database, folders: readonly SyncFolder[], provider: MailProvider, signal: AbortSignal): Promise<void> {
  const cursors = folders.flatMap((folder) => (folder.cursor === null ? [] : [[folder.path, folder.cursor] as const]));
  if (cursors.length === 0) return;
  await recordStates(db, folders, await provider.checkScopes(new Map(cursors), signal));
}

async function recordStates(db: Database, folders: readonly SyncFolder[], states: readonly ScopeState[]): Promise<void> {
  const ids = new Map(folders.map((folder) => [folder.path, folder.id]));
  const counts = states.flatMap(({ path, total, unseen }) => {
    const id = ids.get(path);
    return id === undefined ? [] : [{ id, total, unseen }];
  });
  await recordFolderCounts(db, counts);
}

/** A folder whose listing goes on may hold what is missed elsewhere, in the part that was not listed yet. */
async function areAllListed(db: Database, mailboxId: MailboxId): Promise<boolean> {
  const folders = await listSyncFolders(db, mailboxId);
  return folders.every((folder) => folder.cursor !== null && folder.importState === "complete");
}

/**
 * Brings the folder rows up to what the server lists. A listing without any folder is none: every mailbox has an inbox (RFC 9051 §5.1), and believing
 * it would forget all mail.
 */
export async function refreshFolders(db: Database, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<FolderDifference> {
  return storeFolders(db, mailbox, provider, await provider.listFolders(signal), signal);
}

export async function storeFolders(
  db: Database,
  mailbox: WorkMailbox,
  provider: MailProvider,
  listed: readonly RemoteFolder[],
  signal: AbortSignal,
): Promise<FolderDifference> {
  if (listed.length === 0) throw new MailError("invalid_response", { doing: "listing folders: the server listed none" });
  const renames = await findRenames(await listFolderCursors(db, mailbox.id), listed, provider, signal);
  return db
    .transaction()
    .execute((trx) => saveFolders(trx, { customerId: mailbox.customerId, mailboxId: mailbox.id }, listed, mailbox.sync, renames));
}

/** The folders that differ from their cursors, in reading order. A folder that was never looked at always does. */
async function foldersToRead(
  db: Database,
  provider: MailProvider,
  folders: readonly SyncFolder[],
  input: FetchChangesInput,
  signal: AbortSignal,
): Promise<{ readonly folders: readonly SyncFolder[]; readonly gone: number }> {
  if (input.paths !== null) return { folders: folders.filter((folder) => input.paths?.includes(folder.path)), gone: 0 };
  const known = folders.flatMap((folder) => (folder.cursor === null ? [] : [[folder.path, folder.cursor] as const]));
  const states = known.length === 0 ? [] : await provider.checkScopes(new Map(known), signal);
  const byPath = new Map(states.map((state) => [state.path, state]));
  await recordStates(db, folders, states);
  const gone = known.filter(([path]) => !byPath.has(path)).length;
  return { folders: folders.filter((folder) => isToRead(folder, byPath.get(folder.path), input.isThorough)), gone };
}

/** It was never looked at, differs from its cursor, may have flags that only a thorough look sees, or has a removal that a listing has to confirm or deny. */
function isToRead(folder: SyncFolder, state: ScopeState | undefined, isThorough: boolean): boolean {
  if (folder.cursor === null || state?.changed === true) return true;
  return state !== undefined && (folder.heldSince !== null || (isThorough && !state.countsFlags));
}

/** Reads one folder to its end, or for as many pages as one call may take. */
export async function readFolder(
  deps: ReadDependencies,
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
      const owner = ownerOf(mailbox);
      const { role } = folder;
      const wanted = page.added.filter((message) => owner.rules.isWanted(message, role));
      const texts = await textsOf(provider, scope, wanted, mailbox.tellsText, signal);
      if (!(await storeChanges(deps.db, owner, folder, page, texts))) return "unreadable";
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
      const known = await reload(deps.db, mailbox.id, start.path);
      if (known === undefined) return "read";
      // The server lists a folder that it cannot open, or it is gone with so much that this has to be confirmed.
      if (known.heldSince === null) await recordFolderProblem(deps.db, known.id, toProblem(error, new Date().toISOString()));
      return "unreadable";
    }
    // One folder that cannot be read does not keep the others from being read, as long as the connection lives.
    if (!isFoldersOwn(error) || !provider.isUsable()) throw error;
    await recordFolderProblem(deps.db, start.id, toProblem(error, new Date().toISOString()));
    return "unreadable";
  }
}

async function reload(db: Database, mailboxId: MailboxId, path: string): Promise<SyncFolder | undefined> {
  return (await listSyncFolders(db, mailboxId)).find((folder) => folder.path === path);
}

/** First looks that are committed together: what is asked for again after a crash. */
const anchoredAtOnce = 100;

/**
 * Looks at every folder that was never looked at. What lies in them now is history; what comes from here on is new. Only then is the mailbox connected:
 * whoever waits for that and sends a mail will be told of it. Returns false if any folder could not be looked at, or was by somebody else meanwhile.
 */
export async function anchorFolders(deps: ReadDependencies, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<boolean> {
  const folders = (await listSyncFolders(deps.db, mailbox.id)).filter((folder) => folder.cursor === null);
  let isWhole = true;
  for (let at = 0; at < folders.length; at += anchoredAtOnce) {
    const looks: FirstLook[] = [];
    const others: SyncFolder[] = [];
    for (const folder of folders.slice(at, at + anchoredAtOnce)) {
      const look = await firstLook(provider, folder, signal);
      if (look === undefined) others.push(folder);
      else looks.push(look);
    }
    if (looks.length > 0) isWhole = (await storeFirstLooks(deps.db, ownerOf(mailbox), looks)) && isWhole;
    for (const folder of others) isWhole = (await readFolder(deps, mailbox, provider, folder, false, signal)) === "read" && isWhole;
  }
  if (folders.length > 0) await recordImportStarted(deps.db, mailbox.id);
  return isWhole;
}

/** Undefined for a folder that cannot be read: reading it once more says what is to be done about it. */
async function firstLook(provider: MailProvider, folder: SyncFolder, signal: AbortSignal): Promise<FirstLook | undefined> {
  try {
    return { folder, page: await provider.pullChanges({ path: folder.path }, undefined, { limit: livePageSize, signal }) };
  } catch (error) {
    const isOwn = error instanceof MailError && (isFoldersOwn(error) || error.code === "not_found");
    if (!isOwn || !provider.isUsable()) throw error;
    return undefined;
  }
}

/**
 * Lists folders anew that were read with narrower settings. Where the listing begins is asked first and written last, after everything up to there came
 * in by the live cursor: what came since the last look is told as new mail, and only what was left out before is history.
 */
export async function listLeftOut(deps: ReadDependencies, mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<void> {
  const quietBefore = new Date();
  for (const { cursor, path } of await listSyncFolders(deps.db, mailbox.id)) {
    if (cursor === null) continue;
    const listing = await beginningOf(provider, path, signal);
    let outcome: "read" | "more" | "unreadable" = "more";
    let folder: SyncFolder | undefined;
    while (outcome === "more") {
      if (await isOutdated(deps.db, mailbox)) return;
      folder = await reload(deps.db, mailbox.id, path);
      outcome = folder === undefined ? "unreadable" : await readFolder(deps, mailbox, provider, folder, false, signal);
    }
    if (folder !== undefined && listing !== undefined && outcome === "read") await beginListing(deps.db, folder, { ...listing, quietBefore });
  }
  await recordImportStarted(deps.db, mailbox.id);
}

/** Where a listing of the folder as it is now begins; undefined for one that cannot be read, which keeps no other from being listed. */
async function beginningOf(provider: MailProvider, path: string, signal: AbortSignal) {
  try {
    const { historyCursor, total } = await provider.pullChanges({ path }, undefined, { limit: livePageSize, signal });
    return historyCursor === undefined ? undefined : { historyCursor, total };
  } catch (error) {
    const isOwn = error instanceof MailError && (isFoldersOwn(error) || error.code === "not_found");
    if (!isOwn || !provider.isUsable()) throw error;
    return undefined;
  }
}

/** Settings were changed since the mailbox was read: nothing is stored by the old ones any more, and whoever reads the new ones begins anew. */
async function isOutdated(db: Database, mailbox: WorkMailbox): Promise<boolean> {
  const now = await findWorkMailbox(db, mailbox.id);
  return now?.settingsAt.getTime() !== mailbox.settingsAt.getTime();
}
