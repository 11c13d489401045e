import { afterAll, beforeAll, expect, it } from "vitest";
import { listSyncFolders } from "../../db/folder-sync.ts";
import { newId } from "../../db/ids.ts";
import { type PageOwner, storeHistory } from "../../db/store-page.ts";
import { me, sketched } from "../domain/messages-in-threads.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { fillMailbox } from "../helpers/mailboxes.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

it("leaves out what is not wanted of a page that names a message twice", async () => {
  const customerId = newId("customer");
  const mailbox = await fillMailbox(database.db, { customerId, email: me.email, messages: [] });
  await database.db.updateTable("folders").set({ history_cursor: "{}", import_state: "importing" }).where("mailbox_id", "=", mailbox.id).execute();
  const [folder] = await listSyncFolders(database.db, mailbox.id);
  if (folder === undefined) throw new Error("the folder is not there");
  const [one, other] = [sketched({ n: 1 }), sketched({ n: 2 })];
  const owner: PageOwner = {
    ...{ mailboxId: mailbox.id, customerId, self: me, tellListedFrom: undefined },
    rules: {
      ...{ notifyFrom: undefined, keptFrom: undefined },
      isWanted: ({ ref }) => ref === one.ref,
      settingsAt: (await database.db.selectFrom("mailboxes").select("updated_at").where("id", "=", mailbox.id).executeTakeFirstOrThrow()).updated_at,
    },
  };
  await storeHistory(database.db, owner, folder, {}, { messages: [one, { ...one }, other], skipped: [], cursor: {}, more: false });
  const places = await database.db.selectFrom("message_locations").select("ref").where("mailbox_id", "=", mailbox.id).execute();
  expect(places).toEqual([{ ref: one.ref }]);
});
