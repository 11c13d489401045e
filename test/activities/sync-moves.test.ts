import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MailError } from "../../domain/errors.ts";
import { deliver } from "../helpers/dovecot.ts";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, eventsOf, fetchAndTell, importAll, mail, memoryMail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine({ graceMs: 60_000 });
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a message that moves", () => {
  it.each([["INBOX"], ["Archive"], [null]])("is one update, whichever folder is read first (%s)", async (first) => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await connect(engine, mailbox.id);
    await onServer(mailbox, "INBOX", (client) => client.messageMove("1", "Archive"));
    await fetchAndTell(engine, mailbox.id, first === null ? null : [first]);
    await fetchAndTell(engine, mailbox.id);
    expect(await toldOf(engine, mailbox.id)).toEqual(["moved 1 to Archive"]);
  });

  it("is found in a folder that was made for it", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await connect(engine, mailbox.id);
    await onServer(mailbox, "INBOX", async (client) => {
      await client.mailboxCreate("Project");
      await client.messageMove("1", "Project");
    });
    await fetchAndTell(engine, mailbox.id, ["INBOX"]);
    await importAll(engine, mailbox.id);
    expect(await toldOf(engine, mailbox.id)).toEqual(["moved 1 to Project"]);
  });

  it("from a folder that was not read yet to one that was, while it is searched for, is found all the same", async () => {
    const { id, server } = await memoryWith(["A", "B"], { INBOX: [1] });
    const uid = moved(server, "INBOX", 1, "B");
    let isMoved = false;
    server.beforeAnswer = (doing) => {
      // The search has asked every folder whether it changed: B has, and is about to be read; A has not, and is not read in this round.
      if (isMoved || doing !== "reading a folder's changes" || !searching) return;
      isMoved = true;
      server.move("B", uid, "A");
    };
    let searching = false;
    await engine.run((run) => run.fetchChanges({ mailboxId: id, paths: ["INBOX"], isThorough: false }));
    searching = true;
    await fetchAndTell(engine, id);
    await fetchAndTell(engine, id);
    expect(isMoved).toBe(true);
    expect(await toldOf(engine, id)).toEqual(["moved 1 to A"]);
  });

  it("again and again is never called deleted, and is told where it came to rest", async () => {
    const { id, server } = await memoryWith(["A", "B", "C"], { INBOX: [1] });
    let path = "INBOX";
    let uid = 1;
    let next = 0;
    server.beforeAnswer = () => {
      const to = ["A", "B", "C", "INBOX"][next % 4] ?? "A";
      next += 1;
      if (to === path) return;
      uid = moved(server, path, uid, to);
      path = to;
    };
    for (let looks = 0; looks < 10; looks += 1) await fetchAndTell(engine, id);
    server.beforeAnswer = undefined;
    await fetchAndTell(engine, id);
    const told = await toldOf(engine, id);
    expect(told.filter((line) => !line.startsWith("moved 1 to "))).toEqual([]);
    expect(await placesOf(engine, id)).toEqual({ [path]: ["1"] });
  });

  it("before anybody was told of it is told as new, once, where it lies", async () => {
    const { id, server } = await memoryWith(["A"], {});
    server.append("INBOX", memoryMail(1));
    await engine.run((run) => run.fetchChanges({ mailboxId: id, paths: null, isThorough: false }));
    moved(server, "INBOX", 1, "A");
    await engine.run((run) => run.fetchChanges({ mailboxId: id, paths: ["INBOX"], isThorough: false }));
    await engine.run((run) => run.classifyMessages({ mailboxId: id, isSearchComplete: false }));
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created 1"]);
  });
});

describe("a message that is deleted", () => {
  it("is told so by the first search, without waiting for the grace period", async () => {
    const mailbox = await engine.addMailbox();
    await deliver(mailbox.email, mail(1));
    await connect(engine, mailbox.id);
    await onServer(mailbox, "INBOX", (client) => client.messageDelete("1"));
    const result = await fetchAndTell(engine, mailbox.id, ["INBOX"]);
    expect(await toldOf(engine, mailbox.id)).toEqual(["deleted 1"]);
    expect(result.lookAgainMs).toBeUndefined();
  });

  it("before anybody was told of it is not told at all", async () => {
    const { id, server } = await memoryWith([], {});
    server.append("INBOX", memoryMail(1));
    await engine.run((run) => run.fetchChanges({ mailboxId: id, paths: null, isThorough: false }));
    server.expunge("INBOX", [1]);
    await fetchAndTell(engine, id, ["INBOX"]);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
  });

  it("waits where mail comes too fast for a quiet look, asks to be looked for again, and is told after the grace period", async () => {
    const { id, server } = await memoryWith(["A"], { INBOX: [1, 2] });
    let n = 100;
    server.beforeAnswer = (doing) => {
      if (doing !== "asking whether folders changed") return;
      n += 1;
      server.append("A", memoryMail(n));
    };
    server.expunge("INBOX", [1]);
    const result = await fetchAndTell(engine, id);
    expect(result).toMatchObject({ missing: 1, lookAgainMs: 15_000 });
    expect((await toldOf(engine, id)).filter((line) => line.startsWith("deleted"))).toEqual([]);
    await missingSince(id, 61);
    await fetchAndTell(engine, id);
    expect((await toldOf(engine, id)).filter((line) => line.startsWith("deleted"))).toEqual(["deleted 1"]);
  });

  it("is not called so while a folder cannot be read that may hold it, but for a day", async () => {
    const { id, server } = await memoryWith(["A"], { INBOX: [1] });
    const folder = server.folders.get("A");
    if (folder === undefined) throw new Error("no folder");
    moved(server, "INBOX", 1, "A");
    folder.failure = new MailError("permission_denied", { doing: "reading" });
    await fetchAndTell(engine, id);
    await missingSince(id, 3_600);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
    await missingSince(id, 25 * 3_600);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["deleted 1"]);
    folder.failure = undefined;
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["deleted 1", "moved 1 to A"]);
  });

  it("is not called so while a folder is being listed that may hold it", async () => {
    const { id, server } = await memoryWith([], { INBOX: [1] });
    server.createFolder("New");
    moved(server, "INBOX", 1, "New");
    await fetchAndTell(engine, id);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
    await importAll(engine, id);
    expect(await toldOf(engine, id)).toEqual(["moved 1 to New"]);
  });
});

async function memoryWith(folders: readonly string[], messages: Readonly<Record<string, readonly number[]>>) {
  const mailbox = await addMemoryMailbox(engine);
  for (const path of folders) mailbox.server.createFolder(path);
  for (const [path, numbers] of Object.entries(messages)) for (const n of numbers) mailbox.server.append(path, memoryMail(n));
  await connect(engine, mailbox.id);
  expect(await eventsOf(engine, mailbox.id, "message.created")).toEqual([]);
  return mailbox;
}

/** Moves a message as another mail program would; returns its new UID. */
function moved(server: Awaited<ReturnType<typeof addMemoryMailbox>>["server"], from: string, uid: number, to: string): number {
  server.move(from, uid, to);
  return (server.folders.get(to)?.uidNext ?? 1) - 1;
}

/** As if the message had been missing for so long. */
async function missingSince(mailboxId: string, seconds: number): Promise<void> {
  await engine.db
    .updateTable("messages")
    .set({ missing_since: new Date(Date.now() - seconds * 1000) })
    .where("mailbox_id", "=", mailboxId as `mbx_${string}`)
    .where("state", "=", "missing")
    .execute();
}
