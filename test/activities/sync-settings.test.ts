import { ImapFlow } from "imapflow";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgetMessages } from "../../db/forget-messages.ts";
import type { MailboxId } from "../../domain/ids.ts";
import type { SyncSettings } from "../../domain/sync-settings.ts";
import { deliver, dovecot } from "../helpers/dovecot.ts";
import { type Engine, startEngine, type TestMailbox } from "./engine.ts";

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
    // A column that is added says something of the message, and is cleared, or stands here.
    const kept = ["id", "customer_id", "mailbox_id", "thread_id", "size_bytes", "received_at", "direction", "special_use", "told_at"];
    const facts = ["state", "is_deleted", "is_forgotten", "is_untold", "is_bare_reply", "created_at", "revision", "envelope"];
    const said = Object.entries(row ?? {}).filter(([column]) => !kept.includes(column) && !facts.includes(column));
    expect(said.filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0))).toEqual([]);
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

describe("folders", () => {
  it("reads what `all`, roles and paths name, and never what is excluded", async () => {
    const mailbox = await engine.addMailbox({
      sync: { folders: "none", includeRoles: ["sent"], includePaths: ["Work", "Left"], excludePaths: ["Left"] },
    });
    await onServer(mailbox, async (client) => {
      for (const path of ["Work", "Left", "Other"]) await client.mailboxCreate(path);
    });
    await connect(mailbox.id);
    expect(await readPaths(mailbox.id)).toEqual(["Sent", "Work"]);
    await change(mailbox, { folders: "all" });
    expect(await readPaths(mailbox.id)).toEqual(["Archive", "Drafts", "INBOX", "Junk", "Other", "Sent", "Trash", "Work"]);
  });

  it("back-fills a folder that is added, and tells what comes after that and nothing of what was there", async () => {
    const mailbox = await engine.addMailbox({ sync: { excludePaths: ["Work"] } });
    await onServer(mailbox, async (client) => {
      await client.mailboxCreate("Work");
      await client.append("Work", mail(1), [], new Date("2026-01-01T00:00:00Z"));
    });
    await connect(mailbox.id);
    // As if it had been connected for an hour: what came since would have been told, had the folder been read.
    await engine.db
      .updateTable("mailboxes")
      .set({ anchored_at: new Date(Date.now() - 3_600_000) })
      .where("id", "=", mailbox.id)
      .execute();
    await onServer(mailbox, async (client) => void (await client.append("Work", mail(2), [], new Date(Date.now() - 60_000))));
    await change(mailbox, { excludePaths: [] });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 2"]);
    await onServer(mailbox, async (client) => void (await client.append("Work", mail(3))));
    await look(mailbox.id);
    expect(await toldSubjects(mailbox.id)).toEqual(["Subject 3"]);
  });

  it("purges what lay only in a folder that is removed, keeps what lies elsewhere too, and fills it again untold", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await onServer(mailbox, async (client) => {
      await client.mailboxCreate("Work");
      for (const n of [1, 2, 3]) await client.append("Work", mail(n));
    });
    await connect(mailbox.id);
    const before = await eventTypes(mailbox.id);
    await change(mailbox, { excludePaths: ["Work"] });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1"]);
    expect((await messagesOf(mailbox.id)).filter((row) => row.is_forgotten)).toHaveLength(2);
    const places = await engine.db.selectFrom("message_locations").select("ref").where("mailbox_id", "=", mailbox.id).execute();
    expect(places).toHaveLength(1);
    await change(mailbox, { excludePaths: [] });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 2", "Subject 3"]);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual(
      before.filter((type) => type.startsWith("message.")),
    );
  });

  it("shows a message whose main folder is removed where else it lies", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await onServer(mailbox, async (client) => void (await client.append("Archive", mail(1))));
    await connect(mailbox.id);
    await change(mailbox, { excludePaths: ["INBOX"] });
    const [row] = await messagesOf(mailbox.id);
    expect(row).toMatchObject({ is_deleted: false, special_use: "archive", subject: "Subject 1" });
  });
});

describe("roles", () => {
  it("take the folder named by sentPath for what was sent, and judge what is there anew without telling it", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, async (client) => {
      await client.mailboxCreate("Gesendet 2");
      await client.append("Gesendet 2", mail(1));
      await client.append("Sent", mail(2));
    });
    await connect(mailbox.id);
    expect(await directionsOf(mailbox.id)).toEqual(["incoming", "outgoing"]);
    const before = (await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."));
    await change(mailbox, { sentPath: "Gesendet 2" });
    expect(await directionsOf(mailbox.id)).toEqual(["outgoing", "incoming"]);
    expect(await roleOf(mailbox.id, "Sent")).toBe("none");
    await change(mailbox, { sentPath: null, roleOverrides: { "Gesendet 2": "junk" } });
    expect(await directionsOf(mailbox.id)).toEqual(["junk", "outgoing"]);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual(before);
  });
});

describe("aliases and own domains", () => {
  it("that change judge directions anew where the sender decides, and tell nothing of it", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, async (client) => {
      await client.mailboxCreate("Filed");
      for (const [n, address] of ["ann@example.test", "Ann+shop@other.test", "bob@own.test", "eve@else.test"].entries())
        await client.append("Filed", mail(n, { from: address }));
      await client.append("INBOX", mail(9, { from: "ann@other.test" }));
    });
    await connect(mailbox.id);
    expect(await directionsOf(mailbox.id)).toEqual(["incoming", "incoming", "incoming", "incoming", "incoming"]);
    const before = (await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."));
    await changeSelf(mailbox, { aliases: ["ann@example.test", "ann@OTHER.test"], own_domains: ["own.test"] });
    expect(await directionsOf(mailbox.id)).toEqual(["outgoing", "outgoing", "outgoing", "incoming", "incoming"]);
    await changeSelf(mailbox, { aliases: ["ann@example.test"], own_domains: [] });
    expect(await directionsOf(mailbox.id)).toEqual(["outgoing", "incoming", "incoming", "incoming", "incoming"]);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual(before);
  });

  it("that change bring in what was left out as sent, and forget what is", async () => {
    const mailbox = await engine.addMailbox({ sync: { direction: "inbound" } });
    await engine.db
      .updateTable("mailboxes")
      .set({ aliases: ["one@example.test"] })
      .where("id", "=", mailbox.id)
      .execute();
    await onServer(mailbox, async (client) => {
      await client.mailboxCreate("Filed");
      await client.append("Filed", mail(1, { from: "one@example.test" }));
      await client.append("Filed", mail(2, { from: "two@example.test" }));
    });
    await connect(mailbox.id);
    expect(await keptSubjects(mailbox.id)).toEqual(["Subject 2"]);
    await changeSelf(mailbox, { aliases: ["two@example.test"] });
    expect(await keptSubjects(mailbox.id)).toEqual(["Subject 1"]);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual([]);
  });
});

describe("direction", () => {
  it("neither stores nor tells what goes the other way, and does not read a folder that holds nothing else", async () => {
    const mailbox = await engine.addMailbox({ sync: { direction: "inbound" } });
    await onServer(mailbox, async (client) => {
      await client.append("Sent", mail(1, { from: mailbox.email }));
      await client.append("Archive", mail(2, { from: mailbox.email }));
      await client.append("Archive", mail(3));
    });
    await connect(mailbox.id);
    expect(await readPaths(mailbox.id)).not.toContain("Sent");
    await deliver(mailbox.email, mail(4));
    await onServer(mailbox, async (client) => void (await client.append("Archive", mail(5, { from: mailbox.email }))));
    await look(mailbox.id);
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 3", "Subject 4"]);
    expect(await toldSubjects(mailbox.id)).toEqual(["Subject 4"]);
  });

  it("forgets what is not wanted any more, and imports what was left out, untold", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, async (client) => {
      await client.append("Sent", mail(1, { from: mailbox.email }));
      await client.append("Archive", mail(2, { from: mailbox.email }));
      await client.append("Archive", mail(3));
      await client.append("Trash", mail(6, { from: mailbox.email }));
      await client.append("Trash", mail(7));
    });
    await connect(mailbox.id);
    await change(mailbox, { direction: "inbound" });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 3", "Subject 7"]);
    await change(mailbox, { direction: "outbound" });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 2", "Subject 6"]);
    await change(mailbox, { direction: "both" });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 2", "Subject 3", "Subject 6", "Subject 7"]);
    expect(await toldSubjects(mailbox.id)).toEqual([]);
  });

  it("tells mail that came between the last look and the change that widened it", async () => {
    const mailbox = await engine.addMailbox({ sync: { direction: "outbound" } });
    await connect(mailbox.id);
    await deliver(mailbox.email, mail(1));
    await onServer(mailbox, async (client) => void (await client.append("Archive", mail(2, { from: mailbox.email }))));
    await change(mailbox, { direction: "both" });
    expect(await toldSubjects(mailbox.id)).toContain("Subject 2");
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 2"]);
  });
});

describe("an age limit", () => {
  it("imports nothing older, keeps older mail that is moved in out, and a raised limit brings it in untold", async () => {
    const mailbox = await engine.addMailbox({ sync: { ageLimitDays: 30 } });
    // Old mail may have high UIDs: what is listed first is not what came last.
    for (const [n, days] of [
      [1, 5],
      [2, 400],
      [3, 20],
      [4, 45],
    ] as const) {
      await onServer(mailbox, async (client) => void (await client.append("INBOX", mail(n), [], daysAgo(days))));
    }
    await connect(mailbox.id);
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 3"]);
    expect(await flowOf(mailbox.id)).toMatchObject({ import_done: 2, import_total: 2 });
    await onServer(mailbox, async (client) => void (await client.append("INBOX", mail(5), [], daysAgo(60))));
    await look(mailbox.id);
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 3"]);
    await change(mailbox, { ageLimitDays: 100 });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 3", "Subject 4", "Subject 5"]);
    expect(await toldSubjects(mailbox.id)).toEqual([]);
  });

  it("forgets what grew too old when it is set, and tells no deletion", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, async (client) => {
      await client.append("INBOX", mail(1), [], daysAgo(3));
      await client.append("INBOX", mail(2), [], daysAgo(30));
    });
    await connect(mailbox.id);
    await change(mailbox, { ageLimitDays: 10 });
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1"]);
    await engine.run((run) => run.forgetCursors({ mailboxId: mailbox.id }));
    await lookAndImport(mailbox.id);
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1"]);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual([]);
  });
});

describe("retention", () => {
  it("forgets once a day what grew too old meanwhile, also of a paused mailbox, and tells nothing", async () => {
    const mailbox = await engine.addMailbox({ sync: { ageLimitDays: 30 } });
    await onServer(mailbox, async (client) => {
      await client.append("INBOX", mail(1), [], daysAgo(3));
      await client.append("INBOX", mail(2), [], daysAgo(20));
    });
    await connect(mailbox.id);
    await engine.db
      .updateTable("messages")
      .set({ received_at: daysAgo(31) })
      .where("mailbox_id", "=", mailbox.id)
      .where("subject", "=", "Subject 2")
      .execute();
    const sweep = () => engine.run((run) => run.sweep());
    const setRow = (values: object) => engine.db.updateTable("mailboxes").set(values).where("id", "=", mailbox.id).execute();
    await setRow({ is_paused: true, retained_at: daysAgo(0.5) });
    await sweep();
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1", "Subject 2"]);
    await setRow({ retained_at: daysAgo(1.1) });
    await sweep();
    expect(await subjectsOf(mailbox.id)).toEqual(["Subject 1"]);
    expect((await eventTypes(mailbox.id)).filter((type) => type.startsWith("message."))).toEqual([]);
  });
});

describe("notifyFrom", () => {
  it("set later tells what came since then and was not told, once", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, async (client) => {
      await client.append("INBOX", mail(1), [], new Date("2026-02-27T12:00:00Z"));
      await client.append("INBOX", mail(2), [], new Date("2026-03-02T12:00:00Z"));
    });
    await connect(mailbox.id);
    await deliver(mailbox.email, mail(3));
    await look(mailbox.id);
    await change(mailbox, { notifyFrom: "2026-03-01T00:00:00.000Z" });
    await change(mailbox, { notifyFrom: "2026-03-01T12:00:00.000Z" });
    expect(await toldSubjects(mailbox.id)).toEqual(["Subject 2", "Subject 3"]);
  });
});

describe("settings that change while they are carried out", () => {
  it("are begun anew, and what was read with the old ones is not stored", async () => {
    const mailbox = await engine.addMailbox();
    await connect(mailbox.id);
    const opened = await openAfter(mailbox, { direction: "inbound" });
    await write(mailbox, { direction: "outbound" });
    expect(await engine.run((run) => run.settleSettings({ mailboxId: mailbox.id, settlesAt: opened.settlesAt ?? 0 }))).toMatchObject({
      isStale: true,
    });
    expect((await openAfter(mailbox, {})).settlesAt).toBeDefined();
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

async function lookAndImport(mailboxId: MailboxId): Promise<void> {
  await look(mailboxId);
  await importAll(mailboxId);
  await look(mailboxId);
}

/** What the API stores of a change. */
async function write(mailbox: TestMailbox, sync: Partial<SyncSettings>): Promise<void> {
  const { sync: stored } = await engine.db.selectFrom("mailboxes").select("sync").where("id", "=", mailbox.id).executeTakeFirstOrThrow();
  await engine.db
    .updateTable("mailboxes")
    .set({ sync: JSON.stringify({ ...stored, ...sync }), updated_at: sql<Date>`clock_timestamp()` })
    .where("id", "=", mailbox.id)
    .execute();
}

async function openAfter(mailbox: TestMailbox, sync: Partial<SyncSettings>) {
  if (Object.keys(sync).length > 0) await write(mailbox, sync);
  const opened = await engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }));
  if (opened.isGone) throw new Error("the mailbox is there");
  return opened;
}

/** A change of settings, and what the workflow does about it. */
async function change(mailbox: TestMailbox, sync: Partial<SyncSettings>): Promise<void> {
  const { settlesAt } = await openAfter(mailbox, sync);
  await lookAndImport(mailbox.id);
  if (settlesAt === undefined) throw new Error("a change has to be carried out");
  while ((await engine.run((run) => run.settleSettings({ mailboxId: mailbox.id, settlesAt }))).more);
  await look(mailbox.id);
}

/** The same for the addresses that the mailbox takes for its own. */
async function changeSelf(mailbox: TestMailbox, self: { readonly aliases: string[]; readonly own_domains?: string[] }): Promise<void> {
  await engine.db
    .updateTable("mailboxes")
    .set({ ...self, updated_at: sql<Date>`clock_timestamp()` })
    .where("id", "=", mailbox.id)
    .execute();
  await change(mailbox, {});
}

async function keptSubjects(mailboxId: MailboxId): Promise<string[]> {
  return (await messagesOf(mailboxId)).filter((row) => !row.is_forgotten).map((row) => row.subject);
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

function daysAgo(days: number): Date {
  return new Date(Date.now() - days * 86_400_000);
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

async function subjectsOf(mailboxId: MailboxId): Promise<string[]> {
  return (await messagesOf(mailboxId)).filter((row) => !row.is_deleted).map((row) => row.subject);
}

async function directionsOf(mailboxId: MailboxId): Promise<string[]> {
  return (await messagesOf(mailboxId)).map((row) => row.direction);
}

async function toldSubjects(mailboxId: MailboxId): Promise<string[]> {
  const rows = await engine.db
    .selectFrom("events")
    .select("data")
    .where("mailbox_id", "=", mailboxId)
    .where("type", "=", "message.created")
    .orderBy("sequence")
    .execute();
  return rows.map((row) => (row.data.message as { readonly subject: string }).subject).sort();
}

async function readPaths(mailboxId: MailboxId): Promise<string[]> {
  const rows = await engine.db.selectFrom("folders").select("path").where("mailbox_id", "=", mailboxId).where("is_synced", "=", true).execute();
  return rows.map((row) => row.path).sort();
}

async function roleOf(mailboxId: MailboxId, path: string): Promise<string> {
  const row = await engine.db
    .selectFrom("folders")
    .select("role")
    .where("mailbox_id", "=", mailboxId)
    .where("path", "=", path)
    .executeTakeFirstOrThrow();
  return row.role;
}

async function flowOf(mailboxId: MailboxId) {
  return engine.db.selectFrom("mailboxes").select(["import_done", "import_total"]).where("id", "=", mailboxId).executeTakeFirstOrThrow();
}
