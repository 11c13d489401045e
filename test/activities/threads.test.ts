import { ImapFlow } from "imapflow";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { MailboxId } from "../../domain/ids.ts";
import { deliver, dovecot } from "../helpers/dovecot.ts";
import { type Engine, startEngine, type TestMailbox } from "./engine.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine({ pageSize: 2 });
});
afterAll(() => engine[Symbol.asyncDispose]());

it("holds a conversation together across folders and pages, although its end is listed before its beginning", async () => {
  const mailbox = await engine.addMailbox();
  for (const n of [1, 3, 5, 7]) await deliver(mailbox.email, mail(n, n === 1 ? [] : [id(n - 1)], "Re: Lunch"));
  for (const n of [2, 4, 6, 8]) await append(mailbox, "Sent", mail(n, [id(n - 1)], "Re: Lunch", mailbox.email));
  await deliver(mailbox.email, mail(100, [], "Dinner"));
  await connect(mailbox.id);
  const rows = await engine.db.selectFrom("messages").select(["thread_id", "message_id"]).where("mailbox_id", "=", mailbox.id).execute();
  const threads = [...Map.groupBy(rows, (row) => row.thread_id).values()].map((thread) => thread.length);
  expect(threads.sort()).toEqual([1, 8]);
  expect(await mergesOf(mailbox.id)).toEqual([]);
});

it("tells once that two threads proved to be one, after the messages that named them and before the one that proved it", async () => {
  const mailbox = await engine.addMailbox();
  await connect(mailbox.id);
  // Two branches whose common parent went into another folder, and comes last.
  await deliver(mailbox.email, mail(2, ["<branch@example.test>"], "Re: Lunch"));
  await deliver(mailbox.email, mail(3, [id(1)], "Re: Lunch"));
  await deliver(mailbox.email, mail(4, [id(3)], "Re: Lunch"));
  await fetchAndTell(mailbox.id);
  await append(mailbox, "Archive", mail(1, ["<branch@example.test>"], "Lunch"));
  await fetchAndTell(mailbox.id);
  await fetchAndTell(mailbox.id);
  await engine.run((run) => run.forgetCursors({ mailboxId: mailbox.id }));
  await fetchAndTell(mailbox.id);
  await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
  await fetchAndTell(mailbox.id);

  const events = await eventsOf(mailbox.id);
  const told = events.filter(({ type }) => type === "message.created" || type === "thread.merged");
  expect(told.map(({ type }) => type)).toEqual(["message.created", "message.created", "message.created", "thread.merged", "message.created"]);
  const [smaller, larger] = [threadOf(told[0]), threadOf(told[1])];
  expect(told[3]?.data).toEqual({ threadId: smaller, mergedInto: larger });
  expect(threadOf(told[4])).toBe(larger);
  const rows = await engine.db.selectFrom("messages").select("thread_id").where("mailbox_id", "=", mailbox.id).execute();
  expect(rows.map((row) => row.thread_id)).toEqual([larger, larger, larger, larger]);
});

it("ties an answer without references to what it answers by subject and participants, and leaves invoices apart", async () => {
  const mailbox = await engine.addMailbox();
  await deliver(mailbox.email, mail(1, [], "Invoice"));
  await deliver(mailbox.email, mail(2, [], "Invoice"));
  await deliver(mailbox.email, mail(3, [], "Lunch"));
  await append(mailbox, "Sent", mail(4, [], "AW: Lunch", mailbox.email, "ann@example.test"));
  await connect(mailbox.id);
  const rows = await engine.db.selectFrom("messages").select(["thread_id", "message_id"]).where("mailbox_id", "=", mailbox.id).execute();
  const threads = [...Map.groupBy(rows, (row) => row.thread_id).values()].map((thread) => thread.map((row) => row.message_id).sort());
  expect(threads.sort()).toEqual([[id(1)], [id(2)], [id(3), id(4)]]);
});

it("begins no thread that the messages of a repeated import do not have", async () => {
  const mailbox = await engine.addMailbox();
  for (const n of [1, 2, 3, 4, 5]) await deliver(mailbox.email, mail(n, n > 1 ? [id(n - 1)] : [], "Re: Lunch"));
  await connect(mailbox.id);
  const before = await engine.db.selectFrom("threads").selectAll().where("mailbox_id", "=", mailbox.id).execute();
  await engine.run((run) => run.forgetCursors({ mailboxId: mailbox.id }));
  await connect(mailbox.id);
  expect(await engine.db.selectFrom("threads").selectAll().where("mailbox_id", "=", mailbox.id).execute()).toEqual(before);
  expect(before).toHaveLength(1);
});

function id(n: number): string {
  return `<${n}@example.test>`;
}

function mail(n: number, references: readonly string[], subject: string, from = "ann@example.test", to = "bob@example.test"): string {
  return [
    `From: <${from}>`,
    `To: ${to}`,
    `Subject: ${subject}`,
    `Message-ID: ${id(n)}`,
    ...(references.length === 0 ? [] : [`In-Reply-To: ${references.at(-1)}`]),
    "Date: Mon, 02 Mar 2026 10:00:00 +0000",
    "Content-Type: text/plain",
    "",
    `Text ${n}.`,
    "",
  ].join("\r\n");
}

async function connect(mailboxId: MailboxId): Promise<void> {
  await engine.run((run) => run.openMailbox({ mailboxId }));
  await fetchAndTell(mailboxId);
  for (;;) if ((await engine.run((run) => run.importHistory({ mailboxId }))).isComplete) break;
  await fetchAndTell(mailboxId);
}

async function fetchAndTell(mailboxId: MailboxId): Promise<void> {
  await engine.run((run) => run.fetchChanges({ mailboxId, paths: null, isThorough: true }));
  await engine.run((run) => run.classifyMessages({ mailboxId, isSearchComplete: false }));
}

async function append(mailbox: TestMailbox, path: string, source: string): Promise<void> {
  const { host, imapPort: port } = dovecot();
  const client = new ImapFlow({ host, port, secure: false, doSTARTTLS: false, auth: { user: mailbox.email, pass: mailbox.password }, logger: false });
  client.on("error", () => {});
  await client.connect();
  try {
    await client.append(path, source);
  } finally {
    await client.logout();
  }
}

async function eventsOf(mailboxId: MailboxId) {
  return engine.db.selectFrom("events").select(["type", "data"]).where("mailbox_id", "=", mailboxId).orderBy("sequence").execute();
}

async function mergesOf(mailboxId: MailboxId) {
  return (await eventsOf(mailboxId)).filter(({ type }) => type === "thread.merged");
}

function threadOf(event: { readonly data: Record<string, unknown> } | undefined): string {
  if (event === undefined) throw new Error("there is no such event");
  return (event.data.message as { readonly threadId: string }).threadId;
}
