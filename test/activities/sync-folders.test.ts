import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MailError } from "../../domain/errors.ts";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, eventsOf, fetchAndTell, folderOf, importAll, mail, memoryMail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a server that is out of order", () => {
  it("fails the look if it refuses every folder, and stops one folder alone if it refuses one [row 71]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("Project");
    await connect(engine, id);
    const refusal = new MailError("unavailable", { doing: "testing", serverSaid: "NO [SERVERBUG] Internal error" });
    const folders = [...server.folders.values()];
    for (const folder of folders) {
      server.append(folder.path, memoryMail(folder.path));
      folder.failure = refusal;
    }
    await expect(fetchAndTell(engine, id)).rejects.toMatchObject({ type: "unavailable" });
    for (const folder of folders) if (folder.path === "INBOX") folder.failure = undefined;
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created INBOX"]);
    expect(await folderOf(engine, id, "Project")).toMatchObject({ problem: { code: "unavailable" } });
    for (const folder of folders) folder.failure = undefined;
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created INBOX", "created Project"]);
    expect(await folderOf(engine, id, "Project")).toMatchObject({ problem: null });
  });
});

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

describe("a folder whose server gives it an id (RFC 8474)", () => {
  it("is recognised by it when it was renamed, although it received mail at the same moment", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.tellsFolderIds = true;
    server.createFolder("Project");
    server.append("Project", memoryMail(1));
    await connect(engine, id);
    const before = await folderOf(engine, id, "Project");
    server.renameFolder("Project", "Renamed");
    server.append("Renamed", memoryMail(2));
    await fetchAndTell(engine, id);
    expect((await folderOf(engine, id, "Renamed")).id).toBe(before.id);
    expect(await toldOf(engine, id)).toEqual(["created 2"]);
  });

  it("is recognised where the server began to give ids after it was listed first", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("Project");
    await connect(engine, id);
    server.tellsFolderIds = true;
    await fetchAndTell(engine, id);
    const { id: before, stable_id: stableId } = await folderOf(engine, id, "Project");
    expect(stableId).toBe(server.folders.get("Project")?.stableId);
    server.renameFolder("Project", "Renamed");
    server.append("Renamed", memoryMail(1));
    await fetchAndTell(engine, id);
    expect((await folderOf(engine, id, "Renamed")).id).toBe(before);
  });

  it("is followed although another folder took its name at once", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.tellsFolderIds = true;
    server.createFolder("Project");
    server.append("Project", memoryMail(1));
    await connect(engine, id);
    const before = await folderOf(engine, id, "Project");
    server.renameFolder("Project", "Old project");
    server.createFolder("Project");
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    server.append("Project", memoryMail(2));
    await fetchAndTell(engine, id);
    expect((await folderOf(engine, id, "Old project")).id).toBe(before.id);
    expect(await placesOf(engine, id)).toEqual({ "Old project": ["1"], Project: ["2"] });
    expect(await toldOf(engine, id)).toEqual(["created 2"]);
  });

  it("is not taken for another one that looks the same", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.tellsFolderIds = true;
    for (const path of ["One", "Two"]) server.createFolder(path);
    await connect(engine, id);
    const before = [await folderOf(engine, id, "One"), await folderOf(engine, id, "Two")];
    server.renameFolder("One", "A");
    server.renameFolder("Two", "B");
    await fetchAndTell(engine, id);
    expect([(await folderOf(engine, id, "A")).id, (await folderOf(engine, id, "B")).id]).toEqual(before.map((row) => row.id));
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

describe("a folder whose UIDVALIDITY changes", () => {
  it("is listed anew alone, and nothing of it is told twice [row 46]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("A");
    for (const n of [1, 2, 3]) server.append("A", memoryMail(n));
    server.append("INBOX", memoryMail(4));
    await connect(engine, id);
    const inbox = await folderOf(engine, id, "INBOX");
    server.renumber("A");
    server.append("A", memoryMail(5));
    server.expunge("A", [server.folders.get("A")?.messages.keys().next().value ?? 0]);
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect((await toldOf(engine, id)).sort()).toEqual(["created 5", "deleted 1"]);
    expect(await placesOf(engine, id)).toEqual({ A: ["2", "3", "5"], INBOX: ["4"] });
    expect((await folderOf(engine, id, "A")).generation).toBe(2);
    expect((await folderOf(engine, id, "INBOX")).generation).toBe(inbox.generation);
    expect(await eventsOf(engine, id, "mailbox.sync_reset")).toHaveLength(1);
  });

  it("again and again is left alone after five times, says why, and is read again a day later [row 48]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("A");
    server.append("A", memoryMail(1));
    await connect(engine, id);
    for (let times = 1; times <= 8; times += 1) {
      server.renumber("A");
      server.append("INBOX", memoryMail(`new ${times}`));
      await fetchAndTell(engine, id);
      await importAll(engine, id);
    }
    const folder = await folderOf(engine, id, "A");
    expect(folder).toMatchObject({ problem: { code: "folder_unstable" }, generation: 6, import_state: "complete" });
    expect(await toldOf(engine, id)).toHaveLength(8);
    expect(folder.rests_until?.getTime()).toBe((folder.resets_since?.getTime() ?? 0) + 86_400_000);

    await engine.db
      .updateTable("folders")
      .set({ resets_since: new Date(Date.now() - 86_400_000), rests_until: new Date() })
      .where("id", "=", folder.id)
      .execute();
    server.append("A", memoryMail(2));
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect(await folderOf(engine, id, "A")).toMatchObject({ problem: null, generation: 7, resets: 1 });
    expect(await toldOf(engine, id)).toHaveLength(9);
  });

  it("again and again is tried at once after a resync", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("A");
    await connect(engine, id);
    for (let times = 1; times <= 6; times += 1) {
      server.renumber("A");
      await fetchAndTell(engine, id);
    }
    expect(await folderOf(engine, id, "A")).toMatchObject({ problem: { code: "folder_unstable" } });
    await engine.run((run) => run.forgetCursors({ mailboxId: id }));
    server.append("A", memoryMail(1));
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect(await placesOf(engine, id)).toEqual({ A: ["1"] });
    expect(await folderOf(engine, id, "A")).toMatchObject({ problem: null });
  });
});

describe("a first sync", () => {
  it("goes past a folder that cannot be listed, and lists it later [row 71]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    for (const path of ["A", "B"]) server.createFolder(path);
    server.append("A", memoryMail(1));
    server.append("B", memoryMail(2));
    await engine.run((run) => run.openMailbox({ mailboxId: id }));
    const folder = server.folders.get("A");
    if (folder === undefined) throw new Error("no folder");
    folder.failure = new MailError("permission_denied", { doing: "selecting a folder" });
    const slice = await engine.run((run) => run.importHistory({ mailboxId: id }));
    expect(slice).toMatchObject({ imported: 1, isComplete: true });
    expect(await folderOf(engine, id, "A")).toMatchObject({ problem: { code: "permission_denied" }, import_state: "importing" });
    expect((await fetchAndTell(engine, id)).lookAgainMs).toBeGreaterThan(14 * 60_000);

    folder.failure = undefined;
    await engine.db.updateTable("folders").set({ rests_until: new Date() }).where("mailbox_id", "=", id).where("path", "=", "A").execute();
    expect(await fetchAndTell(engine, id)).toMatchObject({ needsImport: true });
    await importAll(engine, id);
    expect(await placesOf(engine, id)).toEqual({ A: ["1"], B: ["2"] });
    expect(await folderOf(engine, id, "A")).toMatchObject({ problem: null });
    expect(await toldOf(engine, id)).toEqual([]);
  });
});
