import { ImapFlow } from "imapflow";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saveCredentials } from "../../db/credentials.ts";
import { saveRequestedText } from "../../db/message-texts.ts";
import { unseal } from "../../db/secrets.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { deliver, dovecot } from "../helpers/dovecot.ts";
import { type Engine, startEngine, type TestMailbox, testKeyRing } from "./engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("trouble", () => {
  it("is told once when it begins and once when it ends, and shows on the row in between", async () => {
    const mailbox = await engine.addMailbox();
    await open(mailbox.id);
    const problem = { mailboxId: mailbox.id, code: "authentication_failed", serverSaid: "NO", fix: null, isError: true, nextDueAt: null };
    await engine.run((run) => run.recordProblem(problem));
    await engine.run((run) => run.recordProblem(problem));
    const row = await rowOf(mailbox.id);
    expect(row.status).toBe("error");
    expect(row.problem).toMatchObject({ code: "authentication_failed", serverSaid: "NO", cause: expect.any(String), fix: expect.any(String) });

    await open(mailbox.id);
    expect(await rowOf(mailbox.id)).toMatchObject({ status: "connected", problem: null });
    expect(await typesOf(mailbox.id)).toEqual(["mailbox.connected", "mailbox.sync_completed", "mailbox.error", "mailbox.recovered"]);
  });

  it("that is no error yet shows on the row, is told to nobody, and goes with the next success", async () => {
    const mailbox = await engine.addMailbox();
    await open(mailbox.id);
    await engine.run((run) =>
      run.recordProblem({ mailboxId: mailbox.id, code: "unavailable", serverSaid: null, fix: null, isError: false, nextDueAt: Date.now() + 5_000 }),
    );
    expect(await rowOf(mailbox.id)).toMatchObject({ status: "connected", problem: { code: "unavailable" }, next_due_at: expect.any(Date) });
    await look(mailbox.id);
    expect((await rowOf(mailbox.id)).problem).toBeNull();
    expect(await typesOf(mailbox.id)).toEqual(["mailbox.connected", "mailbox.sync_completed"]);
  });

  it("ends when the right password is stored: the next call uses it, though a connection with the old one is open", async () => {
    const mailbox = await engine.addMailbox();
    await open(mailbox.id);
    await saveAs(mailbox, "wrong");
    await expect(open(mailbox.id)).rejects.toMatchObject({ type: "authentication_failed" });
    await saveAs(mailbox, mailbox.password);
    await open(mailbox.id);
  });
});

describe("folders", () => {
  it("are told when they come, change their role and go; their mail is imported and not told", async () => {
    const mailbox = await engine.addMailbox();
    await open(mailbox.id);
    await onServer(mailbox, async (client) => {
      await client.mailboxCreate("Projects/Größe");
      await client.append("Projects/Größe", mail(1), [], new Date("2026-01-05T10:00:00Z"));
    });
    await look(mailbox.id);
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    await look(mailbox.id);
    const created = (await eventsOf(mailbox.id)).filter((event) => event.type === "folder.created");
    expect(created.map((event) => (event.data.folder as { path: string }).path)).toContain("Projects/Größe");
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1"]);

    await onServer(mailbox, async (client) => void (await client.mailboxDelete("Projects/Größe")));
    const { missing } = await look(mailbox.id);
    expect(missing).toBe(1);
    await look(mailbox.id);
    const types = await typesOf(mailbox.id);
    expect(types).toContain("folder.deleted");
    expect(types).toContain("message.deleted");
    expect(types).not.toContain("message.created");
  });

  it("are read or left out, and have the role, that the settings say", async () => {
    const mailbox = await engine.addMailbox({ sync: { excludePaths: ["Archive"], roleOverrides: { Drafts: "none", Trash: "archive" } } });
    await onServer(mailbox, async (client) => void (await client.append("Archive", mail(1))));
    await open(mailbox.id);
    const folders = await engine.db
      .selectFrom("folders")
      .select(["path", "role", "role_source", "is_synced"])
      .where("mailbox_id", "=", mailbox.id)
      .execute();
    const byPath = new Map(folders.map((folder) => [folder.path, folder]));
    expect(byPath.get("Archive")?.is_synced).toBe(false);
    expect(byPath.get("Trash")).toMatchObject({ role: "archive", role_source: "override" });
    expect(byPath.get("Sent")).toMatchObject({ role: "sent", role_source: "server" });
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    expect(await subjectsOf(mailbox.id)).toEqual([]);
  });
});

describe("who a message is from", () => {
  it("makes it outgoing outside of the special folders: own address, alias, own domain, with or without a sub-address", async () => {
    const mailbox = await engine.addMailbox();
    await engine.db
      .updateTable("mailboxes")
      .set({ aliases: ["me@alias.test"], own_domains: ["house.test"] })
      .where("id", "=", mailbox.id)
      .execute();
    await onServer(mailbox, async (client) => {
      let n = 0;
      for (const from of [mailbox.email, "ME+shop@alias.test", "anyone@house.test", "stranger@else.test"]) {
        n += 1;
        await client.append("Archive", mail(n, from));
      }
    });
    await open(mailbox.id);
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    const rows = await engine.db
      .selectFrom("messages")
      .select(["subject", "direction"])
      .where("mailbox_id", "=", mailbox.id)
      .orderBy("subject")
      .execute();
    expect(rows.map((row) => row.direction)).toEqual(["outgoing", "outgoing", "outgoing", "incoming"]);
  });
});

describe("disconnecting", () => {
  it("forgets the credentials, keeps the mail, tells it once, and can be repeated", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await open(mailbox.id);
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    for (let times = 0; times < 2; times += 1) await engine.run((run) => run.forgetMailbox({ mailboxId: mailbox.id, purge: false }));
    expect(await rowOf(mailbox.id)).toMatchObject({ status: "not_connected", deleted_at: expect.any(Date), watch_state: "off" });
    expect(await engine.db.selectFrom("credentials").select("mailbox_id").where("mailbox_id", "=", mailbox.id).execute()).toEqual([]);
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1"]);
    expect((await typesOf(mailbox.id)).filter((type) => type === "mailbox.disconnected")).toHaveLength(1);
    expect(await engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }))).toEqual({ isGone: true });
  });

  it("with purge leaves nothing of the mail but the word that the mailbox is gone, kept texts and sources included", async () => {
    const mailbox = await engine.addMailbox({ sync: { content: "full", attachments: "download" } });
    await open(mailbox.id);
    for (let n = 1; n <= 3; n += 1) await deliver(mailbox.email, mail(n));
    await look(mailbox.id);
    await engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
    expect(await rowsOf("message_texts", mailbox.id)).toBe(3);
    const { id: messageId } = await engine.db.selectFrom("messages").select("id").where("mailbox_id", "=", mailbox.id).executeTakeFirstOrThrow();
    await engine.run((run) => run.forgetMailbox({ mailboxId: mailbox.id, purge: true }));
    // One that was being fetched for a reader comes too late.
    const owner = { customerId: engine.customerId, mailboxId: mailbox.id };
    expect(await saveRequestedText(engine.db, owner, { messageId, text: "late", isTruncated: false })).toBe(false);
    const { rows } = await sql<{ name: string }>`
      select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'mailbox_id' order by 1
    `.execute(engine.db);
    const left: string[] = [];
    for (const { name } of rows) if ((await rowsOf(name, mailbox.id)) > 0) left.push(name);
    expect(left).toEqual(["events"]);
    expect(await typesOf(mailbox.id)).toEqual(["mailbox.disconnected"]);
  });
});

async function rowsOf(table: string, mailboxId: MailboxId): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*) from ${sql.table(table)} where mailbox_id = ${mailboxId}`.execute(engine.db);
  return Number(rows[0]?.count);
}

async function open(mailboxId: MailboxId): Promise<void> {
  await engine.run((run) => run.openMailbox({ mailboxId }));
}

/** A full look, and the judgement of what it found so far. */
async function look(mailboxId: MailboxId) {
  const fetched = await engine.run((run) => run.fetchChanges({ mailboxId, paths: null, isThorough: true }));
  await engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete: false }));
  return fetched;
}

async function saveAs(mailbox: TestMailbox, password: string): Promise<void> {
  const { sealed } = await engine.db.selectFrom("credentials").select("sealed").where("mailbox_id", "=", mailbox.id).executeTakeFirstOrThrow();
  const stored = unseal(testKeyRing, mailbox.id, sealed) as Record<string, unknown>;
  await saveCredentials(engine.db, testKeyRing, { id: mailbox.id, customerId: engine.customerId }, { ...stored, password });
}

async function onServer(mailbox: TestMailbox, work: (client: ImapFlow) => Promise<void>): Promise<void> {
  const { host, imapPort: port } = dovecot();
  const client = new ImapFlow({ host, port, secure: false, doSTARTTLS: false, auth: { user: mailbox.email, pass: mailbox.password }, logger: false });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.logout();
  }
}

function mail(n: number, from = "ann@example.test"): string {
  return `From: <${from}>\r\nTo: bob@example.test\r\nSubject: Subject ${n}\r\nMessage-ID: <life-${n}@example.test>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nText ${n}.\r\n`;
}

async function rowOf(mailboxId: MailboxId) {
  return engine.db.selectFrom("mailboxes").selectAll().where("id", "=", mailboxId).executeTakeFirstOrThrow();
}

async function eventsOf(mailboxId: MailboxId) {
  return engine.db.selectFrom("events").selectAll().where("mailbox_id", "=", mailboxId).orderBy("sequence").execute();
}

async function typesOf(mailboxId: MailboxId): Promise<string[]> {
  return (await eventsOf(mailboxId)).map((event) => event.type);
}

async function subjectsOf(mailboxId: MailboxId): Promise<string[]> {
  const rows = await engine.db.selectFrom("messages").select("subject").where("mailbox_id", "=", mailboxId).orderBy("subject").execute();
  return rows.map((row) => row.subject);
}
