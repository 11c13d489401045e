import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newId } from "../../db/ids.ts";
import { findMessages, type MessageFilter, type MessageOrder, type SearchBounds, usualBounds } from "../../db/message-search.ts";
import type { PageCursor } from "../../db/pages.ts";
import { scopedTo } from "../../db/scope.ts";
import { parseSearch, tagOf } from "../../domain/search-terms.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type FilledMailbox, fillMailbox } from "../helpers/mailboxes.ts";

/** 40,000 messages of sixty months: every other one says blue, the others whale, and only the oldest says both. */
const size = 40_000;
const customerId = newId("customer");
const scope = { customerId, mailboxId: null };
let database: TestDatabase;
let mailbox: FilledMailbox;

beforeAll(async () => {
  database = await createTestDatabase({ poolMax: 1 });
  mailbox = await fillMailbox(database.db, { customerId, email: "ann@shop.test", messages: [{ folder: "INBOX", message: {} }] });
  await copyMessages(
    size,
    sql`timestamptz '2026-10-31T00:00:00Z' - n * interval '65 minutes'`,
    sql`case when n = ${size} then array['blue', 'whale'] when n % 2 = 0 then array['blue'] else array['whale'] end`,
  );
  await sql`vacuum analyze messages`.execute(database.db);
});
afterAll(() => database.drop());

/** More messages like the first one, told apart by number, time and words. */
async function copyMessages(count: number, at: ReturnType<typeof sql>, words: ReturnType<typeof sql>): Promise<void> {
  const facts = sql`array['%' || right(${mailbox.id}::text, 6), '#' || to_char(at at time zone 'UTC', 'YYYY-MM'), '#' || to_char(at at time zone 'UTC', 'YYYY')]`;
  await sql`
    insert into messages select copy.* from messages m
    cross join lateral (select n, ${at} as at, ${words} as words from generate_series(1, ${sql.lit(count)}) as n) made
    cross join lateral jsonb_populate_record(m, jsonb_build_object(
      'id', 'msg_' || substr(md5(n::text || at || words::text), 1, 22), 'received_at', at,
      'terms', (select string_agg(quote_literal(${tagOf(customerId)}::text || term), ' ') from unnest(words || ${facts}) as term)
    )) as copy
    where m.id = (select id from messages order by id limit 1)
  `.execute(database.db);
}

/** How many rows of messages were read on this database's only connection. */
async function rowsRead(): Promise<number> {
  await sql`select pg_stat_force_next_flush()`.execute(database.db);
  const { rows } = await sql<{ count: number }>`
    select (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as count from pg_stat_user_tables where relname = 'messages'
  `.execute(database.db);
  return rows[0]?.count ?? 0;
}

async function page(filter: MessageFilter, after?: PageCursor, bounds?: SearchBounds, order: MessageOrder = "newest") {
  return findMessages(scopedTo(database.db, scope), scope, filter, { limit: 50, after, order }, bounds);
}

async function pages(filter: MessageFilter, bounds: SearchBounds, order: MessageOrder = "newest") {
  const ids: string[] = [];
  let count = 0;
  for (let after: PageCursor | undefined; ; count++) {
    const { rows, next } = await page(filter, after, bounds, order);
    ids.push(...rows.map((row) => row.id));
    if (next === undefined) return { ids, count: count + 1 };
    after = next;
  }
}

describe("a search in a big mailbox", () => {
  test.each([
    ["blue whale", "two common words that meet once"],
    ["blue -blue", "what nothing can be"],
    ['"whale blue"', "a phrase of two that never stand together"],
    ["whale -nowhere", "a word without another"],
  ])("reads few rows for one page of %s: %s", async (typed) => {
    for (const filter of [{}, { mailboxId: mailbox.id }, { folderId: mailbox.folders.INBOX }, { folderId: mailbox.folders.Work }]) {
      const before = await rowsRead();
      await page({ ...filter, search: parseSearch(customerId, typed) });
      expect((await rowsRead()) - before).toBeLessThan(size / 4);
    }
  });

  test("tells at once that two common words meet nowhere else", async () => {
    const { rows, next } = await page({ search: parseSearch(customerId, "blue whale") });
    expect([rows.length, next]).toEqual([1, undefined]);
  });

  test("goes on by walking where looking up takes too long, and finds the same", async () => {
    const filter = { search: parseSearch(customerId, "blue whale") };
    const hurried = await pages(filter, { ...usualBounds, sliceMs: 1, longWalk: 3_000 });
    expect(hurried.count).toBeGreaterThan(2);
    expect(hurried.ids).toEqual((await pages(filter, usualBounds)).ids);
  });
});

describe.each(["newest", "oldest"] as const)("%s first", (order) => {
  test("what arrives in the instant in which a month begins is found once, although each page ends between two months", async () => {
    const at = sql`timestamptz '2020-01-01T00:00:00Z' + (n % 15) * interval '1 month'`;
    await copyMessages(60, at, sql`array[${`edge${order}`}]`);
    const narrow: SearchBounds = { ...usualBounds, firstWalk: 1, sliceMax: 10, matchesMax: 0 };
    const { ids, count } = await pages({ search: parseSearch(customerId, `edge${order}`) }, narrow, order);
    expect(count).toBeGreaterThan(4);
    const sign = order === "newest" ? "desc" : "asc";
    const { rows } = await sql<{ id: string }>`
      select id from messages where terms @@ ${`'${tagOf(customerId)}edge${order}'`}::tsquery
      order by received_at ${sql.raw(sign)}, id ${sql.raw(sign === "desc" ? "asc" : "desc")}
    `.execute(database.db);
    expect(ids).toEqual(rows.map((row) => row.id));
  });
});
