import { ImapFlow } from "imapflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FetchChangesResult } from "../../activities/fetch-changes.ts";
import { newId } from "../../db/ids.ts";
import { seal } from "../../db/secrets.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { deliver, dovecot } from "../helpers/dovecot.ts";
import { createEndpoint } from "../webhooks/outbox.ts";
import { type Engine, startEngine, type TestMailbox, testKeyRing } from "./engine.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine({ pageSize: 7 });
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a first sync", () => {
  it("lists every message of every folder, tells none of them, and tells that it is done once", async () => {
    const mailbox = await engine.addMailbox();
    for (let n = 1; n <= 20; n += 1) await deliver(mailbox.email, mail(n));
    await append(mailbox, "Sent", mail(100, { from: mailbox.email }));
    await connect(mailbox.id);

    const rows = await messagesOf(mailbox.id);
    expect(rows.map((row) => row.subject).sort()).toEqual([...range(1, 20), 100].map((n) => `Subject ${n}`).sort());
    expect(rows.filter((row) => row.direction === "outgoing").map((row) => row.subject)).toEqual(["Subject 100"]);
    expect(rows.every((row) => row.state === "settled" && row.told_at === null)).toBe(true);
    expect(await eventTypes(mailbox.id)).toEqual(["mailbox.connected", "mailbox.sync_completed"]);
    const { import_done, import_total } = await engine.db
      .selectFrom("mailboxes")
      .select(["import_done", "import_total"])
      .where("id", "=", mailbox.id)
      .executeTakeFirstOrThrow();
    expect([import_done, import_total]).toEqual([21, 21]);
  });

  it("tells history from notifyFrom on, and leaves older mail untold", async () => {
    const mailbox = await engine.addMailbox({ sync: { notifyFrom: "2026-03-01T00:00:00Z" } });
    await append(mailbox, "INBOX", mail(1), new Date("2026-02-27T12:00:00Z"));
    await append(mailbox, "INBOX", mail(2), new Date("2026-03-02T12:00:00Z"));
    await connect(mailbox.id);
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 2"]);
  });

  it("tells mail that arrives as soon as the mailbox says it is connected", async () => {
    const mailbox = await engine.addMailbox();
    await engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }));
    await deliver(mailbox.email, mail(1));
    await fetchAndTell(mailbox.id);
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    await fetchAndTell(mailbox.id);
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 1"]);
  });
});

describe("a mailbox that is live", () => {
  it("is told of by the very look that a wake asks for, without another step of its workflow", async () => {
    const mailbox = await engine.addMailbox();
    await connect(mailbox.id);
    const { id: endpointId } = await createEndpoint(engine.db, engine.customerId, "http://127.0.0.1:1/", { mailboxIds: [mailbox.id] });
    await deliver(mailbox.email, mail(1, { to: mailbox.email }));
    const fetched = await engine.run((run) => run.fetchChanges({ mailboxId: mailbox.id, paths: ["INBOX"], isThorough: false }));
    expect(fetched).toMatchObject({ told: 1, unsettled: 0, mustTell: false });
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 1"]);
    expect(engine.woken.relays).toEqual([endpointId]);
  });

  it("tells a new message once, with what a CRM needs, in sequence", async () => {
    const mailbox = await engine.addMailbox();
    await connect(mailbox.id);
    await deliver(mailbox.email, mail(1, { to: mailbox.email }));
    await deliver(mailbox.email, mail(2, { inReplyTo: "<1@example.test>" }));
    await fetchAndTell(mailbox.id, ["INBOX"]);
    await fetchAndTell(mailbox.id);

    const events = await eventsOf(mailbox.id);
    expect(events.map((event) => event.sequence)).toEqual(range(1, events.length));
    const created = events.filter((event) => event.type === "message.created").map((event) => event.data.message as Record<string, unknown>);
    expect(created).toHaveLength(2);
    expect(created[0]).toMatchObject({
      mailboxId: mailbox.id,
      direction: "incoming",
      path: "INBOX",
      specialUse: "inbox",
      messageSpecialUse: "inbox",
      uid: 1,
      subject: "Subject 1",
      messageId: "<1@example.test>",
      from: [{ name: "Ann", address: "ann@example.test" }],
      to: [{ name: "", address: mailbox.email }],
      snippet: "Text of message 1.",
      flags: [],
    });
    expect(created[1]?.threadId).toBe(created[0]?.threadId);
  });

  it("tells changed flags once, with what was added and removed", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await connect(mailbox.id);
    await onServer(mailbox, "INBOX", async (client) => void (await client.messageFlagsAdd("1", ["\\Seen", "$Forwarded"])));
    await fetchAndTell(mailbox.id);
    await fetchAndTell(mailbox.id);
    const [updated, ...more] = await eventsOf(mailbox.id, "message.updated");
    expect(more).toEqual([]);
    expect(updated?.data.changes).toEqual({ flags: { added: ["$Forwarded", "seen"], removed: [] } });
  });

  it("tells a deletion once, and nothing of a message that only moved but where it went", async () => {
    const mailbox = await engine.addMailbox();
    for (const n of [1, 2, 3]) await deliver(mailbox.email, mail(n));
    await connect(mailbox.id);
    await onServer(mailbox, "INBOX", async (client) => {
      await client.messageMove("2", "Archive", { uid: true });
      await client.messageDelete("3", { uid: true });
    });
    await fetchAndTell(mailbox.id, ["INBOX"]);
    await fetchAndTell(mailbox.id);
    const told = (await eventsOf(mailbox.id)).filter((event) => event.type.startsWith("message."));
    expect(told.map((event) => event.type).sort()).toEqual(["message.deleted", "message.updated"]);
    expect(told.find((event) => event.type === "message.updated")?.data.changes).toEqual({ movedTo: "Archive" });
  });

  it("says nothing of drafts until one is sent", async () => {
    const mailbox = await engine.addMailbox();
    await connect(mailbox.id);
    await append(mailbox, "Drafts", mail(1, { from: mailbox.email }), undefined, ["\\Draft"]);
    await fetchAndTell(mailbox.id);
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual([]);
    await onServer(mailbox, "Drafts", async (client) => {
      await client.messageFlagsRemove("1", ["\\Draft"]);
      await client.messageMove("1", "Sent");
    });
    await fetchAndTell(mailbox.id);
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 1"]);
    expect(await toldSubjects(mailbox.id, "message.deleted")).toEqual([]);
  });

  it("keeps two messages apart that share a Message-ID but not their date, and tells a copy once", async () => {
    const mailbox = await engine.addMailbox();
    await connect(mailbox.id);
    await deliver(mailbox.email, mail(1));
    await deliver(mailbox.email, mail(1));
    await deliver(mailbox.email, mail(1, { date: "Tue, 03 Mar 2026 10:00:00 +0000" }));
    await fetchAndTell(mailbox.id);
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 1", "Subject 1"]);
  });
});

describe("a resync", () => {
  it("tells nothing twice, notices what went, and tells what came while nobody could see it", async () => {
    const mailbox = await engine.addMailbox();
    for (let n = 1; n <= 10; n += 1) await deliver(mailbox.email, mail(n));
    await connect(mailbox.id);
    await deliver(mailbox.email, mail(11));
    await fetchAndTell(mailbox.id);

    await engine.run((run) => run.forgetCursors({ mailboxId: mailbox.id }));
    await onServer(mailbox, "INBOX", async (client) => void (await client.messageDelete("4", { uid: true })));
    await deliver(mailbox.email, mail(12));
    await fetchAndTell(mailbox.id);
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    await fetchAndTell(mailbox.id);
    await fetchAndTell(mailbox.id);

    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 11", "Subject 12"]);
    expect(await eventsOf(mailbox.id, "message.deleted")).toHaveLength(1);
    expect(await eventsOf(mailbox.id, "message.updated")).toEqual([]);
  });

  it("goes on when a folder is made anew under the same name", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, "INBOX", async (client) => void (await client.mailboxCreate("Project")));
    await append(mailbox, "Project", mail(1));
    await append(mailbox, "Project", mail(2));
    await connect(mailbox.id);
    await onServer(mailbox, "INBOX", async (client) => {
      await client.mailboxDelete("Project");
      await client.mailboxCreate("Project");
    });
    await append(mailbox, "Project", mail(2));
    await append(mailbox, "Project", mail(3));
    await fetchAndTell(mailbox.id);
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    await fetchAndTell(mailbox.id);
    expect(await toldSubjects(mailbox.id, "message.created")).toEqual(["Subject 3"]);
    expect(await eventsOf(mailbox.id, "mailbox.sync_reset")).toHaveLength(1);
    expect(await eventsOf(mailbox.id, "message.deleted")).toHaveLength(1);
  });
});

describe("two at once", () => {
  it("tell each message once when the same changes are fetched by several callers", async () => {
    const mailbox = await engine.addMailbox();
    await connect(mailbox.id);
    for (let n = 1; n <= 30; n += 1) await deliver(mailbox.email, mail(n));
    await Promise.all(range(1, 4).map(() => fetchAndTell(mailbox.id)));
    await fetchAndTell(mailbox.id);
    expect((await toldSubjects(mailbox.id, "message.created")).sort()).toEqual(
      range(1, 30)
        .map((n) => `Subject ${n}`)
        .sort(),
    );
    const sequences = (await eventsOf(mailbox.id)).map((event) => event.sequence);
    expect(sequences).toEqual(range(1, sequences.length));
  });

  it("import each message once when two attempts run", async () => {
    const mailbox = await engine.addMailbox();
    for (let n = 1; n <= 40; n += 1) await deliver(mailbox.email, mail(n));
    await engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }));
    await fetchAndTell(mailbox.id);
    await Promise.all(range(1, 3).map(() => engine.run((run) => run.importHistory({ mailboxId: mailbox.id }))));
    await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
    const { done } = await engine.db
      .selectFrom("folders")
      .select((eb) => eb.fn.sum<number>("import_done").as("done"))
      .where("mailbox_id", "=", mailbox.id)
      .executeTakeFirstOrThrow();
    expect(Number(done)).toBe(40);
    expect(await messagesOf(mailbox.id)).toHaveLength(40);
    expect(await eventsOf(mailbox.id, "mailbox.sync_completed")).toHaveLength(1);
  });
});

describe("failures", () => {
  it("name the code of a refused password and cannot be retried", async () => {
    const mailbox = await engine.addMailbox({ password: "wrong" });
    await expect(engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }))).rejects.toMatchObject({
      type: "authentication_failed",
      nonRetryable: true,
    });
  });

  it("leave a mailbox that is gone alone", async () => {
    const gone = "mbx_1111111111111111111111" as MailboxId;
    expect(await engine.run((run) => run.openMailbox({ mailboxId: gone }))).toEqual({ isGone: true });
    expect(await engine.run((run) => run.fetchChanges({ mailboxId: gone, paths: null, isThorough: true }))).toMatchObject({ isGone: true });
  });
});

/** What the workflow does on a wake, without the workflow. */
async function fetchAndTell(mailboxId: MailboxId, paths: readonly string[] | null = null): Promise<FetchChangesResult> {
  const fetched = await engine.run((run) => run.fetchChanges({ mailboxId, paths, isThorough: paths === null }));
  await engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete: false }));
  if (fetched.missing > 0) {
    await engine.run((run) => run.fetchChanges({ mailboxId, paths: null, isThorough: false }));
    await engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete: true }));
  }
  return fetched;
}

async function connect(mailboxId: MailboxId): Promise<void> {
  await engine.run((run) => run.openMailbox({ mailboxId }));
  await fetchAndTell(mailboxId);
  await engine.run((run) => run.importHistory({ mailboxId }));
  await fetchAndTell(mailboxId);
}

function mail(
  n: number,
  { from = "ann@example.test", to = "bob@example.test", inReplyTo = "", date = "Mon, 02 Mar 2026 10:00:00 +0000" } = {},
): string {
  return [
    `From: Ann <${from}>`,
    `To: ${to}`,
    `Subject: Subject ${n}`,
    `Message-ID: <${n}@example.test>`,
    ...(inReplyTo === "" ? [] : [`In-Reply-To: ${inReplyTo}`, `References: ${inReplyTo}`]),
    `Date: ${date}`,
    "Content-Type: text/plain; charset=utf-8",
    "",
    `Text of message ${n}.`,
    "",
  ].join("\r\n");
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

async function onServer(mailbox: TestMailbox, path: string, work: (client: ImapFlow) => Promise<void>): Promise<void> {
  const { host, imapPort: port } = dovecot();
  const client = new ImapFlow({ host, port, secure: false, doSTARTTLS: false, auth: { user: mailbox.email, pass: mailbox.password }, logger: false });
  await client.connect();
  try {
    await client.mailboxOpen(path);
    await work(client);
  } finally {
    await client.logout();
  }
}

async function append(mailbox: TestMailbox, path: string, source: string, receivedAt?: Date, flags: string[] = []): Promise<void> {
  await onServer(mailbox, "INBOX", async (client) => void (await client.append(path, source, flags, receivedAt)));
}

async function messagesOf(mailboxId: MailboxId) {
  return engine.db.selectFrom("messages").selectAll().where("mailbox_id", "=", mailboxId).execute();
}

async function eventsOf(mailboxId: MailboxId, type?: string) {
  const events = await engine.db.selectFrom("events").selectAll().where("mailbox_id", "=", mailboxId).orderBy("sequence").execute();
  return events.filter((event) => type === undefined || event.type === type);
}

async function eventTypes(mailboxId: MailboxId): Promise<string[]> {
  return (await eventsOf(mailboxId)).map((event) => event.type);
}

async function toldSubjects(mailboxId: MailboxId, type: string): Promise<string[]> {
  const events = await eventsOf(mailboxId, type);
  return events.map((event) => (event.data.message as { subject?: string }).subject ?? "");
}

describe("texts", () => {
  it("are kept with new messages only for customers with an endpoint that includes them", async () => {
    const without = await engine.addMailbox();
    await connect(without.id);
    await deliver(without.email, mail(1));
    await fetchAndTell(without.id);
    expect(await textsOf(without.id)).toEqual([]);

    const endpoint = newId("webhookEndpoint");
    await engine.db
      .insertInto("webhook_endpoints")
      .values({
        id: endpoint,
        customer_id: engine.customerId,
        url: "https://receiver.test/",
        includes_text: true,
        sealed_secrets: JSON.stringify(seal(testKeyRing, endpoint, [])),
      })
      .execute();
    const including = await engine.addMailbox();
    await connect(including.id);
    await deliver(including.email, mail(2));
    await fetchAndTell(including.id);
    expect(await textsOf(including.id)).toEqual(["Text of message 2."]);
  });

  it("are fetched on request, with their charset, off the main thread", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(
      mailbox.email,
      Buffer.from(
        "From: a@b.test\r\nMessage-ID: <x@b.test>\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u00fc\u00dfe\r\n",
        "latin1",
      ),
    );
    await connect(mailbox.id);
    const [row] = await messagesOf(mailbox.id);
    if (row === undefined) throw new Error("no message");
    await engine.run((run) => run.fetchText({ messageId: row.id }));
    expect(await textsOf(mailbox.id)).toEqual(["Gr\u00fc\u00dfe\n"]);
  });
});

async function textsOf(mailboxId: MailboxId): Promise<string[]> {
  const rows = await engine.db.selectFrom("message_texts").select("text").where("mailbox_id", "=", mailboxId).execute();
  return rows.map((row) => row.text);
}
