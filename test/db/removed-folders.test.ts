import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import { listSyncFolders, saveFolders } from "../../db/folder-sync.ts";
import { newId } from "../../db/ids.ts";
import { CursorMoved, type PageOwner, storeHistory } from "../../db/store-page.ts";
import type { RemoteFolder } from "../../domain/folder.ts";
import type { CustomerId } from "../../domain/ids.ts";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";
import { me, sketched } from "../domain/messages-in-threads.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { countWaiting } from "../helpers/database-states.ts";
import { fillMailbox } from "../helpers/mailboxes.ts";
import { until } from "../helpers/wait.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase({ poolMax: 20 });
});
afterAll(() => database.drop());

const inbox: RemoteFolder = {
  ...{ path: "INBOX", name: "INBOX", delimiter: "/", role: "inbox", roleSource: "name", selectable: true, isShared: false, stableId: null },
};

/** A mailbox of one message, whose other folders are being listed. */
async function beingListed() {
  const customerId: CustomerId = newId("customer");
  const mailbox = await fillMailbox(database.db, { customerId, email: me.email, messages: [{ folder: "INBOX", message: {} }] });
  const listing = { history_cursor: "{}", import_state: "importing", was_complete: false } as const;
  await database.db.updateTable("folders").set(listing).where("mailbox_id", "=", mailbox.id).execute();
  const owner: PageOwner = { mailboxId: mailbox.id, customerId, self: me, tellListedFrom: undefined };
  const folder = (await listSyncFolders(database.db, mailbox.id)).find(({ id }) => id === mailbox.folders.Work);
  if (folder === undefined) throw new Error("the folder is not there");
  const page = { messages: [sketched({ n: 1 }), sketched({ n: 2 })], skipped: [], cursor: { next: 1 }, more: true };
  return {
    id: mailbox.id,
    /** Stores a page into the folder `Work`; `turn` resolves when it has its turn. */
    begin() {
      const turn = Promise.withResolvers<void>();
      const stored = storeHistory(database.db, owner, folder, {}, page, undefined, turn.resolve);
      stored.catch(() => {});
      return { turn: turn.promise, stored };
    },
    /** The server lists the inbox only. */
    loseFolders: () =>
      database.db.transaction().execute((trx) => saveFolders(trx, { customerId, mailboxId: mailbox.id }, [inbox], defaultSyncSettings)),
    places: async () =>
      (
        await database.db
          .selectFrom("message_locations")
          .select("ref")
          .where("mailbox_id", "=", mailbox.id)
          .where("folder_id", "=", folder.id)
          .execute()
      ).length,
    states: async () =>
      (await database.db.selectFrom("messages").select("state").where("mailbox_id", "=", mailbox.id).orderBy("state").execute()).map(
        ({ state }) => state,
      ),
  };
}

/** Holds back whoever writes messages, behind their folder's row; `free` lets them go on. */
async function holdMessages() {
  const held = Promise.withResolvers<void>();
  const free = Promise.withResolvers<void>();
  const done = database.db.transaction().execute(async (trx) => {
    await sql`lock table messages in share mode`.execute(trx);
    held.resolve();
    await free.promise;
  });
  await held.promise;
  return async () => {
    free.resolve();
    await done;
  };
}

it("waits for the page that is being written into a folder that is removed, and looks for what it brought", async () => {
  const mailbox = await beingListed();
  const free = await holdMessages();
  const page = mailbox.begin();
  await page.turn;
  const lost = mailbox.loseFolders();
  // The page waits for the table, and who removes the folder for the page.
  await until(async () => (await countWaiting(database.db)) === 2, "two wait behind another");
  await free();
  await page.stored;
  await lost;
  expect(await mailbox.places()).toBe(0);
  expect(await mailbox.states()).toEqual(["missing", "missing", "settled"]);
});

it("drops a page whose folder was removed", async () => {
  const mailbox = await beingListed();
  await mailbox.loseFolders();
  await expect(mailbox.begin().stored).rejects.toThrow(CursorMoved);
  expect(await mailbox.places()).toBe(0);
  expect(await mailbox.states()).toEqual(["settled"]);
});

it("takes messages and places along with a mailbox that is deleted, and those of a page that is being written", async () => {
  const mailbox = await beingListed();
  const free = await holdMessages();
  const page = mailbox.begin();
  await page.turn;
  const deleted = database.db.deleteFrom("mailboxes").where("id", "=", mailbox.id).execute();
  await until(async () => (await countWaiting(database.db)) === 2, "two wait behind another");
  await free();
  await page.stored;
  await deleted;
  expect(await mailbox.places()).toBe(0);
  expect(await mailbox.states()).toEqual([]);
});
