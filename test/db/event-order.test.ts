import { sql } from "kysely";
import { expect, it } from "vitest";
import { readEvents } from "../../db/event-stream.ts";
import { recordEvents } from "../../db/events.ts";
import { newId } from "../../db/ids.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/wait.ts";

it("the stream shows a mailbox's events in their sequence, whichever transaction began first", async () => {
  await using database = await createTestDatabase();
  const { db } = database;
  const customerId = newId("customer");
  const mailboxId = newId("mailbox");
  await db.insertInto("customers").values({ id: customerId, name: "Test" }).execute();
  await db
    .insertInto("mailboxes")
    .values({ id: mailboxId, customer_id: customerId, email: "a@b.test", provider: "memory", settings: "{}", sync: "{}" })
    .execute();
  const source = { customerId, mailboxId };
  const tell = (trx: typeof db, email: string) => recordEvents(trx, source, [{ type: "mailbox.connected", email }]);

  await db.transaction().execute(async (early) => {
    // The early one has its number before the late one begins, and tells after it.
    await sql`select pg_current_xact_id()`.execute(early);
    await db.transaction().execute((late) => tell(late, "first"));
    expect(await readEvents(db, { limit: 10 })).toEqual([]);
    await tell(early, "second");
  });
  await db.transaction().execute((trx) => tell(trx, "third"));

  // Transactions of other databases of the server hold the stream back for a moment.
  const events = await until(async () => {
    const read = await readEvents(db, { limit: 10 });
    return read.length === 3 && read;
  }, "the three events");
  expect(events.map((event) => [event.sequence, event.data.email])).toEqual([
    [1, "first"],
    [2, "second"],
    [3, "third"],
  ]);
});
