import { sql } from "kysely";
import type { Database } from "../../db/database.ts";
import { listSyncFolders } from "../../db/folder-sync.ts";
import { newId } from "../../db/ids.ts";
import { type PageOwner, storeChanges, storeHistory } from "../../db/store-page.ts";
import { settleMessages } from "../../db/unsettled.ts";
import type { CustomerId, ThreadId } from "../../domain/ids.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import { me, type Sketch, sketched } from "../domain/messages-in-threads.ts";

/** A mailbox with one folder into which sketched messages arrive by page, through the code that stores real ones. */
export async function newArrivingMailbox(db: Database, customerId: CustomerId) {
  const owner: PageOwner = { mailboxId: newId("mailbox"), customerId, self: me, tellListedFrom: undefined };
  const folderId = newId("folder");
  const { mailboxId } = owner;
  await db
    .insertInto("mailboxes")
    .values({ id: mailboxId, customer_id: customerId, email: me.email, provider: "memory", settings: "{}", sync: "{}" })
    .execute();
  const names = { path: "INBOX", name: "INBOX", delimiter: "/", role: "inbox", role_source: "name" } as const;
  const states = { is_selectable: true, is_synced: true, cursor: '{"live":0}', history_cursor: '{"history":0}' } as const;
  await db
    .insertInto("folders")
    .values({ id: folderId, customer_id: customerId, mailbox_id: mailboxId, ...names, ...states })
    .execute();
  const [folder] = await listSyncFolders(db, mailboxId);
  if (folder === undefined) throw new Error("the folder was not stored");
  let pages = 0;
  let livePages = 0;
  const inHistory = (messages: readonly RemoteMessage[]) => {
    const previous = { history: pages };
    pages += 1;
    return storeHistory(db, owner, folder, previous, { messages, skipped: [], cursor: { history: pages }, more: true });
  };
  return {
    id: mailboxId,
    arrive: (sketches: readonly Sketch[]) => inHistory(sketches.map(sketched)),
    /** After an attempt that failed: the cursor stands where it stood. */
    arriveAgain: (sketches: readonly Sketch[]) => {
      pages -= 1;
      return inHistory(sketches.map(sketched));
    },
    arriveLive: (sketches: readonly Sketch[]) => {
      const known = { ...folder, cursor: { live: livePages } };
      livePages += 1;
      const page = { added: sketches.map(sketched), flagChanges: [], removed: [], present: undefined, more: false, reset: false, total: 0 };
      return storeChanges(
        db,
        owner,
        known,
        { ...page, skipped: [], cursor: { live: livePages }, historyCursor: undefined },
        { snippets: new Map(), kept: new Map() },
      );
    },
    /** Judges what changed, as if every folder had been read since. */
    settle: async () => {
      await db.updateTable("mailboxes").set({ gone_before: sql<Date>`now() + interval '1 minute'` }).where("id", "=", mailboxId).execute();
      await settleMessages(db, { customerId, mailboxId, account: null, self: me });
    },
    /** Each thread as the numbers of its messages. */
    threads: async () => {
      const rows = await db.selectFrom("messages").select(["thread_id", "size_bytes"]).where("mailbox_id", "=", mailboxId).execute();
      return [...Map.groupBy(rows, (row) => row.thread_id).values()]
        .map((thread) => thread.map((row) => row.size_bytes - 100).sort((a, b) => a - b))
        .sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0));
    },
    threadId: async (n: number): Promise<ThreadId> => {
      const query = db.selectFrom("messages").select("thread_id").where("mailbox_id", "=", mailboxId);
      return (await query.where("size_bytes", "=", 100 + n).executeTakeFirstOrThrow()).thread_id;
    },
    merges: async () => {
      const query = db.selectFrom("events").select(["sequence", "data"]).where("mailbox_id", "=", mailboxId);
      return query.where("type", "=", "thread.merged").orderBy("sequence").execute();
    },
    snapshot: async () => {
      const keys = await db.selectFrom("thread_keys").select("key").where("mailbox_id", "=", mailboxId).execute();
      return {
        messages: await db.selectFrom("messages").select(["id", "thread_id"]).where("mailbox_id", "=", mailboxId).orderBy("id").execute(),
        threads: await db.selectFrom("threads").selectAll().where("mailbox_id", "=", mailboxId).orderBy("id").execute(),
        keys: keys.length,
      };
    },
    /** Threads whose row does not say what their messages say, and merged ones that still have messages. */
    inconsistencies: async () => {
      const { rows } = await sql`
        select t.id, t.last_at, t.merged_into, max(m.received_at) as newest from threads t full join messages m on m.thread_id = t.id
        where coalesce(t.mailbox_id, m.mailbox_id) = ${mailboxId}
        group by t.id having t.last_at is distinct from max(m.received_at) or (t.merged_into is not null and count(m.id) > 0)
      `.execute(db);
      return rows;
    },
  };
}
