import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MailboxId } from "../../domain/ids.ts";
import type { StoredFolder } from "../../providers/memory/store.ts";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, fetchAndTell, folderOf, importAll, memoryMail, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a listing that leaves out most of a folder", () => {
  it("removes nothing and says so on the folder, while new mail goes on [row 70]", async () => {
    const { id, server, folder } = await hundredMessages();
    lose(folder, 60);
    server.append("INBOX", memoryMail("new"));
    const { lookAgainMs } = await fetchAndTell(engine, id);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created new"]);
    expect((await placesOf(engine, id)).INBOX).toHaveLength(101);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: { code: "mass_removal_held" }, held_count: 60 });
    expect(lookAgainMs).toBeGreaterThan(4 * 60_000);
    expect(lookAgainMs).toBeLessThanOrEqual(5 * 60_000);
  });

  it("was a fault if the server lists them again: nothing is told, and the folder has no problem", async () => {
    const { id, folder } = await hundredMessages();
    const giveBack = lose(folder, 60);
    await fetchAndTell(engine, id);
    giveBack();
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: null, held_since: null, total: 100 });
  });

  it("is believed when the server still says so minutes later", async () => {
    const { id, folder } = await hundredMessages();
    lose(folder, 60);
    await fetchAndTell(engine, id);
    await heldFor(id, 6);
    await fetchAndTell(engine, id);
    expect((await toldOf(engine, id)).filter((line) => line.startsWith("deleted"))).toHaveLength(60);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: null, held_since: null });
  });

  it("is believed at once after a resync", async () => {
    const { id, folder } = await hundredMessages();
    lose(folder, 60);
    await fetchAndTell(engine, id);
    await engine.run((run) => run.forgetCursors({ mailboxId: id }));
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect((await toldOf(engine, id)).filter((line) => line.startsWith("deleted"))).toHaveLength(60);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: null, held_since: null });
  });

  it("is believed at once where it leaves out few, or the smaller part", async () => {
    const { id, folder } = await hundredMessages();
    lose(folder, 50);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toHaveLength(50);
    lose(folder, 40);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toHaveLength(90);
  });

  it("and follows on a new UIDVALIDITY is held as well, and believed when it is said again", async () => {
    const { id, server, folder } = await hundredMessages();
    server.renumber("INBOX");
    lose(folder, 60);
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: { code: "mass_removal_held" } });
    await fetchAndTell(engine, id);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: { code: "mass_removal_held" } });
    await heldFor(id, 6);
    await fetchAndTell(engine, id);
    expect((await toldOf(engine, id)).filter((line) => line.startsWith("deleted"))).toHaveLength(60);
    expect((await placesOf(engine, id)).INBOX).toHaveLength(40);
    expect(await folderOf(engine, id, "INBOX")).toMatchObject({ problem: null, held_since: null });
  });
});

describe("a list of folders", () => {
  it("that leaves out a full folder is not believed until it says so again", async () => {
    const { id, server } = await hundredMessages("Project");
    const folder = server.folders.get("Project") as StoredFolder;
    server.folders.delete("Project");
    await fetchAndTell(engine, id);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
    expect(await folderOf(engine, id, "Project")).toMatchObject({ problem: { code: "mass_removal_held" }, held_count: 100 });

    server.folders.set("Project", folder);
    await heldFor(id, 6);
    await fetchAndTell(engine, id);
    expect(await folderOf(engine, id, "Project")).toMatchObject({ problem: null, held_since: null });

    server.folders.delete("Project");
    await fetchAndTell(engine, id);
    await heldFor(id, 6);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toHaveLength(100);
    expect(await placesOf(engine, id)).toEqual({});
  });

  it("without any folder is an error, and removes nothing [row 17]", async () => {
    const { id, server } = await hundredMessages();
    const folders = [...server.folders];
    server.folders.clear();
    await expect(fetchAndTell(engine, id)).rejects.toMatchObject({ type: "invalid_response" });
    for (const [path, folder] of folders) server.folders.set(path, folder);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual([]);
    expect((await placesOf(engine, id)).INBOX).toHaveLength(100);
  });
});

async function hundredMessages(path = "INBOX") {
  const { id, server } = await addMemoryMailbox(engine);
  server.createFolder(path);
  for (let n = 1; n <= 100; n += 1) server.append(path, memoryMail(n));
  await connect(engine, id);
  return { id, server, folder: server.folders.get(path) as StoredFolder };
}

/** The server's index loses its first messages; returns what brings them back. */
function lose(folder: StoredFolder, count: number): () => void {
  const before = new Map(folder.messages);
  for (const uid of [...before.keys()].slice(0, count)) folder.messages.delete(uid);
  return () => {
    folder.messages.clear();
    for (const [uid, message] of before) folder.messages.set(uid, message);
  };
}

async function heldFor(mailboxId: MailboxId, minutes: number): Promise<void> {
  await engine.db
    .updateTable("folders")
    .set({ held_since: new Date(Date.now() - minutes * 60_000) })
    .where("mailbox_id", "=", mailboxId)
    .where("held_since", "is not", null)
    .execute();
}
