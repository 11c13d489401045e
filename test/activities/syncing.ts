import { ImapFlow } from "imapflow";
import type { FetchChangesResult } from "../../activities/fetch-changes.ts";
import { saveCredentials } from "../../db/credentials.ts";
import { newId } from "../../db/ids.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";
import { type MemoryMailbox, memoryMailbox } from "../../providers/memory/store.ts";
import { dovecot } from "../helpers/dovecot.ts";
import { type Engine, type TestMailbox, testKeyRing } from "./engine.ts";

/** What the workflow does on a wake, without the workflow: a look, a search if something is missing, and the telling of both. */
export async function fetchAndTell(engine: Engine, mailboxId: MailboxId, paths: readonly string[] | null = null): Promise<FetchChangesResult> {
  const fetch = (only: readonly string[] | null, isThorough: boolean) =>
    engine.run((run) => run.fetchChanges({ mailboxId, paths: only, isThorough }));
  const tell = (isSearchComplete: boolean) => engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete }));
  const fetched = await fetch(paths, paths === null);
  await tell(false);
  if (fetched.missing === 0) return fetched;
  const searched = await fetch(null, false);
  await tell(!searched.more && (searched.unread ?? 0) === 0);
  return searched;
}

/** Connects a mailbox and lists what it holds. */
export async function connect(engine: Engine, mailboxId: MailboxId): Promise<void> {
  await engine.run((run) => run.openMailbox({ mailboxId }));
  await fetchAndTell(engine, mailboxId);
  await importAll(engine, mailboxId);
}

/** Lists what began to be listed, to its end. */
export async function importAll(engine: Engine, mailboxId: MailboxId): Promise<void> {
  while (!(await engine.run((run) => run.importHistory({ mailboxId }))).isComplete);
  await fetchAndTell(engine, mailboxId);
}

/** A mailbox of the memory provider: a server that does between two questions what a test wants. */
export async function addMemoryMailbox(engine: Engine): Promise<{ readonly id: MailboxId; readonly server: MemoryMailbox }> {
  const id = newId("mailbox");
  const server = memoryMailbox(id);
  await engine.db
    .insertInto("mailboxes")
    .values({
      id,
      customer_id: engine.customerId,
      email: "ann@example.test",
      provider: "memory",
      settings: JSON.stringify({ mailbox: id }),
      sync: JSON.stringify(defaultSyncSettings),
    })
    .execute();
  await saveCredentials(engine.db, testKeyRing, { id, customerId: engine.customerId }, { password: server.password });
  return { id, server };
}

export function mail(n: number | string): string {
  return [
    "From: Ann <ann@example.test>",
    "To: bob@example.test",
    `Subject: Subject ${n}`,
    `Message-ID: <${n}@example.test>`,
    "Date: Mon, 02 Mar 2026 10:00:00 +0000",
    "Content-Type: text/plain; charset=utf-8",
    "",
    `Text of message ${n}.`,
    "",
  ].join("\r\n");
}

/** The same for the memory provider. */
export function memoryMail(n: number | string) {
  return { envelope: { messageId: `<${n}@example.test>`, subject: `Subject ${n}` } };
}

/** What another mail program does. */
export async function onServer<Result>(mailbox: TestMailbox, path: string, work: (client: ImapFlow) => Promise<Result>): Promise<Result> {
  const { host, imapPort: port } = dovecot();
  const client = new ImapFlow({ host, port, secure: false, doSTARTTLS: false, auth: { user: mailbox.email, pass: mailbox.password }, logger: false });
  await client.connect();
  try {
    await client.mailboxOpen(path);
    return await work(client);
  } finally {
    await client.logout();
  }
}

export async function eventsOf(engine: Engine, mailboxId: MailboxId, type?: string) {
  const events = await engine.db.selectFrom("events").selectAll().where("mailbox_id", "=", mailboxId).orderBy("sequence").execute();
  return events.filter((event) => type === undefined || event.type === type);
}

/** What was told about messages, in order, in few words: `created 1`, `moved 1 to Archive`, `updated 1`, `deleted 1`. */
export async function toldOf(engine: Engine, mailboxId: MailboxId): Promise<string[]> {
  const events = await eventsOf(engine, mailboxId);
  return events.flatMap(({ type, data }) => {
    const { message, changes } = data as { message?: { messageId: string | null }; changes?: { movedTo?: string } };
    if (message === undefined) return [];
    const name = (message.messageId ?? "").replace(/^<|@.*$/g, "");
    if (changes?.movedTo !== undefined) return [`moved ${name} to ${changes.movedTo}`];
    return [`${type.replace("message.", "")} ${name}`];
  });
}

/** Where the store says that messages lie: `INBOX: 1, 2`, folder by folder. */
export async function placesOf(engine: Engine, mailboxId: MailboxId): Promise<Record<string, string[]>> {
  const rows = await engine.db
    .selectFrom("message_locations as l")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .innerJoin("messages as m", "m.id", "l.message_id")
    .select(["f.path", "m.message_id"])
    .where("l.mailbox_id", "=", mailboxId)
    .execute();
  const places: Record<string, string[]> = {};
  for (const { path, message_id } of rows) places[path] = [...(places[path] ?? []), (message_id ?? "").replace(/^<|@.*$/g, "")].sort();
  return places;
}

export async function folderOf(engine: Engine, mailboxId: MailboxId, path: string) {
  return engine.db.selectFrom("folders").selectAll().where("mailbox_id", "=", mailboxId).where("path", "=", path).executeTakeFirstOrThrow();
}
