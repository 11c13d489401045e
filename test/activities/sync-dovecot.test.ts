import { chmodSync } from "node:fs";
import { join } from "node:path";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { type Engine, startEngine, type TestMailbox } from "./engine.ts";
import { connect, fetchAndTell, folderOf, importAll, mail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_none, index) => from + index);

async function fill(mailbox: TestMailbox, path: string, numbers: readonly number[]): Promise<void> {
  await onServer(mailbox, "INBOX", async (client) => {
    if (path !== "INBOX") await client.mailboxCreate(path);
    for (const n of numbers) await client.append(path, mail(n));
  });
}

it("holds back that most of a folder went at once, and believes it when Dovecot says so still [row 70]", async () => {
  const mailbox = await engine.addMailbox();
  await fill(mailbox, "Project", range(1, 80));
  await connect(engine, mailbox.id);
  await onServer(mailbox, "Project", (client) => client.messageDelete("1:60"));
  await fill(mailbox, "INBOX", [100]);
  await fetchAndTell(engine, mailbox.id);
  expect(await toldOf(engine, mailbox.id)).toEqual(["created 100"]);
  expect((await placesOf(engine, mailbox.id)).Project).toHaveLength(80);
  expect(await folderOf(engine, mailbox.id, "Project")).toMatchObject({ problem: { code: "mass_removal_held" }, held_count: 60 });

  await engine.db
    .updateTable("folders")
    .set({ held_since: sql<Date>`held_since - interval '6 minutes'` })
    .where("mailbox_id", "=", mailbox.id)
    .where("held_since", "is not", null)
    .execute();
  await fetchAndTell(engine, mailbox.id);
  expect((await toldOf(engine, mailbox.id)).filter((line) => line.startsWith("deleted"))).toHaveLength(60);
  expect(await folderOf(engine, mailbox.id, "Project")).toMatchObject({ problem: null, held_since: null });
});

it("lists a folder anew that was deleted and made again under its name, and tells nothing of it twice [row 46]", async () => {
  const mailbox = await engine.addMailbox();
  await fill(mailbox, "Project", [1, 2, 3]);
  await connect(engine, mailbox.id);
  const before = await folderOf(engine, mailbox.id, "Project");
  await onServer(mailbox, "INBOX", (client) => client.mailboxDelete("Project"));
  await fill(mailbox, "Project", [2, 3, 4]);
  await fill(mailbox, "INBOX", [5]);
  await fetchAndTell(engine, mailbox.id);
  await importAll(engine, mailbox.id);
  await fetchAndTell(engine, mailbox.id);
  const after = await folderOf(engine, mailbox.id, "Project");
  expect([after.id, after.import_state, after.problem]).toEqual([before.id, "complete", null]);
  expect(after.cursor).not.toMatchObject({ uidValidity: (before.cursor as { uidValidity?: unknown }).uidValidity });
  expect(await placesOf(engine, mailbox.id)).toEqual({ INBOX: ["5"], Project: ["2", "3", "4"] });
  expect((await toldOf(engine, mailbox.id)).sort()).toEqual(["created 4", "created 5", "deleted 1"]);
});

it("shows why a folder cannot be read whose files are not readable, goes on with the others, and with it when they are [row 71]", async () => {
  const mailbox = await engine.addMailbox();
  await fill(mailbox, "Project", [1]);
  await connect(engine, mailbox.id);
  await fill(mailbox, "INBOX", [2]);
  await onServer(mailbox, "INBOX", (client) => client.append("Project", mail(3)));
  const files = join(inject("dovecot").dir, "home", mailbox.email, "mail", "mailboxes", "Project", "dbox-Mails");
  chmodSync(files, 0);
  try {
    await fetchAndTell(engine, mailbox.id);
    expect(await toldOf(engine, mailbox.id)).toEqual(["created 2"]);
    const { problem, cursor } = await folderOf(engine, mailbox.id, "Project");
    expect(problem?.code).toBeDefined();
    expect(cursor).not.toBeNull();
  } finally {
    chmodSync(files, 0o700);
  }
  await fetchAndTell(engine, mailbox.id);
  expect((await folderOf(engine, mailbox.id, "Project")).problem).toBeNull();
  expect(await toldOf(engine, mailbox.id)).toEqual(["created 2", "created 3"]);
  expect(await placesOf(engine, mailbox.id)).toEqual({ INBOX: ["2"], Project: ["1", "3"] });
});
