import type { Database } from "../db/database.ts";
import { type EventCursor, isBehindCursor, readEvents, readHorizon, type StreamedEvent } from "../db/event-stream.ts";
import { type Scope, scopedTo } from "../db/scope.ts";
import type { CustomerId } from "../domain/ids.ts";

/** Somebody who follows the stream. Both are called in order, one event at a time, and must not throw. */
export interface Follower {
  readonly scope: Scope;
  /** Undefined for what happens from now on. */
  readonly after: EventCursor | undefined;
  readonly tell: (event: StreamedEvent) => void;
  /** Resolves when more can be taken, so that a long catch-up does not pile up in memory. */
  readonly ready: () => Promise<void>;
  readonly signal: AbortSignal;
}

export interface EventFeed {
  /** Tells the follower everything behind its cursor, then what is new; resolves when its signal aborts. Rejects when the database fails it. */
  follow(follower: Follower): Promise<void>;
}

/** How long an event may wait for the next look; the promise to clients is 250 ms. */
const pollMs = 200;
/** A page is handed over whole before its reader is waited for. */
const pageSize = 200;

/**
 * The stream of events for those who stay: one look every 200 ms per customer, however many follow it. Who joins reads for itself up to where the shared
 * look stands, and is handed over there without gap or repeat.
 */
export function createEventFeed(db: Database): EventFeed {
  const customers = new Map<CustomerId, Poller>();
  return {
    async follow(follower) {
      const { customerId } = follower.scope;
      const poller = customers.get(customerId) ?? createPoller(db, customerId, () => customers.delete(customerId));
      customers.set(customerId, poller);
      await poller.follow(follower);
    },
  };
}

interface Poller {
  follow(follower: Follower): Promise<void>;
}

interface Live {
  readonly follower: Follower;
  /** What it has read for itself, which may be more than the shared look. */
  readonly after: EventCursor;
  readonly fail: (error: unknown) => void;
}

function createPoller(db: Database, customerId: CustomerId, onIdle: () => void): Poller {
  const connection = scopedTo(db, { customerId, mailboxId: null });
  const live = new Set<Live>();
  let followers = 0;
  let cursor: EventCursor | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function look(): Promise<void> {
    try {
      const events = await readEvents(connection, { after: cursor, limit: pageSize });
      for (const event of events) {
        for (const one of live) if (isFor(one, event)) one.follower.tell(event);
      }
      cursor = events.at(-1)?.cursor ?? cursor;
      schedule(events.length === pageSize ? 0 : pollMs);
    } catch (error) {
      for (const one of live) one.fail(error);
      live.clear();
      schedule(pollMs);
    }
  }

  function schedule(ms: number): void {
    if (followers === 0) return;
    timer = setTimeout(look, ms);
  }

  /** Reads up to the shared place and returns how far; nothing is awaited between that and joining, so there is no gap. */
  async function catchUp(follower: Follower): Promise<EventCursor> {
    let own = follower.after ?? (await readHorizon(db));
    const scoped = scopedTo(db, follower.scope);
    for (;;) {
      const shared = cursor;
      const events = await readEvents(scoped, { after: own, limit: pageSize });
      for (const event of events) follower.tell(event);
      own = events.at(-1)?.cursor ?? own;
      if (events.length < pageSize) {
        // This look saw at least what the shared one had seen before it began.
        if (shared !== undefined && isBehindCursor(shared, own)) own = shared;
        cursor ??= own;
        if (follower.signal.aborted || !isBehindCursor(cursor, own)) return own;
      }
      await follower.ready();
    }
  }

  return {
    async follow(follower) {
      followers++;
      const ended = Promise.withResolvers<void>();
      ended.promise.catch(() => {});
      const onAbort = () => ended.resolve();
      follower.signal.addEventListener("abort", onAbort, { once: true });
      let one: Live | undefined;
      try {
        const after = await catchUp(follower);
        if (follower.signal.aborted) return;
        one = { follower, after, fail: ended.reject };
        live.add(one);
        if (timer === undefined) schedule(pollMs);
        await ended.promise;
      } finally {
        follower.signal.removeEventListener("abort", onAbort);
        if (one !== undefined) live.delete(one);
        followers--;
        if (followers === 0) {
          clearTimeout(timer);
          onIdle();
        }
      }
    },
  };
}

function isFor({ follower, after }: Live, event: StreamedEvent): boolean {
  const { mailboxId } = follower.scope;
  return (mailboxId === null || mailboxId === event.mailboxId) && isBehindCursor(event.cursor, after);
}
