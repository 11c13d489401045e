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
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import type { FailureDetails } from "../activities/failures.ts";
import type { FetchChangesResult } from "../activities/fetch-changes.ts";
import type { MailboxFacts } from "../activities/mailboxes.ts";
import { catalogue, isMailErrorCode } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import { afterFailure, dueAfter, type Failing, jitterOf, tokenDueAt } from "../domain/mailbox-schedule.ts";
import { searchAttributes } from "./names.ts";
import { bulkActivities, databaseActivities, localActivities, providerActivities } from "./proxies.ts";

export interface MailboxInput {
  readonly mailboxId: MailboxId;
  /** What an earlier run of the same mailbox hands on; absent on the first. */
  readonly state?: MailboxState;
}

/** Everything that outlives a run: plain JSON, additive from version to version. */
export interface MailboxState {
  readonly v: 1;
  /** The credentials opened the mailbox since they were last changed. */
  isOpen: boolean;
  isPaused: boolean;
  /** Nothing can be done until the owner acts: `reconnect` or changed settings. */
  waitsForOwner: boolean;
  needsImport: boolean;
  /** Wakes not served yet: folders, or all of them. */
  wakes: { all: boolean; paths: string[] };
  failing: Failing | null;
  /** Instants in ms since 1970. */
  nextDueAt: number;
  tokenExpiresAt: number | null;
  pollEveryMs: number;
  lastSuccessAt: number | null;
  told: number;
  imported: number;
}

/** Something may have changed, in these folders or anywhere if none is named. A signal: whoever says so (IDLE, a hook, a timer) waits for nothing. */
export const wakeSignal = defineSignal<[{ readonly paths: readonly string[] }]>("wake");
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
/** More paths than this in one wake are answered by looking at all folders. */
const wokenPathsMax = 50;

/**
 * One connected mailbox, for as long as it is connected: opens it, keeps it in step with its server, and waits for what happens next. It decides and
 * remembers; what was fetched and told is in the database. No failure ends it, only `disconnect` does.
 */
export async function mailbox({ mailboxId, state: carried }: MailboxInput): Promise<void> {
  const state: MailboxState = carried ?? firstState();
  const ref = { mailboxId };
  let stop = false;
  let isPauseDecided = carried !== undefined;
  /** Something changed that the waiting loop has to look at again. */
  let hasNews = true;
  let importing: CancellationScope | undefined;
  let shown = "";

  setHandler(stateQuery, () => state);
  setHandler(wakeSignal, ({ paths }) => addWake(state, paths));
  setHandler(settingsChangedSignal, () => reopen());
  setHandler(syncUpdate, async () => lookNow());
  setHandler(pauseUpdate, () => setPaused(true));
  setHandler(resumeUpdate, () => setPaused(false));
  setHandler(resyncUpdate, async () => {
    await databaseActivities({ summary: "list every folder anew" }).forgetCursors(ref);
    lookNow();
  });
  setHandler(reconnectUpdate, async () => reopen());
  setHandler(disconnectUpdate, async ({ purge }) => {
    stop = true;
    importing?.cancel();
    const patient = databaseActivities({
      startToCloseTimeout: "30 minutes",
      summary: purge ? "forget the mailbox and its mail" : "forget the mailbox",
    });
    await CancellationScope.nonCancellable(() => patient.forgetMailbox({ ...ref, purge }));
  });

  if (carried === undefined) {
    const facts = await databaseActivities({ summary: "read the mailbox's row" }).describeMailbox(ref);
    if (facts.isGone) return;
    if (!isPauseDecided) state.isPaused = facts.isPaused;
    nameForOperators(facts, mailboxId);
  }

  while (!stop) {
    shown = showState(state, shown);
    startImport();
    if (isReady()) await work();
    else await condition(() => stop || hasNews || isReady(), waitMs(), { summary: waitReason(state) });
    hasNews = false;
    if (!stop && shouldContinueAsNew()) {
      importing?.cancel();
      await condition(() => importing === undefined && allHandlersFinished());
      if (!stop) await continueAsNew<typeof mailbox>({ mailboxId, state });
    }
  }
  await condition(() => importing === undefined && allHandlersFinished());

  /** Nobody forbids it, and either it is time or somebody saw something. A wake does not cut the pause after a failure short; `sync` does. */
  function isReady(): boolean {
    if (state.isPaused || state.waitsForOwner) return false;
    return state.nextDueAt <= Date.now() || (state.failing === null && isWoken(state));
  }

  function waitMs(): number | undefined {
    return state.isPaused || state.waitsForOwner ? undefined : Math.max(1, state.nextDueAt - Date.now());
  }

  function lookNow(): void {
    addWake(state, []);
    state.nextDueAt = 0;
  }

  /** Credentials or settings may be others now: what stopped the mailbox may be gone. */
  function reopen(): void {
    state.isOpen = false;
    state.waitsForOwner = false;
    lookNow();
  }

  async function setPaused(isPaused: boolean): Promise<void> {
    isPauseDecided = true;
    state.isPaused = isPaused;
    if (isPaused) importing?.cancel();
    else lookNow();
    await databaseActivities({ summary: isPaused ? "pause" : "resume" }).setPaused({ ...ref, isPaused });
    hasNews = true;
  }

  async function work(): Promise<void> {
    try {
      await look();
      state.failing = null;
      state.lastSuccessAt = Date.now();
    } catch (error) {
      if (isCancellation(error)) throw error;
      await remember(error);
    }
  }

  /** One look at the server: open it if need be, renew its token if due, fetch, judge, act. */
  async function look(): Promise<void> {
    const isFull = state.wakes.all || state.nextDueAt <= Date.now() || !state.isOpen;
    const isThorough = state.nextDueAt <= Date.now();
    const paths = isFull ? null : state.wakes.paths;
    state.wakes = { all: false, paths: [] };
    try {
      const isOpening = !state.isOpen;
      if (isOpening) await open();
      if (state.tokenExpiresAt !== null && tokenDueAt(state.tokenExpiresAt) <= Date.now()) {
        const { tokenExpiresAt } = await providerActivities({ summary: "the access token is about to end" }).refreshToken(ref);
        state.tokenExpiresAt = tokenExpiresAt;
      }
      await fetchAndTell(paths, isThorough);
      if (isOpening) await databaseActivities({ summary: "listen for changes" }).watchMailbox(ref);
    } catch (error) {
      // What was to be looked at is still to be looked at.
      addWake(state, paths ?? []);
      throw error;
    }
    if (isFull) state.nextDueAt = dueAfter(Date.now(), state.pollEveryMs, state.lastSuccessAt === null ? jitterOf(mailboxId) : 1);
  }

  async function open(): Promise<void> {
    const facts = await providerActivities({ summary: "log in, list folders" }).openMailbox(ref);
    if (facts.isGone) {
      stop = true;
      return;
    }
    state.isOpen = true;
    state.pollEveryMs = facts.pollEveryMs;
    state.tokenExpiresAt = facts.tokenExpiresAt;
  }

  async function fetchAndTell(paths: readonly string[] | null, isThorough: boolean): Promise<void> {
    const fetched = await fetch(paths, isThorough, paths === null ? "all folders" : `${paths.length} folder(s)`);
    if (fetched.missing === 0) {
      await tell(fetched, false);
      return;
    }
    // Messages left a folder. Which of them moved and which are gone is known when every folder was read after that.
    await tell(fetched, false);
    const searched = await fetch(null, false, "where did messages go");
    await tell(searched, !searched.more);
  }

  async function fetch(paths: readonly string[] | null, isThorough: boolean, summary: string): Promise<FetchChangesResult> {
    const result = await providerActivities({ summary }).fetchChanges({ ...ref, paths, isThorough });
    if (result.isGone) stop = true;
    if (result.needsImport) state.needsImport = true;
    if (result.more) addWake(state, paths ?? []);
    return result;
  }

  async function tell(result: FetchChangesResult, isSearchComplete: boolean): Promise<void> {
    const judges = result.unsettled > 0 || (isSearchComplete && result.missing > 0);
    for (let more = judges; more; ) {
      const judged = await localActivities().classifyMessages({ ...ref, isSearchComplete });
      state.told += judged.told;
      more = judged.more;
    }
    if (judges || result.mustTell) await localActivities().actOnMessages(ref);
  }

  /** Lists history beside the live work, so that new mail never waits for it. */
  function startImport(): void {
    if (!state.needsImport || importing !== undefined || state.isPaused || state.waitsForOwner || state.failing !== null || stop) return;
    const scope = new CancellationScope();
    importing = scope;
    void scope
      .run(importSlice)
      .catch((error: unknown) => (isCancellation(error) ? undefined : remember(error)))
      .finally(() => {
        importing = undefined;
        hasNews = true;
      });
  }

  async function importSlice(): Promise<void> {
    const slice = await bulkActivities({ summary: "first sync" }).importHistory(ref);
    state.imported += slice.imported;
    state.needsImport = !slice.isComplete;
    if (slice.unsettled > 0 || slice.missing > 0) addWake(state, []);
    if (slice.mustTell) await localActivities().actOnMessages(ref);
  }

  /** What went wrong, in the state, on the row, and in what operators see. Sets when the next try is due. */
  async function remember(error: unknown): Promise<void> {
    const failure = causeOf(error);
    const entry = isMailErrorCode(failure.type) ? catalogue[failure.type] : undefined;
    const verdict = afterFailure(state.failing, failure.type, entry, failure.retryAfterMs, Date.now(), jitterOf(mailboxId));
    state.failing = verdict.failing;
    state.waitsForOwner = verdict.waitsForOwner;
    if (verdict.waitsForOwner) state.isOpen = false;
    state.nextDueAt = verdict.nextDueAt;
    hasNews = true;
    if (entry === undefined) return;
    await databaseActivities({ summary: failure.type }).recordProblem({
      ...ref,
      code: failure.type,
      serverSaid: failure.serverSaid,
      fix: failure.fix,
      isError: verdict.isError,
      nextDueAt: verdict.waitsForOwner ? null : verdict.nextDueAt,
    });
    if (verdict.isError) await databaseActivities({ summary: "tell the error" }).actOnMessages(ref);
  }
}

function firstState(): MailboxState {
  return {
    v: 1,
    isOpen: false,
    isPaused: false,
    waitsForOwner: false,
    needsImport: false,
    wakes: { all: true, paths: [] },
    failing: null,
    nextDueAt: 0,
    tokenExpiresAt: null,
    pollEveryMs: 60 * 60_000,
    lastSuccessAt: null,
    told: 0,
    imported: 0,
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

interface FailureCause {
  readonly type: string;
  readonly serverSaid: string | null;
  readonly fix: string | null;
  readonly retryAfterMs: number | null;
}

/** The code of what an activity failed with. Text is never looked at. */
function causeOf(error: unknown): FailureCause {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure)) return { type: "timed_out", serverSaid: null, fix: null, retryAfterMs: null };
  const details = cause.details?.[0] as FailureDetails | undefined;
  return {
    type: cause.type ?? "internal",
    serverSaid: details?.serverSaid ?? null,
    fix: details?.fix ?? null,
    retryAfterMs: details?.retryAfterMs ?? null,
  };
}

function shouldContinueAsNew(): boolean {
  const info = workflowInfo();
  return info.continueAsNewSuggested || info.historyLength > historyLengthMax;
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
  const saying = `${name} ${state.failing?.type ?? ""}`;
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
      `| first sync | ${state.needsImport ? "under way" : "done"}, ${state.imported} messages listed |`,
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

function describeFailing(failing: Failing | null): string {
  if (failing === null) return "none";
  const known = isMailErrorCode(failing.type) ? catalogue[failing.type] : undefined;
  const since = `${failing.type}, ${failing.count} time(s) since ${instant(failing.since)}`;
  return known === undefined ? since : `${since}. ${known.cause} ${known.fix}`;
}

function instant(ms: number | null): string {
  return ms === null || ms === 0 ? "–" : new Date(ms).toISOString();
}
