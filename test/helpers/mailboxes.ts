import type { Database } from "../../db/database.ts";
import { saveFolders } from "../../db/folder-sync.ts";
import { newId } from "../../db/ids.ts";
import { storeHistory } from "../../db/store-page.ts";
import type { FolderRole } from "../../domain/folder.ts";
import type { CustomerId, FolderId, MailboxId } from "../../domain/ids.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";

export interface FilledMailbox {
  readonly id: MailboxId;
  readonly customerId: CustomerId;
  readonly folders: Readonly<Record<keyof typeof roles, FolderId>>;
}

const roles = { INBOX: "inbox", Sent: "sent", Work: "none" } as const satisfies Record<string, FolderRole>;

/** A mailbox with these messages, stored as a first sync stores them: what is left out of a message is the least there can be. */
export async function fillMailbox(
  db: Database,
  options: {
    readonly customerId: CustomerId;
    readonly email: string;
    readonly messages: readonly { readonly folder: keyof typeof roles; readonly message: Partial<RemoteMessage> }[];
  },
): Promise<FilledMailbox> {
  const { customerId, email } = options;
  const id = newId("mailbox");
  await db
    .insertInto("customers")
    .values({ id: customerId, name: "Test" })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await db
    .insertInto("mailboxes")
    .values({ id, customer_id: customerId, email, provider: "memory", settings: "{}", sync: JSON.stringify(defaultSyncSettings) })
    .execute();
  const listed = Object.entries(roles).map(([path, role]) => ({
    ...{ path, name: path, delimiter: "/", role, roleSource: "name" as const, selectable: true, isShared: false, stableId: null },
  }));
  await db.transaction().execute((trx) => saveFolders(trx, { customerId, mailboxId: id }, listed, defaultSyncSettings));
  await db.updateTable("folders").set({ history_cursor: "{}", import_state: "importing" }).where("mailbox_id", "=", id).execute();
  const rows = await db.selectFrom("folders").selectAll().where("mailbox_id", "=", id).execute();
  const owner = { mailboxId: id, customerId, self: { email, aliases: [], ownDomains: [] }, tellListedFrom: undefined };
  for (const row of rows) {
    const messages = options.messages.filter((wanted) => wanted.folder === row.path).map(({ message }, i) => complete(message, i + 1));
    const folder = {
      ...{ id: row.id, path: row.path, role: row.role, cursor: null, historyCursor: {}, importState: "importing" as const },
      ...{
        wasComplete: false,
        importDone: 0,
        generation: row.generation,
        writes: 0,
        quietBefore: null,
        heldSince: null,
        isHoldOver: false,
        isResting: false,
      },
    };
    await storeHistory(db, owner, folder, {}, { messages, skipped: [], cursor: {}, more: false });
  }
  const folders = Object.fromEntries(rows.map((row) => [row.path, row.id])) as FilledMailbox["folders"];
  return { id, customerId, folders };
}

function complete(message: Partial<RemoteMessage>, ref: number): RemoteMessage {
  return {
    ref: String(ref),
    stableId: null,
    providerThreadId: null,
    envelope: {
      ...{ messageId: `<${ref}@test>`, inReplyTo: null, references: [], subject: `Message ${ref}`, sentAt: null },
      ...{ from: [], replyTo: [], to: [], cc: [], bcc: [] },
    },
    flags: [],
    sizeBytes: 1_000,
    receivedAt: "2026-11-01T00:00:00.000Z",
    attachments: [],
    textPart: null,
    traits: [],
    defects: [],
    recipientsTotal: null,
    ...message,
  };
}
