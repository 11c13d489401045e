import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MailError } from "../../domain/errors.ts";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, eventsOf, fetchAndTell, folderOf, importAll, mail, memoryMail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a folder that is renamed", () => {
  it("stays the same folder with its messages: one event says so, none is told or read again", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, "INBOX", async (client) => {
      for (const path of ["Project", "Project/Plans", "Project/Bills"]) await client.mailboxCreate(path);
      for (const n of [1, 2]) await client.append("Project/Plans", mail(n));
      await client.append("Project/Bills", mail(3));
    });
    await connect(engine, mailbox.id);
    const before = await folderOf(engine, mailbox.id, "Project/Plans");
    await onServer(mailbox, "INBOX", (client) => client.mailboxRename("Project", "Größe"));
    const { needsImport } = await fetchAndTell(engine, mailbox.id);

    expect(needsImport).toBe(false);
    expect(await toldOf(engine, mailbox.id)).toEqual([]);
    expect(await placesOf(engine, mailbox.id)).toEqual({ "Größe/Plans": ["1", "2"], "Größe/Bills": ["3"] });
    const after = await folderOf(engine, mailbox.id, "Größe/Plans");
    expect([after.id, after.generation, after.name]).toEqual([before.id, before.generation, "Plans"]);
    const told = (await eventsOf(engine, mailbox.id)).filter((event) => event.type.startsWith("folder."));
    expect(told.map((event) => [event.type, (event.data as { changes?: unknown }).changes])).toEqual(
      expect.arrayContaining([["folder.updated", { renamedFrom: "Project/Plans" }]]),
    );
    expect(told.every((event) => event.type === "folder.updated")).toBe(true);

    await onServer(mailbox, "Größe/Plans", (client) => client.append("Größe/Plans", mail(4)));
    await fetchAndTell(engine, mailbox.id);
    expect(await toldOf(engine, mailbox.id)).toEqual(["created 4"]);
  });

  it("leaves its path to a new folder, which is another one", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("Project");
    server.append("Project", memoryMail(1));
    await connect(engine, id);
    server.renameFolder("Project", "Old project");
    await fetchAndTell(engine, id);
    server.createFolder("Project");
    await fetchAndTell(engine, id);
    server.append("Project", memoryMail(2));
    await fetchAndTell(engine, id);
    expect(await placesOf(engine, id)).toEqual({ "Old project": ["1"], Project: ["2"] });
    expect((await folderOf(engine, id, "Project")).id).not.toBe((await folderOf(engine, id, "Old project")).id);
    expect(await toldOf(engine, id)).toEqual(["created 2"]);
  });

  it("and received mail at once is not recognised by its counts, and its messages are told as moved", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("Project");
    server.append("Project", memoryMail(1));
    await connect(engine, id);
    server.renameFolder("Project", "Renamed");
    server.append("Renamed", memoryMail(2));
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect(await placesOf(engine, id)).toEqual({ Renamed: ["1", "2"] });
    expect(await toldOf(engine, id)).toContain("moved 1 to Renamed");
    expect((await toldOf(engine, id)).filter((line) => line.startsWith("deleted"))).toEqual([]);
  });
});

describe("a folder that cannot be opened", () => {
  it.each([["not_found"], ["permission_denied"], ["invalid_response"]] as const)(
    "though it is listed (%s) stops alone, shows why, and goes on when it can [row 56][row 71]",
    async (code) => {
      const { id, server } = await addMemoryMailbox(engine);
      server.createFolder("A");
      server.append("A", memoryMail(1));
      await connect(engine, id);
      const folder = server.folders.get("A");
      if (folder === undefined) throw new Error("no folder");
      folder.failure = new MailError(code, { doing: "selecting a folder", serverSaid: "NO such thing" });
      server.append("A", memoryMail(2));
      server.append("INBOX", memoryMail(3));
      const { unread } = await fetchAndTell(engine, id);
      expect(unread).toBe(1);
      expect(await toldOf(engine, id)).toEqual(["created 3"]);
      expect(await folderOf(engine, id, "A")).toMatchObject({ problem: { code, serverSaid: "NO such thing" } });
      folder.failure = undefined;
      await fetchAndTell(engine, id);
      expect(await toldOf(engine, id)).toEqual(["created 3", "created 2"]);
      expect(await folderOf(engine, id, "A")).toMatchObject({ problem: null });
    },
  );

  it("because it is gone is removed, with its messages", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("A");
    server.append("A", memoryMail(1));
    await connect(engine, id);
    server.deleteFolder("A");
    await fetchAndTell(engine, id, ["A"]);
    expect(await toldOf(engine, id)).toEqual(["deleted 1"]);
    expect((await eventsOf(engine, id)).map((event) => event.type)).toContain("folder.deleted");
  });
});
