import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgetMessages } from "../../db/forget-messages.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { deliver } from "../helpers/dovecot.ts";
import { type Engine, startEngine } from "./engine.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine({ pageSize: 7 });
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a message that was forgotten", () => {
  it("keeps nothing but its place in the registry, and no event tells of it", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await connect(mailbox.id);
    const [stored] = await messagesOf(mailbox.id);
    const before = await eventTypes(mailbox.id);
    expect(await engine.db.transaction().execute((trx) => forgetMessages(trx, [stored?.id ?? ("" as never)]))).toBe(1);
    const [row] = await messagesOf(mailbox.id);
    expect(row).toMatchObject({
      is_deleted: true,
      is_forgotten: true,
      subject: "",
      snippet: null,
      message_id: null,
      main_folder_id: null,
      state: "settled",
    });
    expect(JSON.stringify(row)).not.toContain("example.test");
    expect(await engine.db.selectFrom("message_locations").select("ref").where("mailbox_id", "=", mailbox.id).execute()).toEqual([]);
    await look(mailbox.id);
    expect(await eventTypes(mailbox.id)).toEqual(before);
    expect(await engine.db.transaction().execute((trx) => forgetMessages(trx, [stored?.id ?? ("" as never)]))).toBe(0);
  });

  it("gets back what it said when a listing names it again, and is told to nobody", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await connect(mailbox.id);
    const [stored] = await messagesOf(mailbox.id);
    await engine.db.transaction().execute((trx) => forgetMessages(trx, [stored?.id ?? ("" as never)]));
    await engine.run((run) => run.forgetCursors({ mailboxId: mailbox.id }));
    await look(mailbox.id);
    await importAll(mailbox.id);
    await look(mailbox.id);
    const [row] = await messagesOf(mailbox.id);
    expect(row).toMatchObject({
      is_deleted: false,
      is_forgotten: false,
      subject: "Subject 1",
      state: "settled",
      main_folder_id: stored?.main_folder_id,
    });
    expect(row?.envelope).toEqual(stored?.envelope);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual([]);
  });
});

async function connect(mailboxId: MailboxId): Promise<void> {
  await engine.run((run) => run.openMailbox({ mailboxId }));
  await importAll(mailboxId);
  await look(mailboxId);
}

async function importAll(mailboxId: MailboxId): Promise<void> {
  while (!(await engine.run((run) => run.importHistory({ mailboxId }))).isComplete);
}

/** A full look, and the judgement of what it found, as the workflow does both. */
async function look(mailboxId: MailboxId): Promise<void> {
  const { missing } = await engine.run((run) => run.fetchChanges({ mailboxId, paths: null, isThorough: true }));
  await engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete: false }));
  if (missing === 0) return;
  await engine.run((run) => run.fetchChanges({ mailboxId, paths: null, isThorough: false }));
  await engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete: true }));
}

function mail(n: number, { from = "ann@example.test" }: { readonly from?: string } = {}): string {
  return `From: <${from}>\r\nTo: bob@example.test\r\nSubject: Subject ${n}\r\nMessage-ID: <settings-${n}@example.test>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nText ${n}.\r\n`;
}

async function messagesOf(mailboxId: MailboxId) {
  return engine.db.selectFrom("messages").selectAll().where("mailbox_id", "=", mailboxId).orderBy("subject").execute();
}

async function eventTypes(mailboxId: MailboxId): Promise<string[]> {
  const rows = await engine.db.selectFrom("events").select("type").where("mailbox_id", "=", mailboxId).orderBy("sequence").execute();
  return rows.map((row) => row.type);
}
