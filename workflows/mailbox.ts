import {
  ActivityFailure,
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  isCancellation,
  patched,
  setCurrentDetails,
  setHandler,
  TimeoutFailure,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import type { FailureDetails } from "../activities/failures.ts";
import type { FetchChangesResult } from "../activities/fetch-changes.ts";
import type { MailboxFacts } from "../activities/mailboxes.ts";
import { type CatalogueEntry, catalogue, isMailErrorCode } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import { afterFailure, dueAfter, type Failing, jitterOf, tokenDueAt } from "../domain/mailbox-schedule.ts";
import type { ListingProgress } from "../domain/sync.ts";
import { searchAttributes } from "./names.ts";
import { bulkActivities, databaseActivities, localActivities, providerActivities } from "./proxies.ts";

export interface MailboxInput {
  readonly mailboxId: MailboxId;
  /** What an earlier run of the same mailbox hands on; absent on the first. */
  readonly state?: MailboxState;
  /** Tests bring their own figures. */
  readonly pace?: { readonly historyLengthMax?: number };
}

/** Everything that outlives a run: plain JSON, additive from version to version. */
export interface MailboxState {
  readonly v: 1;
  /** The credentials opened the mailbox since they were last changed. */
  isOpen: boolean;
  /** Somebody listens for changes, or was told to. */
  isWatched: boolean;
  isPaused: boolean;
  /** Nothing can be done until the owner acts: `reconnect` or changed settings. */
  waitsForOwner: boolean;
  needsImport: boolean;
  /** Wakes not served yet: folders, or all of them. */
  wakes: { all: boolean; paths: string[] };
  failing: Failing | null;
  /** Failures of the first sync alone: its pauses hold up nothing else. */
  importFailing: Failing | null;
  /** Instants in ms since 1970. */
  nextDueAt: number;
  importDueAt: number;
  /** When all folders are looked at once more, to be certain of something; null where nothing is open. */
  searchDueAt: number | null;
  tokenExpiresAt: number | null;
  pollEveryMs: number;
  /** Wakes are acted on at once; otherwise the mailbox is looked at when it is due, or told to. */
  isRealtime: boolean;
  /** When the settings were written that have to be carried out on what is stored; null when they are. */
  settlesAt: number | null;
  lastSuccessAt: number | null;
  told: number;
  imported: number;
  /** How far the folders are listed; null before the first look. */
  progress: ListingProgress | null;
}

export interface Wake {
  readonly paths: readonly string[];
}

/** Something may have changed, in these folders or anywhere if none is named. A signal: whoever says so (IDLE, a hook, a timer) waits for nothing. */
export const wakeSignal = defineSignal<[Wake]>("wake");
/** The row's settings, aliases or credentials changed; they are read anew before the next step. */
export const settingsChangedSignal = defineSignal("settingsChanged");

/** Updates, because their caller wants to know that it was done: each returns when the mailbox's row says so. */
export const syncUpdate = defineUpdate<void>("sync");
export const pauseUpdate = defineUpdate<void>("pause");
export const resumeUpdate = defineUpdate<void>("resume");
/** Lists every folder from the start; tells nothing twice. */
export const resyncUpdate = defineUpdate<void>("resync");
/** Tries again now, with the credentials as they are stored. */
export const reconnectUpdate = defineUpdate<void>("reconnect");
/** Ends the workflow: watching stops, credentials are forgotten, and with `purge` the messages as well. */
export const disconnectUpdate = defineUpdate<void, [{ readonly purge: boolean }]>("disconnect");
/** For operators at the Temporal UI; the API reads the database. */
export const stateQuery = defineQuery<MailboxState>("state");

/** A run's history stays below this, far from every limit, and short to read. */
const historyLengthMax = 1_500;
/** Of one look: ten thousand folders at a server that has to be asked about each. Its heartbeat notices a dead worker sooner. */
const lookTimeout = "10 minutes";
/** More paths than this in one wake are answered by looking at all folders. */
const wokenPathsMax = 50;

/**
 * One connected mailbox, for as long as it is connected: opens it, keeps it in step with its server, and waits for what happens next. It decides and
 * remembers; what was fetched and told is in the database. No failure ends it, only `disconnect` does.
 */
export async function mailbox({ mailboxId, state: carried, pace = {} }: MailboxInput): Promise<void> {
  const state: MailboxState = { ...firstState(), ...carried };
  const ref = { mailboxId };
  let stop = false;
  let isDescribed = carried !== undefined;
  let isPauseDecided = isDescribed;
  let isWritingPause = false;
  /** Something changed that the waiting loop has to look at again. */
  let hasNews = true;
  /** Counted, so that what began before sees that it is not the answer: requests to look, changes of settings or credentials, listings begun. */
  let looksAsked = 0;
  let reopenings = 0;
  let listingsSeen = 0;
  let working: CancellationScope | undefined;
  let importing: CancellationScope | undefined;
  let shown = "";

  setHandler(stateQuery, () => state);
  // An operator may send messages by hand and leave out their arguments: a handler that throws would stop the mailbox for good.
  setHandler(wakeSignal, (wake?: Partial<Wake>) => {
    if (state.isRealtime) addWake(state, wake?.paths ?? []);
  });
  setHandler(settingsChangedSignal, () => reopen());
  setHandler(syncUpdate, async () => lookNow());
  setHandler(pauseUpdate, () => setPaused(true));
  setHandler(resumeUpdate, () => setPaused(false));
  setHandler(resyncUpdate, async () => {
    await databaseActivities({ summary: "list every folder anew" }).forgetCursors(ref);
    lookNow();
  });
  setHandler(reconnectUpdate, async () => reopen());
  setHandler(disconnectUpdate, async (options?: { readonly purge?: boolean }) => {
    const purge = options?.purge === true;
    stop = true;
    working?.cancel();
    importing?.cancel();
    const patient = databaseActivities({
      startToCloseTimeout: "30 minutes",
      // What is marked as gone cannot be disconnected a second time: whoever gave up here would leave its mail for ever.
      scheduleToCloseTimeout: "30 days",
      summary: purge ? "forget the mailbox and its mail" : "forget the mailbox",
    });
    await CancellationScope.nonCancellable(() => patient.forgetMailbox({ ...ref, purge }));
  });

  if (!isDescribed) await work(describe);
  while (!stop) {
    shown = showState(state, shown);
    if (isImportDue()) startImport();
    if (isReady()) await work(isDescribed ? look : describe);
    else if (isSettlingDue()) await work(settle);
    else
      await condition(() => stop || hasNews || isReady() || isSettlingDue() || isImportDue() || isLong(), waitMs(), { summary: waitReason(state) });
    hasNews = false;
    if (!stop && isLong()) {
      importing?.cancel();
      await condition(() => importing === undefined && allHandlersFinished());
      if (!stop) await continueAsNew<typeof mailbox>({ mailboxId, state, pace });
    }
  }
  importing?.cancel();
  await condition(() => importing === undefined && allHandlersFinished());

  /** Nobody forbids it, and either it is time or somebody saw something. A wake does not cut the pause after a failure short; `sync` does. */
  function isReady(): boolean {
    if (state.isPaused || state.waitsForOwner) return false;
    return state.nextDueAt <= Date.now() || (state.failing === null && (isWoken(state) || isSearchDue(state)));
  }

  /** Carried out between looks, so that new mail does not wait for a large purge. */
  function isSettlingDue(): boolean {
    return state.settlesAt !== null && state.isOpen && state.failing === null && !state.isPaused && !state.waitsForOwner;
  }

  function waitMs(): number | undefined {
    if (state.isPaused || state.waitsForOwner) return undefined;
    const importDueAt = state.needsImport && importing === undefined && state.failing === null ? state.importDueAt : state.nextDueAt;
    const searchDueAt = state.failing === null ? (state.searchDueAt ?? state.nextDueAt) : state.nextDueAt;
    return Math.max(1, Math.min(state.nextDueAt, importDueAt, searchDueAt) - Date.now());
  }

  /** A history that grows while nothing may be looked at (a paused mailbox that is woken again and again) is cut as well. */
  function isLong(): boolean {
    return shouldContinueAsNew(pace.historyLengthMax ?? historyLengthMax);
  }

  function lookNow(): void {
    looksAsked += 1;
    addWake(state, []);
    state.nextDueAt = 0;
    state.importDueAt = 0;
  }

  /** Credentials or settings may be others now: what stopped the mailbox may be gone. */
  function reopen(): void {
    reopenings += 1;
    state.isOpen = false;
    state.isWatched = false;
    state.waitsForOwner = false;
    lookNow();
  }

  async function setPaused(isPaused: boolean): Promise<void> {
    isPauseDecided = true;
    state.isPaused = isPaused;
    if (isPaused) importing?.cancel();
    else lookNow();
    hasNews = true;
    // One writer at a time, each with the last word that was said: two at once could reach the row in either order.
    await condition(() => !isWritingPause);
    isWritingPause = true;
    try {
      await databaseActivities({ summary: state.isPaused ? "pause" : "resume" }).setPaused({ ...ref, isPaused: state.isPaused });
    } finally {
      isWritingPause = false;
    }
  }

  /** Runs one step to its end or its failure. What was asked for meanwhile is done next, whatever became of the step. */
  async function work(step: () => Promise<void>): Promise<void> {
    const before = { looksAsked, reopenings };
    working = new CancellationScope();
    try {
      await working.run(step);
      state.failing = null;
    } catch (error) {
      if (CancellationScope.current().consideredCancelled) throw error;
      // A failure under credentials or settings that were replaced meanwhile says nothing about the new ones.
      if (!stop && reopenings === before.reopenings) await remember(error);
    } finally {
      working = undefined;
    }
    if (looksAsked !== before.looksAsked) state.nextDueAt = 0;
  }

  async function describe(): Promise<void> {
    const facts = await databaseActivities({ summary: "read the mailbox's row" }).describeMailbox(ref);
    isDescribed = true;
    if (facts.isGone) {
      stop = true;
      return;
    }
    if (!isPauseDecided) state.isPaused = facts.isPaused;
    nameForOperators(facts, mailboxId);
  }

  /** One look at the server: open it if need be, renew its token if due, fetch, judge, act. */
  async function look(): Promise<void> {
    const isFull = state.wakes.all || state.nextDueAt <= Date.now() || !state.isOpen;
    const isThorough = state.nextDueAt <= Date.now();
    const paths = isFull || isSearchDue(state) ? null : state.wakes.paths;
    state.wakes = { all: false, paths: [] };
    try {
      const opened = state.isOpen ? undefined : await open();
      if (stop) return;
      if (state.tokenExpiresAt !== null && tokenDueAt(state.tokenExpiresAt) <= Date.now()) {
        const { tokenExpiresAt } = await providerActivities({ summary: "the access token is about to end" }).refreshToken(ref);
        state.tokenExpiresAt = tokenExpiresAt;
      }
      if (opened === undefined) await fetchAndTell(paths, isThorough);
      else await tell(opened, false);
      if (stop) return;
      if (!state.isWatched) await listen();
    } catch (error) {
      // What was to be looked at is still to be looked at.
      addWake(state, paths ?? []);
      throw error;
    }
    if (isFull) state.nextDueAt = dueAfter(Date.now(), state.pollEveryMs, firstFraction());
    state.lastSuccessAt = Date.now();
  }

  function firstFraction(): number {
    return state.lastSuccessAt === null ? jitterOf(mailboxId) : 1;
  }

  /** Returns the first look, where opening took it. */
  async function open(): Promise<FetchChangesResult | undefined> {
    const begun = reopenings;
    const wanted = patched("2026-11-first-look") ? { ...ref, firstLook: { dueFraction: firstFraction() } } : ref;
    const facts = await providerActivities({ summary: "log in, list folders" }).openMailbox(wanted);
    if (facts.isGone) {
      stop = true;
      return undefined;
    }
    state.isOpen = begun === reopenings;
    state.pollEveryMs = facts.pollEveryMs;
    state.tokenExpiresAt = facts.tokenExpiresAt;
    state.isRealtime = facts.isRealtime ?? true;
    state.settlesAt = facts.settlesAt ?? null;
    // Settings or credentials that came meanwhile want all of it done once more.
    if (!("look" in facts) || !state.isOpen) return undefined;
    state.isWatched = true;
    state.imported += facts.imported;
    note(facts.look, null);
    return facts.look;
  }

  async function listen(): Promise<void> {
    const begun = reopenings;
    if (state.isRealtime) await databaseActivities({ summary: "listen for changes" }).watchMailbox(ref);
    else await databaseActivities({ summary: "listen no more" }).unwatchMailbox(ref);
    state.isWatched = begun === reopenings;
  }

  /** One slice of carrying out changed settings on what is stored. */
  async function settle(): Promise<void> {
    const { settlesAt } = state;
    if (settlesAt === null) return;
    const settled = await databaseActivities({ summary: "carry out settings" }).settleSettings({ ...ref, settlesAt });
    if (settled.isStale) return reopen();
    if (!settled.more && state.settlesAt === settlesAt) state.settlesAt = null;
    await judge(settled.unsettled > 0, false);
    if (settled.unsettled > 0) await localActivities().actOnMessages(ref);
  }

  async function fetchAndTell(paths: readonly string[] | null, isThorough: boolean): Promise<void> {
    const fetched = await fetch(paths, isThorough, paths === null ? "all folders" : `${paths.length} folder(s)`);
    await tell(fetched, false);
    if (fetched.missing === 0 || stop) return;
    // Messages left a folder. Which of them moved and which are gone is known when every folder was read after that.
    const searched = await fetch(null, false, "where did messages go");
    // A folder that cannot be read may hold what is missed elsewhere.
    await tell(searched, !searched.more && (searched.unread ?? 0) === 0);
  }

  async function fetch(paths: readonly string[] | null, isThorough: boolean, summary: string): Promise<FetchChangesResult> {
    const due = paths === null ? { nextDueAt: dueAfter(Date.now(), state.pollEveryMs, firstFraction()) } : {};
    const result = await providerActivities({ summary, startToCloseTimeout: lookTimeout }).fetchChanges({ ...ref, paths, isThorough, ...due });
    note(result, paths);
    return result;
  }

  /** What a look says, in the state. */
  function note(result: FetchChangesResult, paths: readonly string[] | null): void {
    if (result.isGone) stop = true;
    state.told += result.told ?? 0;
    if (result.progress !== undefined) state.progress = result.progress;
    if (result.needsImport) {
      state.needsImport = true;
      listingsSeen += 1;
    }
    if (result.more) addWake(state, paths ?? []);
    if (result.lookAgainMs !== undefined) state.searchDueAt = Date.now() + result.lookAgainMs;
    else if (paths === null) state.searchDueAt = null;
  }

  async function tell(result: FetchChangesResult, isSearchComplete: boolean): Promise<void> {
    const judges = result.unsettled > 0 || (isSearchComplete && result.missing > 0);
    await judge(judges, isSearchComplete);
    if (judges || result.mustTell) await localActivities().actOnMessages(ref);
  }

  async function judge(isAnyLeft: boolean, isSearchComplete: boolean): Promise<void> {
    for (let more = isAnyLeft; more; ) {
      const judged = await localActivities().classifyMessages({ ...ref, isSearchComplete });
      state.told += judged.told;
      more = judged.more;
    }
  }

  function isImportDue(): boolean {
    if (!state.needsImport || importing !== undefined || state.isPaused || state.waitsForOwner || state.failing !== null || stop) return false;
    return state.importFailing === null || state.importDueAt <= Date.now();
  }

  /** Lists history beside the live work, so that new mail never waits for it. */
  function startImport(): void {
    const scope = new CancellationScope();
    const begun = reopenings;
    importing = scope;
    void scope
      .run(importSlice)
      .catch((error: unknown) => (scope.consideredCancelled || reopenings !== begun ? undefined : rememberImport(error)))
      // Nobody awaits this promise. When the workflow is cancelled, the main function says so.
      .catch((error: unknown) => {
        if (!isCancellation(error)) throw error;
      })
      .finally(() => {
        importing = undefined;
        hasNews = true;
      });
  }

  async function importSlice(): Promise<void> {
    const seen = listingsSeen;
    const slice = await bulkActivities({ summary: "first sync" }).importHistory(ref);
    state.importFailing = null;
    state.imported += slice.imported;
    if (slice.progress !== undefined) state.progress = slice.progress;
    // A listing that began while the slice was under way may not have been part of it.
    state.needsImport = !slice.isComplete || seen !== listingsSeen;
    if (slice.unsettled > 0 || slice.missing > 0) addWake(state, []);
    if (slice.mustTell) await localActivities().actOnMessages(ref);
  }

  /** What went wrong, in the state, on the row, and in what operators see. Sets when the next try is due. */
  async function remember(error: unknown): Promise<void> {
    const failure = causeOf(error);
    const verdict = afterFailure(state.failing, failure.type, entryOf(failure), failure.retryAfterMs, Date.now(), jitterOf(mailboxId));
    state.failing = verdict.failing;
    state.waitsForOwner = verdict.waitsForOwner;
    if (verdict.waitsForOwner) {
      state.isOpen = false;
      importing?.cancel();
    }
    state.nextDueAt = verdict.nextDueAt;
    hasNews = true;
    await report(failure, verdict.isError, verdict.waitsForOwner ? null : verdict.nextDueAt);
  }

  /** The same for the first sync, whose failures stop the mailbox only if its owner has to act: as long as looks succeed, mail flows. */
  async function rememberImport(error: unknown): Promise<void> {
    const failure = causeOf(error);
    const verdict = afterFailure(state.importFailing, failure.type, entryOf(failure), failure.retryAfterMs, Date.now(), jitterOf(mailboxId));
    if (verdict.waitsForOwner) return remember(error);
    state.importFailing = verdict.failing;
    state.importDueAt = verdict.nextDueAt;
    await report(failure, false, state.nextDueAt);
  }

  /** Writes a failure on the row. If that fails in turn, the workflow knows it all the same, and the next failure is written again. */
  async function report(failure: FailureCause, isError: boolean, nextDueAt: number | null): Promise<void> {
    if (entryOf(failure) === undefined) return;
    const { type: code, serverSaid, fix } = failure;
    try {
      await databaseActivities({ summary: code }).recordProblem({ ...ref, code, serverSaid, fix, isError, nextDueAt });
      if (isError) await databaseActivities({ summary: "tell the error" }).actOnMessages(ref);
    } catch (error) {
      if (CancellationScope.current().consideredCancelled) throw error;
    }
  }
}

function firstState(): MailboxState {
  return {
    v: 1,
    isOpen: false,
    isWatched: false,
    isPaused: false,
    waitsForOwner: false,
    needsImport: false,
    wakes: { all: true, paths: [] },
    failing: null,
    importFailing: null,
    nextDueAt: 0,
    importDueAt: 0,
    searchDueAt: null,
    tokenExpiresAt: null,
    pollEveryMs: 60 * 60_000,
    isRealtime: true,
    settlesAt: null,
    lastSuccessAt: null,
    told: 0,
    imported: 0,
    progress: null,
  };
}

/** Notes what to look at; no path means everything. */
function addWake(state: MailboxState, paths: readonly string[]): void {
  const all = [...new Set([...state.wakes.paths, ...paths])];
  if (paths.length === 0 || state.wakes.all || all.length > wokenPathsMax) state.wakes = { all: true, paths: [] };
  else state.wakes = { all: false, paths: all };
}

function isWoken(state: MailboxState): boolean {
  return state.wakes.all || state.wakes.paths.length > 0;
}

function isSearchDue(state: MailboxState): boolean {
  return state.searchDueAt !== null && state.searchDueAt <= Date.now();
}

interface FailureCause {
  readonly type: string;
  readonly serverSaid: string | null;
  readonly fix: string | null;
  readonly retryAfterMs: number | null;
}

/** The code of what an activity failed with. Text is never looked at. */
function causeOf(error: unknown): FailureCause {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure)) {
    return { type: cause instanceof TimeoutFailure ? "timed_out" : "internal", serverSaid: null, fix: null, retryAfterMs: null };
  }
  const details = cause.details?.[0] as FailureDetails | undefined;
  return {
    type: cause.type ?? "internal",
    serverSaid: details?.serverSaid ?? null,
    fix: details?.fix ?? null,
    retryAfterMs: details?.retryAfterMs ?? null,
  };
}

function entryOf({ type }: FailureCause): CatalogueEntry | undefined {
  return isMailErrorCode(type) ? catalogue[type] : undefined;
}

function shouldContinueAsNew(lengthMax: number): boolean {
  const { continueAsNewSuggested, historyLength, targetWorkerDeploymentVersionChanged } = workflowInfo();
  return continueAsNewSuggested || historyLength > lengthMax || targetWorkerDeploymentVersionChanged === true;
}

function nameForOperators(facts: Extract<MailboxFacts, { isGone: false }>, mailboxId: MailboxId): void {
  upsertSearchAttributes([
    { key: searchAttributes.mailboxId, value: mailboxId },
    { key: searchAttributes.customerId, value: facts.customerId },
    { key: searchAttributes.provider, value: facts.provider },
  ]);
}

/**
 * The state in the Temporal UI: one table that answers what it does, what went wrong last, and when it goes on. Search attributes cost an event each,
 * so they are written only when what they say changes. Returns what they say.
 */
function showState(state: MailboxState, shown: string): string {
  const name = stateName(state);
  const saying = `${name} ${state.failing?.type ?? ""} ${state.nextDueAt}`;
  if (saying !== shown) {
    upsertSearchAttributes([
      { key: searchAttributes.mailboxState, value: name },
      { key: searchAttributes.lastErrorType, value: state.failing?.type ?? null },
      { key: searchAttributes.nextDueAt, value: new Date(Math.max(state.nextDueAt, Date.now())) },
    ]);
  }
  setCurrentDetails(
    [
      `**${name}**`,
      "",
      "| | |",
      "| --- | --- |",
      `| last look that succeeded | ${instant(state.lastSuccessAt)} |`,
      `| next full look due | ${state.waitsForOwner || state.isPaused ? "when told to" : instant(state.nextDueAt)} |`,
      `| first sync | ${importState(state)} |`,
      `| listed | ${describeProgress(state.progress)} |`,
      `| events told | ${state.told} |`,
      `| last error | ${describeFailing(state.failing)} |`,
    ].join("\n"),
  );
  return saying;
}

function waitReason(state: MailboxState): string {
  if (state.isPaused) return "paused";
  if (state.waitsForOwner) return "waits for its owner";
  return state.failing === null ? "next full look" : "pause after a failure";
}

function stateName(state: MailboxState): string {
  if (state.isPaused) return "PAUSED";
  if (state.waitsForOwner) return "NEEDS_RECONNECT";
  if (state.failing !== null) return "FAILING";
  if (!state.isOpen) return "CONNECTING";
  return state.needsImport ? "IMPORTING" : "LIVE";
}

function importState({ needsImport, importFailing, importDueAt }: MailboxState): string {
  if (!needsImport) return "done";
  return importFailing === null ? "under way" : `failing (${describeFailing(importFailing)}), again ${instant(importDueAt)}`;
}

function describeProgress(progress: ListingProgress | null): string {
  if (progress === null) return "nothing yet";
  const { folders, foldersListed, messages, messagesListed } = progress;
  return `${foldersListed} of ${folders} folders, ${messagesListed} of ${messages} messages`;
}

function describeFailing(failing: Failing | null): string {
  if (failing === null) return "none";
  const known = isMailErrorCode(failing.type) ? catalogue[failing.type] : undefined;
  const since = `${failing.type}, ${failing.count} time(s) since ${instant(failing.since)}`;
  return known === undefined ? since : `${since}. ${known.cause} ${known.fix}`;
}

function instant(ms: number | null): string {
  return ms === null || ms === 0 ? "–" : new Date(ms).toISOString();
}
