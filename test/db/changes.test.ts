import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ChangesCursor, readChanges } from "../../db/changes.ts";
import type { Database } from "../../db/database.ts";
import { newId } from "../../db/ids.ts";
import { type ScopedConnection, scopedTo } from "../../db/scope.ts";
import type { MailboxId, MessageId } from "../../domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type FilledMailbox, fillMailbox } from "../helpers/mailboxes.ts";
import { until } from "../helpers/wait.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase({ poolMax: 20 });
});
afterAll(() => database.drop());

const mail = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    folder: "INBOX" as const,
    message: { receivedAt: new Date(Date.parse("2026-01-01T00:00:00Z") + i * 60_000).toISOString() },
  }));

/** A copy of a mailbox that knows nothing but the feed. */
interface Copy {
  readonly messages: Map<MessageId, string>;
  cursor: ChangesCursor | undefined;
  resets: number;
}

function scoped(mailbox: FilledMailbox): ScopedConnection {
  return scopedTo(database.db, { customerId: mailbox.customerId, mailboxId: null });
}

/** Reads one page into the copy; true when another is ready. */
async function follow(copy: Copy, mailbox: FilledMailbox, limit: number): Promise<boolean> {
  const changes = await readChanges(scoped(mailbox), mailbox.id, { after: copy.cursor, limit });
  if (changes === undefined) throw new Error("the mailbox is gone");
  if (changes.reset) {
    copy.messages.clear();
    copy.resets++;
  }
  for (const row of changes.upserted) copy.messages.set(row.id, [...row.flags].join(" "));
  for (const id of changes.deleted) copy.messages.delete(id);
  copy.cursor = changes.next;
  return changes.more;
}

async function table(db: Database, id: MailboxId): Promise<ReadonlyMap<MessageId, string>> {
  const rows = await db.selectFrom("messages").select(["id", "flags"]).where("mailbox_id", "=", id).where("is_deleted", "=", false).execute();
  return new Map(rows.map((row) => [row.id, row.flags.join(" ")]));
}

const sorted = (messages: ReadonlyMap<MessageId, string>) => [...messages].sort();

/** Reads until the copy agrees: transactions of other databases of the server hold the feed back for a moment. */
function agrees(copy: Copy, mailbox: FilledMailbox, limit = 50) {
  return until(async () => {
    while (await follow(copy, mailbox, limit));
    return JSON.stringify(sorted(copy.messages)) === JSON.stringify(sorted(await table(database.db, mailbox.id)));
  }, "the copy to agree with the table");
}

test("following the feed gives the table, history included, whoever writes meanwhile and however late they commit", async () => {
  const { db } = database;
  const mailbox = await fillMailbox(db, { customerId: newId("customer"), email: "ann@x.test", messages: mail(120) });
  const ids = [...(await table(db, mailbox.id)).keys()];
  const copy: Copy = { messages: new Map(), cursor: undefined, resets: 0 };
  let writing = true;
  let written = 0;

  // Each transaction takes its id at its first write and commits after a few more statements: many overlap, and few end in the order of their ids.
  const writer = async (seed: number) => {
    for (let round = 0; round < 40; round++) {
      await db.transaction().execute(async (trx) => {
        for (let step = 0; step < 1 + ((seed + round) % 4); step++) {
          const id = ids[(seed * 31 + round * 17 + step) % ids.length] ?? "";
          // One row at a time and never backwards: writers wait for one another, but not in a circle.
          await sql`select pg_advisory_xact_lock(${step})`.execute(trx);
          if ((round + step) % 7 === 0) await sql`update messages set is_deleted = not is_deleted where id = ${id}`.execute(trx);
          else await sql`update messages set flags = array[${`${seed}-${round}`}] where id = ${id}`.execute(trx);
          written++;
        }
      });
    }
  };
  const reader = async () => {
    while (writing) await follow(copy, mailbox, 7);
  };
  const reading = reader();
  await Promise.all(Array.from({ length: 8 }, (_, seed) => writer(seed)));
  writing = false;
  await reading;
  await agrees(copy, mailbox, 7);
  expect(written).toBeGreaterThan(300);
  expect(copy.resets).toBe(1);
});

test("a change that is committed behind a later one is not passed", async () => {
  const { db } = database;
  const mailbox = await fillMailbox(db, { customerId: newId("customer"), email: "tom@x.test", messages: mail(2) });
  const [early, late] = [...(await table(db, mailbox.id)).keys()];
  const copy: Copy = { messages: new Map(), cursor: undefined, resets: 0 };
  await agrees(copy, mailbox);
  await db.transaction().execute(async (slow) => {
    await sql`update messages set flags = '{early}' where id = ${early}`.execute(slow);
    await sql`update messages set flags = '{late}' where id = ${late}`.execute(db);
    while (await follow(copy, mailbox, 50));
    expect([...copy.messages.values()]).not.toContain("late");
  });
  await agrees(copy, mailbox);
  expect([...copy.messages.values()].sort()).toEqual(["early", "late"]);
});

test("a cursor from before removed rows, or of a database that is ahead of this one, begins anew", async () => {
  const { db } = database;
  const mailbox = await fillMailbox(db, { customerId: newId("customer"), email: "eva@x.test", messages: mail(3) });
  const copy: Copy = { messages: new Map(), cursor: undefined, resets: 0 };
  await agrees(copy, mailbox);
  const [first] = copy.messages.keys();
  await sql`delete from messages where id = ${first}`.execute(db);
  // Page by page, each of which is older than the removal: the listing that begins anew comes to its end all the same.
  await agrees(copy, mailbox, 1);
  expect(copy.messages.size).toBe(2);
  expect(copy.resets).toBeGreaterThan(1);

  const ahead = String(2n ** 60n);
  copy.cursor = { mailboxId: mailbox.id, since: ahead, tx: ahead, id: "" };
  await agrees(copy, mailbox);
  expect(copy.resets).toBeGreaterThan(2);
});

test("one message that changes often comes once, and a page that is full says so", async () => {
  const { db } = database;
  const mailbox = await fillMailbox(db, { customerId: newId("customer"), email: "ida@x.test", messages: mail(9) });
  const copy: Copy = { messages: new Map(), cursor: undefined, resets: 0 };
  await agrees(copy, mailbox, 4);
  const [id] = copy.messages.keys();
  for (const flag of ["a", "b", "c"]) await sql`update messages set flags = array[${flag}] where id = ${id}`.execute(db);
  const changes = await until(async () => {
    const read = await readChanges(scoped(mailbox), mailbox.id, { after: copy.cursor, limit: 4 });
    return read !== undefined && read.upserted.length > 0 && read;
  }, "the change");
  expect(changes.upserted.map((row) => [row.id, row.flags])).toEqual([[id, ["c"]]]);
  expect(await readChanges(scoped(mailbox), newId("mailbox"), { after: undefined, limit: 4 })).toBeUndefined();
});
