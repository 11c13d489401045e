import type { Database } from "../db/database.ts";
import { listSyncFolders, saveFolders } from "../db/folder-sync.ts";
import { newId } from "../db/ids.ts";
import { storeHistory } from "../db/store-page.ts";
import type { CustomerId } from "../domain/ids.ts";
import { defaultSyncSettings } from "../domain/sync-settings.ts";
import { type Correspondence, folderPages, type SyntheticMailbox, syntheticMailbox } from "./mail.ts";

export interface Store {
  readonly customerId: CustomerId;
  readonly mailboxes: readonly SyntheticMailbox[];
}

/** Shares of a customer's mail by mailbox: some hold most of it. */
const shares = [0.3, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01, 0.006, 0.004];
const names = ["ann", "tom", "support", "sales", "mia", "office", "leo", "billing", "eva", "max", "ida", "new"];

/** A customer with that many messages in a dozen mailboxes, stored page by page by the code of the first sync. */
export async function fillStore(
  db: Database,
  mail: Correspondence,
  { seed, messages, onStored }: { readonly seed: number; readonly messages: number; readonly onStored: (count: number) => void },
): Promise<Store> {
  const customerId = newId("customer");
  await db.insertInto("customers").values({ id: customerId, name: "Bench" }).execute();
  const mailboxes = names.map((name, i) => syntheticMailbox(customerId, name, Math.round(messages * (shares[i] ?? 0))));
  const waiting = [...mailboxes.entries()];
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      await fillMailbox(db, mail, next[1], seed + next[0] * 1_000_003, onStored);
    }
  };
  await Promise.all([lane(), lane()]);
  return { customerId, mailboxes };
}

/** Stores a mailbox's history as a first sync does, folder after folder, and counts what is stored. */
export async function fillMailbox(
  db: Database,
  mail: Correspondence,
  mailbox: SyntheticMailbox,
  seed: number,
  onStored: (count: number) => void,
): Promise<void> {
  const { id, owner, email } = mailbox;
  const settings = JSON.stringify(defaultSyncSettings);
  await db
    .insertInto("mailboxes")
    .values({ id, customer_id: owner.customerId, email, provider: "memory", settings: "{}", sync: settings, status: "connected" })
    .execute();
  const listed = mailbox.folders.map(({ path, role }) => ({
    ...{ path, name: path, delimiter: "/", role, roleSource: "name" as const, selectable: true, isShared: false, stableId: null },
  }));
  await db.transaction().execute((trx) => saveFolders(trx, owner, listed, defaultSyncSettings));
  await db
    .updateTable("folders")
    .set({ history_cursor: JSON.stringify({ page: 0 }), import_state: "importing" })
    .where("mailbox_id", "=", id)
    .execute();
  const rows = await listSyncFolders(db, id);
  for (const folder of mailbox.folders) {
    const target = rows.find(({ path }) => path === folder.path);
    if (target === undefined) throw new Error(`${folder.path} was not stored`);
    let page = 0;
    for (const messages of folderPages(mail, mailbox, folder, { seed, pageSize: 500 })) {
      const more = (page + 1) * 500 < folder.count;
      await storeHistory(db, owner, target, { page }, { messages, cursor: { page: page + 1 }, more, skipped: [] });
      page++;
      onStored(messages.length);
    }
  }
}
