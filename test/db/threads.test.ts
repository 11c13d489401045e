import fc from "fast-check";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newId } from "../../db/ids.ts";
import { backfill } from "../../db/migrations/2026_11_21_threads.ts";
import { moveAllMergedMessages } from "../../db/threads.ts";
import { subjectsOfKeyMax } from "../../domain/threads.ts";
import { type Sketch, threadsOf } from "../domain/messages-in-threads.ts";
import { newArrivingMailbox } from "../helpers/arriving-mailbox.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/wait.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_none, index) => from + index);

describe("threads of a mailbox that arrives in pages", () => {
  it("are the same in whatever order and in whatever pages it arrives", async () => {
    const ids = fc.integer({ min: 1, max: 12 });
    const sketch = fc.record({
      irt: fc.option(ids),
      refs: fc.array(ids, { maxLength: 3 }),
      subject: fc.constantFrom("A", "Re: A", "B", "Re: B"),
      from: fc.constantFrom("ann", "bob", "me"),
      day: fc.nat(60),
    });
    const arrival = fc.record({ order: fc.array(fc.nat(), { minLength: 12, maxLength: 12 }), pageSize: fc.integer({ min: 1, max: 5 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(sketch, { minLength: 2, maxLength: 12 }), arrival, async (drafts, { order, pageSize }) => {
        const sketches = drafts.map(({ irt, refs, ...rest }, index) => ({
          n: index + 1,
          ...rest,
          to: [rest.from === "me" ? "ann" : "me"],
          ...(irt === null ? {} : { irt: `<${irt}@x>` }),
          refs: refs.map((n) => `<${n}@x>`),
        }));
        const arriving = sketches.toSorted((a, b) => (order[a.n - 1] ?? 0) - (order[b.n - 1] ?? 0));
        const mailbox = await newMailbox();
        for (let at = 0; at < arriving.length; at += pageSize) await mailbox.arrive(arriving.slice(at, at + pageSize));
        expect(await mailbox.threads()).toEqual(threadsOf(sketches));
        expect(await mailbox.inconsistencies()).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("are the same when every page is stored again", async () => {
    const mailbox = await newMailbox();
    const sketches: Sketch[] = [{ n: 4, irt: "<2@x>" }, { n: 3, irt: "<1@x>" }, { n: 2, irt: "<1@x>" }, { n: 1 }, { n: 5, id: null }];
    for (const sketch of sketches) await mailbox.arrive([sketch]);
    const before = await mailbox.snapshot();
    for (const sketch of sketches) await mailbox.arrive([sketch]);
    await mailbox.arrive(sketches);
    expect(await mailbox.snapshot()).toEqual(before);
  });

  it("bound what a constant In-Reply-To can glue together", async () => {
    const mailbox = await newMailbox();
    for (const n of range(0, 9))
      await mailbox.arrive(range(n * 10 + 1, n * 10 + 10).map((one) => ({ n: one, irt: "<constant@x>", subject: `Subject ${one}` })));
    const sizes = (await mailbox.threads()).map((thread) => thread.length);
    expect(Math.max(...sizes)).toBe(subjectsOfKeyMax);
    expect(sizes).toHaveLength(100 - subjectsOfKeyMax + 1);
  });

  it("are separate for each mailbox", async () => {
    const [one, other] = [await newMailbox(), await newMailbox()];
    await one.arrive([{ n: 1 }]);
    await other.arrive([{ n: 1 }]);
    expect(await one.threadId(1)).not.toBe(await other.threadId(1));
  });
});

describe("two lanes that see halves of one thread at the same moment", () => {
  it("lose no tie and do not wait for each other for ever", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive([{ n: 1_000 }]);
    for (const round of range(0, 14)) {
      const base = round * 100;
      // Each lane sees half of every thread: even messages answer odd ones, and every tenth ties two pairs.
      const sketches = range(base + 1, base + 80).map(
        (n): Sketch => ({ n, refs: n % 2 === 0 ? [`<${n - 1}@x>`, ...(n % 10 === 0 ? [`<${n - 3}@x>`] : [])] : [] }),
      );
      const [odd, even] = [sketches.filter(({ n }) => n % 2 === 1), sketches.filter(({ n }) => n % 2 === 0)];
      await Promise.all([mailbox.arrive(odd), mailbox.arriveLive(even.toReversed())]);
      const wanted = threadsOf(sketches);
      expect((await mailbox.threads()).filter(([first = 0]) => first > base && first <= base + 80)).toEqual(wanted);
    }
    expect(await mailbox.inconsistencies()).toEqual([]);
  });

  it("wait while the other has not committed, and leave nothing behind when one is killed", async () => {
    const mailbox = await newMailbox();
    const holder = await database.db.startTransaction().execute();
    await sql`select pg_advisory_xact_lock(hashtextextended(${`threads ${mailbox.id}`}, 0))`.execute(holder);
    const page: Sketch[] = [{ n: 2, irt: "<1@x>" }, { n: 1 }];
    const stored = mailbox.arrive(page);
    stored.catch(() => {});
    const { pid } = await until(async () => {
      const { rows } = await sql<{ pid: number }>`
        select pid from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`.execute(database.db);
      return rows[0];
    }, "the page waits for the lock");
    await sql`select pg_terminate_backend(${pid})`.execute(database.db);
    await expect(stored).rejects.toThrow();
    await holder.rollback().execute();
    expect(await mailbox.snapshot()).toEqual({ messages: [], threads: [], keys: 0 });

    await mailbox.arriveAgain(page);
    expect(await mailbox.threads()).toEqual([[1, 2]]);
  });
});

describe("two threads that prove to be one", () => {
  const branches: Sketch[] = [
    { n: 2, irt: "<1@x>", subject: "Re: Lunch" },
    { n: 3, irt: "<1b@x>", subject: "Re: Lunch" },
    { n: 4, irt: "<3@x>", subject: "Re: Lunch" },
  ];
  const parent: Sketch = { n: 1, refs: ["<1b@x>"] };

  it("go on under the id of the larger one, and the other id leads to it", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(branches);
    const [smaller, larger] = [await mailbox.threadId(2), await mailbox.threadId(3)];
    await mailbox.arrive([parent]);
    expect(await mailbox.threads()).toEqual([[1, 2, 3, 4]]);
    expect(await mailbox.threadId(2)).toBe(larger);
    const row = await database.db.selectFrom("threads").selectAll().where("id", "=", smaller).executeTakeFirstOrThrow();
    expect(row).toMatchObject({ merged_into: larger, last_at: null, is_moved: true });
  });

  it("are told once, in the order of the mailbox's events, when the mailbox was imported", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(branches);
    const [smaller, larger] = [await mailbox.threadId(2), await mailbox.threadId(3)];
    await database.db.updateTable("mailboxes").set({ import_finished_at: new Date() }).where("id", "=", mailbox.id).execute();
    await mailbox.arriveLive([parent]);
    await mailbox.arriveLive([parent]);
    expect(await mailbox.merges()).toEqual([{ sequence: 1, data: { threadId: smaller, mergedInto: larger } }]);
  });

  it("are told to nobody while the first import runs, for nobody has heard of them", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(branches);
    await mailbox.arrive([parent]);
    expect(await mailbox.merges()).toEqual([]);
  });

  it("are told while the first import runs when an event named the one that goes", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(branches);
    const smaller = await mailbox.threadId(2);
    await database.db.updateTable("messages").set({ told_at: new Date() }).where("thread_id", "=", smaller).execute();
    await mailbox.arrive([parent]);
    expect((await mailbox.merges()).map(({ data }) => data.threadId)).toEqual([smaller]);
  });

  it("lead on in one step however often they were merged", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(range(1, 9).map((n) => ({ n })));
    const first = await mailbox.threadId(1);
    for (const n of range(2, 9)) await mailbox.arrive([{ n: 100 + n, refs: ["<1@x>", `<${n}@x>`] }]);
    expect(await mailbox.threads()).toHaveLength(1);
    const survivor = await mailbox.threadId(9);
    const rows = await database.db.selectFrom("threads").select(["id", "merged_into"]).where("mailbox_id", "=", mailbox.id).execute();
    expect(rows.filter((row) => row.merged_into !== null && row.merged_into !== survivor)).toEqual([]);
    expect([survivor, ...rows.map((row) => row.id)]).toContain(first);
  });

  it("move a bounded number of messages in a page's transaction, and the rest afterwards", async () => {
    const mailbox = await newMailbox();
    const huge = (from: number, root: string) => range(from, from + 2_499).map((n): Sketch => ({ n, refs: [root], subject: "Re: Lunch", day: 1 }));
    await mailbox.arrive(huge(10_000, "<a@x>"));
    await mailbox.arrive(huge(20_000, "<b@x>"));
    await mailbox.arrive([{ n: 1, refs: ["<a@x>", "<b@x>"], subject: "Re: Lunch" }]);
    const threads = await mailbox.threads();
    expect(threads.map((thread) => thread.length).sort()).toEqual([4_501, 500].sort());
    expect(await moveAllMergedMessages(database.db)).toBe(1);
    expect(await moveAllMergedMessages(database.db)).toBe(0);
    expect(await mailbox.threads()).toHaveLength(1);
  });
});

it("threads what was stored before there were threads: a later answer joins what it answers", async () => {
  const mailbox = await newMailbox();
  await mailbox.arrive([{ n: 1 }, { n: 2, irt: "<1@x>" }, { n: 3, irt: "<0@x>" }]);
  await database.db.deleteFrom("threads").where("mailbox_id", "=", mailbox.id).execute();
  await database.db.deleteFrom("thread_keys").where("mailbox_id", "=", mailbox.id).execute();
  for (const statement of backfill) await sql.raw(statement).execute(database.db);
  await mailbox.arrive([
    { n: 4, irt: "<2@x>" },
    { n: 5, irt: "<0@x>" },
  ]);
  expect(await mailbox.threads()).toEqual([
    [1, 2, 4],
    [3, 5],
  ]);
  expect(await mailbox.inconsistencies()).toEqual([]);
});

async function newMailbox() {
  const customerId = newId("customer");
  await database.db.insertInto("customers").values({ id: customerId, name: "Test" }).execute();
  return newArrivingMailbox(database.db, customerId);
}
