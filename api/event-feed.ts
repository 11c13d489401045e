import { setImmediate as breathe, setTimeout as pause } from "node:timers/promises";
import type { Database } from "../db/database.ts";
import { type EventCursor, isBehindCursor, readEvents, readHorizon, type StreamedEvent } from "../db/event-stream.ts";
import { type Scope, scopedTo } from "../db/scope.ts";
import type { CustomerId } from "../domain/ids.ts";
import type { Logger } from "../logging.ts";
import { createAtMost } from "./at-most.ts";

/** Somebody who follows the stream. `tell` is called in order, one event at a time, and must not throw. */
export interface Follower {
  readonly scope: Scope;
  /** Undefined for what happens from now on. */
  readonly after: EventCursor | undefined;
  tell(event: StreamedEvent): void;
  /** Whether it has not yet taken what it was told. */
  isFull(): boolean;
  /** Whether it takes more, waiting for that so long at most. */
  ready(withinMs: number): Promise<boolean>;
  /** Ends it: it takes nothing. */
  cut(): void;
  readonly signal: AbortSignal;
}

export interface EventFeed {
  /** Tells the follower everything behind its cursor, then what is new; resolves when its signal aborts. Rejects when its catch-up cannot be read. */
  follow(follower: Follower): Promise<void>;
}

/** How long an event may wait for the next look; the promise to clients is 250 ms. */
const pollMs = 200;
/** While the database is away. */
const pollAfterFailureMs = 1_000;
const pageSize = 200;
/** Catch-ups that read at once. After a restart every client comes back with its cursor, and other requests want the database too. */
const catchUpsMax = 4;
/** A reader that is only as slow as its network is waited for with the page in hand; a slower one reads it again. */
const shortWaitMs = 100;
const stalledMsMax = 30_000;
/** Events, and writes of one event, between which sockets and other requests have their turn. */
const eventsAtOnce = 8;
const writesAtOnce = 500;

/**
 * The stream of events for those who stay: one look every 200 ms for all of them. Who joins reads for itself up to where the shared look stands, and is
 * handed over there without gap or repeat. Who takes too slowly what it is told leaves the shared look, and reads for itself again once it has
 * taken it: so nobody's backlog is kept in memory.
 */
export function createEventFeed(db: Database, log: Logger): EventFeed {
  const groups = new Map<CustomerId, Group>();
  const catchUpInTurn = createAtMost(catchUpsMax);
  let liveCount = 0;
  /** Whatever lies before it was told to all who live. Undefined while nobody does. */
  let cursor: EventCursor | undefined;
  let looking: Promise<boolean> | undefined;
  let isRunning = false;

  async function run(): Promise<void> {
    if (isRunning) return;
    isRunning = true;
    let isFailing = false;
    while (liveCount > 0) {
      looking = look();
      const hasMore = await looking.catch((err: unknown) => {
        // Streams stay: who ended them would have all of them come back at once when the database does.
        if (!isFailing) log.warn({ err }, "the stream of events cannot be read");
        return undefined;
      });
      looking = undefined;
      isFailing = hasMore === undefined;
      if (hasMore !== true) await pause(isFailing ? pollAfterFailureMs : pollMs);
    }
    cursor = undefined;
    isRunning = false;
  }

  /** Tells what is new; whether there is more. */
  async function look(): Promise<boolean> {
    const from = cursor;
    // Only who was there before the look begins may be in it: `follow` waits for the one that is under way.
    const customerIds = [...groups.keys()];
    const horizon = await readHorizon(db);
    const events = await readEvents(db, { after: from, before: horizon, customerIds, limit: pageSize });
    for (const [index, event] of events.entries()) {
      if (index > 0 && index % eventsAtOnce === 0) await breathe();
      await tell(event);
    }
    if (events.length === pageSize) return true;
    // Events of others lie behind as well, and are not to be looked through again.
    if (cursor !== undefined && isBehindCursor(horizon, cursor)) cursor = horizon;
    return false;
  }

  async function tell(event: StreamedEvent): Promise<void> {
    const before = cursor;
    const full: Live[] = [];
    let writes = 0;
    // Who joins meanwhile is found by this walk as well.
    for (const one of groups.get(event.customerId)?.live ?? []) {
      if (!isFor(one, event)) continue;
      if (one.follower.isFull()) full.push(one);
      else one.follower.tell(event);
      if (++writes % writesAtOnce === 0) await breathe();
    }
    // What was written since the last turn of the loop is on its way after the next one, where the reader takes anything.
    if (full.length > 0) await breathe();
    for (const one of full) {
      if (!one.group.live.has(one)) continue;
      if (!one.follower.isFull()) one.follower.tell(event);
      else {
        leave(one);
        one.end(before);
      }
    }
    cursor = event.cursor;
  }

  function leave(one: Live): void {
    if (one.group.live.delete(one)) liveCount--;
  }

  /** One page for this follower alone. */
  async function tellPage(follower: Follower, after: EventCursor): Promise<{ readonly own: EventCursor; readonly isAtEnd: boolean }> {
    let own = after;
    if (follower.signal.aborted) return { own, isAtEnd: false };
    const shared = cursor;
    const events = await readEvents(scopedTo(db, follower.scope), { after, limit: pageSize });
    for (const event of events) {
      if (follower.isFull() && !(await follower.ready(shortWaitMs))) return { own, isAtEnd: false };
      follower.tell(event);
      own = event.cursor;
    }
    const isAtEnd = events.length < pageSize;
    // This look saw at least what the shared one had seen before it began.
    if (isAtEnd && shared !== undefined && isBehindCursor(shared, own)) own = shared;
    return { own, isAtEnd };
  }

  /** Reads up to the shared place and joins there; nothing is awaited between the two, so there is no gap. Undefined when the follower is gone. */
  async function join(
    follower: Follower,
    group: Group,
    from: EventCursor | undefined,
  ): Promise<{ readonly behind: Promise<EventCursor | undefined> } | undefined> {
    let own = from ?? (await catchUpInTurn(() => readHorizon(db)));
    let isAtEnd = from === undefined;
    for (;;) {
      if (follower.isFull() && !(await follower.ready(stalledMsMax))) follower.cut();
      if (follower.signal.aborted) return undefined;
      if (isAtEnd) cursor ??= own;
      if (cursor !== undefined && !isBehindCursor(cursor, own)) {
        const { promise: behind, resolve: end } = Promise.withResolvers<EventCursor | undefined>();
        const one: Live = { follower, group, after: own, end };
        follower.signal.addEventListener(
          "abort",
          () => {
            leave(one);
            end(undefined);
          },
          { once: true },
        );
        group.live.add(one);
        liveCount++;
        void run();
        return { behind };
      }
      const after = own;
      ({ own, isAtEnd } = await catchUpInTurn(() => tellPage(follower, after)));
    }
  }

  return {
    async follow(follower) {
      const { customerId } = follower.scope;
      const group = groups.get(customerId) ?? { live: new Set(), members: 0 };
      groups.set(customerId, group);
      group.members++;
      try {
        await looking?.catch(() => {});
        for (let from = follower.after; ; ) {
          const joined = await join(follower, group, from);
          if (joined === undefined) return;
          from = await joined.behind;
          if (from === undefined) return;
        }
      } finally {
        group.members--;
        if (group.members === 0) groups.delete(customerId);
      }
    },
  };
}

/** Those who follow one customer's events. */
interface Group {
  readonly live: Set<Live>;
  /** The live ones, and those who still catch up. */
  members: number;
}

interface Live {
  readonly follower: Follower;
  readonly group: Group;
  /** What it has read for itself, which may be more than the shared look. */
  readonly after: EventCursor;
  /** Up to where it was told when it fell behind; undefined when it is gone. */
  readonly end: (behind: EventCursor | undefined) => void;
}

function isFor({ follower, after }: Live, event: StreamedEvent): boolean {
  const { mailboxId } = follower.scope;
  return (mailboxId === null || mailboxId === event.mailboxId) && isBehindCursor(event.cursor, after);
}
