import { MockActivityEnvironment } from "@temporalio/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createActivities } from "../../activities/index.ts";
import { MailError } from "../../domain/errors.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { createSessions } from "../../sessions/sessions.ts";
import { until } from "../helpers/wait.ts";
import { type Engine, startEngine, testKeyRing } from "./engine.ts";
import { addMemoryMailbox, eventsOf, fetchAndTell, mail, memoryMail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine({ pageSize: 2 });
});
afterAll(() => engine[Symbol.asyncDispose]());

const openWhole = (mailboxId: MailboxId) => engine.run((run) => run.openMailbox({ mailboxId, firstLook: { dueFraction: 1 } }));
const rowOf = (id: MailboxId) => engine.db.selectFrom("mailboxes").selectAll().where("id", "=", id).executeTakeFirstOrThrow();

describe("a mailbox that is opened for the first time, with its first look", () => {
  it("is listened to and listed to its end by one activity, on one connection to a real server", async () => {
    const mailbox = await engine.addMailbox();
    await onServer(mailbox, "INBOX", async (client) => {
      await client.mailboxCreate("Project");
      for (const n of [1, 2, 3]) await client.append("INBOX", mail(n));
      await client.append("Project", mail(4));
    });
    const opened = await openWhole(mailbox.id);
    expect(opened).toMatchObject({
      isGone: false,
      imported: 4,
      isListened: true,
      look: {
        isGone: false,
        more: false,
        needsImport: false,
        unsettled: 0,
        missing: 0,
        mustTell: false,
        progress: { messages: 4, messagesListed: 4 },
      },
    });
    expect(await placesOf(engine, mailbox.id)).toEqual({ INBOX: ["1", "2", "3"], Project: ["4"] });
    expect(await rowOf(mailbox.id)).toMatchObject({
      ...{ status: "connected", idle_shard: expect.any(Number), import_done: 4, import_total: 4 },
      ...{ import_finished_at: expect.any(Date), next_due_at: expect.any(Date), last_success_at: expect.any(Date) },
    });
    expect(engine.woken.shards.length).toBeGreaterThan(0);
    await until(() => engine.woken.keepers.includes(mailbox.id), "the keeper to be woken");
    expect((await eventsOf(engine, mailbox.id)).map(({ type }) => type)).toEqual(["mailbox.connected", "mailbox.sync_completed"]);
    const states = await engine.db
      .selectFrom("folders")
      .select("import_state")
      .where("mailbox_id", "=", mailbox.id)
      .where("is_synced", "=", true)
      .execute();
    expect(new Set(states.map(({ import_state }) => import_state))).toEqual(new Set(["complete"]));
  });

  it("starts a shard that nobody is known to run, and not one that holds another mailbox's watch", async () => {
    const [first, second, third] = [await addMemoryMailbox(engine), await addMemoryMailbox(engine), await addMemoryMailbox(engine)];
    const startsOf = async (id: MailboxId) => {
      const before = engine.woken.shards.length;
      await engine.run((run) => run.watchMailbox({ mailboxId: id }));
      return engine.woken.shards.length - before;
    };
    await engine.db.updateTable("mailboxes").set({ watch_state: "off" }).execute();
    await engine.db.updateTable("idle_shards").set({ alive_at: new Date() }).execute();
    expect(await startsOf(first.id)).toBe(1);
    await engine.db.updateTable("mailboxes").set({ watch_state: "watching" }).where("id", "=", first.id).execute();
    await engine.db.updateTable("idle_shards").set({ alive_at: new Date() }).execute();
    expect(await startsOf(second.id)).toBe(0);
    await engine.db
      .updateTable("idle_shards")
      .set({ alive_at: new Date(Date.now() - 60_000) })
      .execute();
    expect(await startsOf(third.id)).toBe(1);
  });

  it("tells what comes after it, and nothing that was there", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.append("INBOX", memoryMail(1));
    await openWhole(id);
    server.append("INBOX", memoryMail(2));
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created 2"]);
  });

  it("finds by the next look what was removed while it was listed", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    const ref = server.append("INBOX", memoryMail(1));
    server.append("INBOX", memoryMail(2));
    await openWhole(id);
    server.expunge("INBOX", [ref]);
    await fetchAndTell(engine, id);
    expect(await placesOf(engine, id)).toEqual({ INBOX: ["2"] });
  });

  it("leaves a long listing to the first sync, which goes on from there", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    for (let n = 0; n < 1_001; n += 1) server.append("INBOX", memoryMail(n));
    expect(await openWhole(id)).toMatchObject({ imported: 0, isListened: true, look: { needsImport: true } });
    expect((await rowOf(id)).import_finished_at).toBeNull();
  });

  it("leaves to the workflow what a repeat of it would have to know: an opening that died after it was written down", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.append("INBOX", memoryMail(1));
    await openWhole(id);
    const again = await openWhole(id);
    expect(again).not.toHaveProperty("look");
    await fetchAndTell(engine, id);
    expect(await placesOf(engine, id)).toEqual({ INBOX: ["1"] });
    expect(await toldOf(engine, id)).toEqual([]);
  });

  it("is connected although a folder cannot be looked at, and leaves the look to the workflow", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    server.createFolder("A");
    const folder = server.folders.get("A");
    if (folder === undefined) throw new Error("no folder");
    folder.failure = new MailError("permission_denied", { doing: "selecting a folder" });
    expect(await openWhole(id)).not.toHaveProperty("look");
    expect(await rowOf(id)).toMatchObject({ status: "connected" });
  });
});

describe("a message that is removed between its page of history and its commit", () => {
  it("does not stay where a live look has taken it off the count meanwhile", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    const ref = server.append("INBOX", memoryMail(1));
    server.append("INBOX", memoryMail(2));
    await engine.run((run) => run.openMailbox({ mailboxId: id }));
    const sessions = createSessions({
      ...{ keyRing: testKeyRing, resolveHost: engine.deps.resolveHost },
      slots: { take: async () => () => {}, onWanted: () => {}, close: async () => {} },
      getProvider: (kind) => {
        const definition = engine.deps.getProvider(kind);
        const open: typeof definition.open = (...args) => {
          const provider = definition.open(...args);
          const pullHistory: typeof provider.pullHistory = async (...asked) => {
            const page = await provider.pullHistory(...asked);
            server.expunge("INBOX", [ref]);
            await fetchAndTell(engine, id);
            return page;
          };
          return { ...provider, pullHistory };
        };
        return { ...definition, open };
      },
    });
    const activities = createActivities(engine.deps, sessions);
    await new MockActivityEnvironment().run(() => activities.importHistory({ mailboxId: id }));
    await sessions.closeAll();
    expect(await placesOf(engine, id)).toEqual({ INBOX: ["2"] });
  });
});
