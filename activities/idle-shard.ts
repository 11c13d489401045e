import { Context } from "@temporalio/activity";
import { openListener } from "../db/listener.ts";
import { findWorkMailbox } from "../db/mailbox-state.ts";
import { knownCursors, listWatched, recordShardAlive, recordWatchState, shardChannel, type WatchedMailbox } from "../db/watches.ts";
import { MailError } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { ActivityDependencies } from "./dependencies.ts";
import { nameOf } from "./failures.ts";
import { createGate, type Gate } from "./gate.ts";
import { createWakeQueue, pause, type WakeQueue } from "./wake-queue.ts";

export interface IdleShardResult {
  /** Nothing has been assigned to the shard for a while: it can rest. */
  readonly isEmpty: boolean;
}

/** Well below the heartbeat timeout of workflows/proxies.ts, whatever the database does. */
const heartbeatMs = 3_000;
/** How often assignments are read even if no notification came. */
const reconcileEveryMs = 10_000;
/** A shard without mailboxes ends after this. */
const emptyMs = 10 * 60_000;
/** Logins under way at once: a restart must not look like an attack to a server that holds many of our mailboxes. */
const connectingMax = 20;
const backoffMs = { first: 1_000, max: 5 * 60_000 };

/**
 * Holds the watches of one shard's mailboxes, hundreds in one activity, for as long as it is let. It only wakes workflows: losing it costs latency,
 * never mail. Who is watched stands in the database; a notification there takes effect at once.
 */
export async function idleShard(deps: ActivityDependencies, sessions: Sessions, input: { readonly shard: number }): Promise<IdleShardResult> {
  const context = Context.current();
  const { cancellationSignal: signal } = context;
  const wakes = createWakeQueue((id, paths) => deps.signals.wakeMailbox(id, paths), deps.log);
  const watches = new Map<MailboxId, Watch>();
  const gate = createGate(connectingMax);
  const nudge = createNudge();
  const listener = await openListener(deps.databaseUrl, shardChannel, (payload) => {
    if (payload === "" || payload === String(input.shard)) nudge.ring();
  });
  const beat = setInterval(() => {
    context.heartbeat({ watches: watches.size, watching: [...watches.values()].filter((watch) => watch.isWatching).length });
  }, heartbeatMs);
  let occupiedAt = Date.now();
  try {
    while (!signal.aborted && !deps.draining.aborted) {
      try {
        await reconcile(watches, await listWatched(deps.db, input.shard), (mailbox) => startWatch(deps, sessions, wakes, gate, mailbox));
        // Hearing of mail is worth nothing while nobody can be woken: readers must not believe that it flows.
        if (!wakes.isBlocked()) await recordShardAlive(deps.db, input.shard);
      } catch (error) {
        // The connections are worth keeping while the database is away: wakes still go out, and it is asked again in a moment.
        deps.log.warn({ shard: input.shard, error: nameOf(error) }, "the shard's assignments could not be read");
      }
      if (watches.size > 0) occupiedAt = Date.now();
      if (Date.now() - occupiedAt > emptyMs) return { isEmpty: true };
      await nudge.wait(reconcileEveryMs, AbortSignal.any([signal, deps.draining]));
    }
    if (!signal.aborted) return { isEmpty: false };
    throw await context.cancelled.catch((failure: unknown) => failure);
  } finally {
    clearInterval(beat);
    await listener.close();
    for (const watch of watches.values()) watch.stop();
    await Promise.all([...watches.values()].map((watch) => watch.ended));
    await wakes.close();
  }
}

interface Watch {
  readonly fingerprint: string;
  readonly isWatching: boolean;
  stop(): void;
  readonly ended: Promise<void>;
}

/** Starts what is wanted and not there, stops what is there and not wanted, and opens anew what has new credentials. */
async function reconcile(
  watches: Map<MailboxId, Watch>,
  wanted: readonly WatchedMailbox[],
  start: (mailbox: WatchedMailbox) => Watch,
): Promise<void> {
  const byId = new Map(wanted.map((mailbox) => [mailbox.id, mailbox]));
  for (const [id, watch] of watches) {
    if (byId.get(id)?.fingerprint === watch.fingerprint) continue;
    watch.stop();
    await watch.ended;
    watches.delete(id);
  }
  for (const mailbox of wanted) if (!watches.has(mailbox.id)) watches.set(mailbox.id, start(mailbox));
}

function startWatch(deps: ActivityDependencies, sessions: Sessions, wakes: WakeQueue, gate: Gate, mailbox: WatchedMailbox): Watch {
  const stopping = new AbortController();
  const state = { isWatching: false };
  const extras = mailbox.idlePaths.map((path) => keepWatching(deps, sessions, wakes, gate, mailbox, stopping.signal, { isWatching: false }, path));
  const ended = Promise.all([keepWatching(deps, sessions, wakes, gate, mailbox, stopping.signal, state), ...extras]).then(() => undefined);
  return {
    fingerprint: mailbox.fingerprint,
    get isWatching() {
      return state.isWatching;
    },
    stop: () => stopping.abort(),
    ended,
  };
}

/**
 * Watches one mailbox, or one more folder of it (`path`), until told to stop, coming back with growing pauses after each failure. What becomes of the
 * extra folder says nothing about the mailbox: it is asked about on the mailbox's own watch as well.
 */
async function keepWatching(
  deps: ActivityDependencies,
  sessions: Sessions,
  wakes: WakeQueue,
  gate: Gate,
  { id }: WatchedMailbox,
  signal: AbortSignal,
  state: { isWatching: boolean },
  path?: string,
): Promise<void> {
  let delayMs = backoffMs.first;
  while (!signal.aborted) {
    try {
      await watchOnce(
        deps,
        sessions,
        wakes,
        gate,
        id,
        signal,
        () => {
          delayMs = backoffMs.first;
          state.isWatching = true;
        },
        path,
      );
    } catch (error) {
      // A connection that ends now and then is no news; one that cannot be made is. The workflow finds out by itself what is wrong, and tells it.
      if (!state.isWatching && path === undefined) wakes.push(id, []);
      deps.log.info({ mailboxId: id, error: error instanceof MailError ? error.code : nameOf(error), delayMs }, "a watch ended");
    }
    if (signal.aborted) break;
    if (state.isWatching && path === undefined) await recordState(deps, id, "connecting");
    state.isWatching = false;
    await pause(delayMs * (0.5 + Math.random()), signal);
    delayMs = Math.min(delayMs * 2, backoffMs.max);
  }
  state.isWatching = false;
}

async function watchOnce(
  deps: ActivityDependencies,
  sessions: Sessions,
  wakes: WakeQueue,
  gate: Gate,
  id: MailboxId,
  signal: AbortSignal,
  onWatching: () => void,
  extraPath?: string,
): Promise<void> {
  const mailbox = await findWorkMailbox(deps.db, id);
  if (mailbox === undefined) return;
  const path = extraPath === undefined ? await findInbox(deps, id) : await findReadFolder(deps, id, extraPath);
  if (path === undefined) return;
  const { provider, release: letGo } = sessions.hold(mailbox);
  if (!provider.capabilities.push) {
    letGo();
    if (extraPath === undefined) await recordWatchState(deps.db, id, "unsupported");
    return untilAborted(signal);
  }
  const release = await gate.enter(signal);
  let isReady = false;
  try {
    await provider.watch({
      scope: { path },
      knownCursors: rememberedCursors(deps, id, extraPath),
      checkEveryMs: deps.sync.statusPollMs,
      onChange: (paths) => wakes.push(id, paths),
      onAlive: () => {
        if (isReady) return;
        isReady = true;
        release();
        onWatching();
        if (extraPath === undefined) void recordState(deps, id, "watching");
      },
      signal,
    });
  } finally {
    release();
    letGo();
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/**
 * What is known, or was when the database answered last: a connection is worth more than an answer of this minute. What is compared with old cursors
 * wakes once too often.
 */
function rememberedCursors(deps: ActivityDependencies, id: MailboxId, onlyPath: string | undefined): () => ReturnType<typeof knownCursors> {
  let last: Awaited<ReturnType<typeof knownCursors>> | undefined;
  return async () => {
    try {
      last = await knownCursors(deps.db, id);
    } catch (error) {
      if (last === undefined) throw error;
    }
    return onlyPath === undefined ? last : new Map([...last].filter(([path]) => path === onlyPath));
  };
}

/** The folder that gets IDLE: the inbox, or whatever is read first where there is none. */
async function findInbox(deps: ActivityDependencies, id: MailboxId): Promise<string | undefined> {
  const rows = await deps.db.selectFrom("folders").select(["path", "role"]).where("mailbox_id", "=", id).where("is_synced", "=", true).execute();
  return (rows.find((row) => row.role === "inbox") ?? rows.find((row) => row.role === "all") ?? rows[0])?.path;
}

async function findReadFolder(deps: ActivityDependencies, id: MailboxId, path: string): Promise<string | undefined> {
  const row = await deps.db
    .selectFrom("folders")
    .select("path")
    .where("mailbox_id", "=", id)
    .where("path", "=", path)
    .where("is_synced", "=", true)
    .executeTakeFirst();
  return row?.path;
}

/** A state that cannot be written now is written with the next change; the shard's own sign of life decides what readers believe. */
async function recordState(deps: ActivityDependencies, id: MailboxId, state: "connecting" | "watching"): Promise<void> {
  try {
    await recordWatchState(deps.db, id, state);
  } catch (error) {
    deps.log.warn({ mailboxId: id, error: nameOf(error) }, "a watch state could not be written");
  }
}

interface Nudge {
  ring(): void;
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

/** A bell that is remembered when it rings while nobody waits. */
function createNudge(): Nudge {
  let pending = new AbortController();
  return {
    ring: () => pending.abort(),
    async wait(ms, signal) {
      await pause(ms, AbortSignal.any([pending.signal, signal]));
      if (pending.signal.aborted) pending = new AbortController();
    },
  };
}
