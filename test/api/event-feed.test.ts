import { Writable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { sql } from "kysely";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createEventFeed, type EventFeed, type Follower } from "../../api/event-feed.ts";
import type { Database } from "../../db/database.ts";
import { type EventCursor, readHorizon, type StreamedEvent } from "../../db/event-stream.ts";
import type { CustomerId, MailboxId } from "../../domain/ids.ts";
import { createLogger } from "../../logging.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/wait.ts";
import { createCustomer, createMailboxes, tell } from "../webhooks/outbox.ts";

let database: TestDatabase;
let db: Database;
let feed: EventFeed;
beforeAll(async () => {
  database = await createTestDatabase();
  ({ db } = database);
});
afterAll(() => database.drop());
beforeEach(() => {
  feed = createEventFeed(db, createLogger({ level: "silent", isPretty: false }));
});

async function newTenant() {
  const customerId = await createCustomer(db);
  const [mailboxId] = await createMailboxes(db, customerId, 1);
  return { customerId, mailboxId: mailboxId as MailboxId };
}

/** A follower that takes everything, or nothing while it is `full`. */
function follower(customerId: CustomerId, after?: EventCursor) {
  const stop = new AbortController();
  const told: StreamedEvent[] = [];
  const state = { full: false, isCut: false, mostWhileFull: 0 };
  let wake = () => {};
  const one: Follower = {
    scope: { customerId, mailboxId: null },
    after,
    tell(event) {
      told.push(event);
      if (state.full) state.mostWhileFull++;
    },
    isFull: () => state.full,
    ready: (withinMs) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => resolve(!state.full), withinMs);
        wake = () => {
          clearTimeout(timer);
          resolve(true);
        };
      }),
    cut() {
      state.isCut = true;
      stop.abort();
    },
    signal: stop.signal,
  };
  const following = feed.follow(one);
  const drain = () => {
    state.full = false;
    wake();
  };
  const end = async () => {
    stop.abort();
    await following;
  };
  return { told, state, drain, end, sequences: () => told.map(({ sequence }) => sequence) };
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("createEventFeed", () => {
  it("keeps nothing of followers that are gone", async () => {
    setFlagsFromString("--expose-gc");
    const { customerId, mailboxId } = await newTenant();
    const start = await readHorizon(db);
    const stays = follower(customerId, start);
    const crowd = async (): Promise<readonly WeakRef<object>[]> => {
      const followers = upTo(300).map(() => follower(customerId, start));
      await tell(db, customerId, mailboxId, 1);
      await until(() => followers.every(({ told }) => told.length > 0), "an event at each");
      for (const { end } of followers) await end();
      return followers.map(({ state }) => new WeakRef(state));
    };
    const gone = await crowd();
    await tell(db, customerId, mailboxId, 1);
    await until(() => stays.told.length === 2, "the look after they went");
    await until(() => {
      runInNewContext("gc")();
      return gone.every((reference) => reference.deref() === undefined);
    }, "them to be collected");
    await stays.end();
  });

  it("tells each customer's followers what is theirs, each event once and in order, while followers come and go", async () => {
    const tenants = await Promise.all(Array.from({ length: 20 }, newTenant));
    const start = await readHorizon(db);
    const all = tenants.map((tenant) => ({ tenant, followers: Array.from({ length: 5 }, () => follower(tenant.customerId, start)) }));
    const passing = (async () => {
      for (const { customerId } of tenants) await follower(customerId, start).end();
    })();
    await Promise.all(
      tenants.map(async ({ customerId, mailboxId }) => {
        for (let i = 0; i < 5; i++) await tell(db, customerId, mailboxId, 30);
      }),
    );
    await passing;
    const late = tenants.map(({ customerId }) => follower(customerId, start));
    const everybody = [...all.flatMap(({ followers }) => followers), ...late];
    await until(() => everybody.every(({ told }) => told.length >= 150), "all of it at everybody");
    for (const { tenant, followers } of all) {
      for (const { told, sequences } of followers) {
        expect(sequences()).toEqual(upTo(150));
        expect(new Set(told.map(({ customerId }) => customerId))).toEqual(new Set([tenant.customerId]));
      }
    }
    for (const { sequences } of late) expect(sequences()).toEqual(upTo(150));
    await Promise.all(everybody.map(({ end }) => end()));
  });

  it("asks as often for a hundred followers of fifty customers as for one", async () => {
    const tenants = await Promise.all(Array.from({ length: 50 }, newTenant));
    const queries: string[] = [];
    const counted = db.withPlugin({
      transformQuery: ({ node }) => {
        queries.push(node.kind);
        return node;
      },
      transformResult: async ({ result }) => result,
    });
    feed = createEventFeed(counted, createLogger({ level: "silent", isPretty: false }));
    const horizon = await readHorizon(db);
    const crowd = tenants.flatMap(({ customerId }) => [follower(customerId), follower(customerId, horizon)]);
    await until(async () => {
      const [last] = tenants.slice(-1);
      if (last !== undefined) await tell(db, last.customerId, last.mailboxId, 1);
      return crowd.slice(-2).every(({ told }) => told.length > 0);
    }, "everybody to have joined");
    const [from, startedAt] = [queries.length, performance.now()];
    await until(() => queries.length - from >= 20, "ten looks");
    // A look is two queries, five times a second.
    expect(20_000 / (performance.now() - startedAt)).toBeLessThan(15);
    await Promise.all(crowd.map(({ end }) => end()));
  });

  it("tells nothing to who takes nothing, and goes on from there when it takes again", async () => {
    const { customerId, mailboxId } = await newTenant();
    const start = await readHorizon(db);
    const [quick, slow] = [follower(customerId, start), follower(customerId, start)];
    await tell(db, customerId, mailboxId, 10);
    await until(() => slow.told.length === 10 && quick.told.length === 10, "the beginning");
    slow.state.full = true;
    await tell(db, customerId, mailboxId, 500);
    await until(() => quick.told.length === 510, "all of it at the quick one");
    expect([slow.told.length, slow.state.mostWhileFull]).toEqual([10, 0]);
    slow.drain();
    await until(() => slow.told.length === 510, "all of it at the slow one");
    await tell(db, customerId, mailboxId, 1);
    await until(() => slow.told.length === 511 && quick.told.length === 511, "the next event");
    expect(slow.sequences()).toEqual(upTo(511));
    expect(quick.sequences()).toEqual(upTo(511));
    await Promise.all([quick.end(), slow.end()]);
  });

  it("keeps its followers while the database does not answer, and goes on when it does", async () => {
    const warnings: string[] = [];
    const sink = new Writable({ write: (line, _encoding, done) => done(void warnings.push(String(line)) as undefined) });
    feed = createEventFeed(db, createLogger({ level: "warn", isPretty: false }, {}, sink));
    const { customerId, mailboxId } = await newTenant();
    const one = follower(customerId, await readHorizon(db));
    await tell(db, customerId, mailboxId, 1);
    await until(() => one.told.length === 1, "the first event");
    await sql`alter table events rename to events_away`.execute(db);
    await until(() => warnings.length > 0, "a look to fail");
    await sql`alter table events_away rename to events`.execute(db);
    await tell(db, customerId, mailboxId, 1);
    await until(() => one.told.length === 2, "the second event");
    expect(one.sequences()).toEqual([1, 2]);
    await one.end();
  });
});
