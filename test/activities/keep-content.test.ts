import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MockActivityEnvironment } from "@temporalio/testing";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { folderBlobStore } from "../../blobs/folder.ts";
import type { BlobStore } from "../../blobs/store.ts";
import { openContent } from "../../blobs/vault.ts";
import { forgetMessages } from "../../db/forget-messages.ts";
import { listPendingContent } from "../../db/kept-content.ts";
import { forgetMailbox } from "../../db/mailbox-state.ts";
import { findBlob, sourcePart } from "../../db/message-blobs.ts";
import { findMessages } from "../../db/message-search.ts";
import { saveMessageTexts } from "../../db/message-texts.ts";
import { findMessage, readMessage } from "../../db/messages.ts";
import { rotateKeys } from "../../db/rotate-keys.ts";
import { scopedTo } from "../../db/scope.ts";
import type { MailboxId, MessageId } from "../../domain/ids.ts";
import { parseSearch } from "../../domain/search-terms.ts";
import { defaultSyncSettings, type SyncSettings } from "../../domain/sync-settings.ts";
import { append, base64Part, sourcesAt, withClient, withParts } from "../api/content.ts";
import { countWaiting, refuseMessages } from "../helpers/database-states.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";
import { type Engine, startEngine, type TestMailbox, testKeyRing } from "./engine.ts";
import { fetchAndTell } from "./syncing.ts";

const dir = testDirectory("blobs");
let engine: Engine;
let isStoreAway = false;

beforeAll(async () => {
  const folder = folderBlobStore(dir);
  const full = () => Promise.reject(new Error("the disk is full"));
  const blobs: BlobStore = {
    ...folder,
    put: (key, bytes, options) => (isStoreAway ? full() : folder.put(key, bytes, options)),
    putAll: (all, options) => (isStoreAway ? full() : folder.putAll(all, options)),
  };
  engine = await startEngine({ pageSize: 7, blobs });
});
afterAll(() => engine[Symbol.asyncDispose]());

const small = base64Part("image/png", 'attachment; filename="a.png"', Buffer.alloc(3_000, "a"));
const large = base64Part("application/zip", 'attachment; filename="b.zip"', Buffer.alloc(90_000, "b"));

describe("what the settings keep of messages", () => {
  it("is a line of preview by default, and nothing else", async () => {
    const { id } = await connected({}, [withParts("plain", [small])]);
    expect(await keep(id)).toEqual({ kept: 1, failed: 0, more: false });
    expect(await statesOf(id)).toEqual([null]);
    expect(await partsOf(id)).toEqual([]);
    expect(await engine.db.selectFrom("message_texts").select("text").where("mailbox_id", "=", id).execute()).toEqual([]);
  });

  it("is the readable text of what was there and of what comes, which the sweep leaves alone", async () => {
    const mailbox = await connected(
      { content: "text" },
      Array.from({ length: 20 }, (_, n) => withParts(`history ${n}`, [], `Text ${n}`)),
    );
    expect(engine.woken.keepers).toContain(mailbox.id);
    expect(await keep(mailbox.id)).toEqual({ kept: 20, failed: 0, more: false });
    await append(mailbox, "INBOX", [withParts("live", [], "Live text")]);
    await look(mailbox);
    expect(await statesOf(mailbox.id)).toContain("pending");
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    await engine.db
      .updateTable("message_texts")
      .set({ created_at: new Date(0) } as never)
      .where("mailbox_id", "=", mailbox.id)
      .execute();
    await engine.run((run) => run.sweep());
    const texts = await engine.db.selectFrom("message_texts").select(["text", "is_kept"]).where("mailbox_id", "=", mailbox.id).execute();
    expect(texts.map(({ text }) => text.trim()).toSorted()).toEqual(["Live text", ...Array.from({ length: 20 }, (_, n) => `Text ${n}`)].toSorted());
    expect(texts.every(({ is_kept }) => is_kept)).toBe(true);
  });

  it("is the source to the byte, sealed, in the store, and the text that it says", async () => {
    const mailbox = await connected({ content: "full" }, [
      withParts("one", [small], "First words\r\n\r\nOn Fri, 20 Nov 2026, Ann wrote:\r\n> Quoted words"),
      withParts("two", [], "x".repeat(3_000_000)),
    ]);
    expect(await keep(mailbox.id)).toEqual({ kept: 2, failed: 0, more: false });
    for (const [uid, source] of await sourcesAt(mailbox, "INBOX")) {
      expect((await read(await messageAt(mailbox, uid), sourcePart)).equals(source)).toBe(true);
    }
    const texts = await engine.db
      .selectFrom("message_texts")
      .select(["text", "is_truncated", "reply"])
      .where("mailbox_id", "=", mailbox.id)
      .execute();
    expect(texts.map(({ text, is_truncated, reply }) => [text.slice(0, 11), is_truncated, reply?.slice(0, 11)]).toSorted()).toEqual([
      ["First words", false, "First words"],
      ["xxxxxxxxxxx", true, "xxxxxxxxxxx"],
    ]);
  });

  it("is there for each message of a group so large that it is committed in two halves", async () => {
    const mailbox = await connected(
      { content: "full" },
      Array.from({ length: 61 }, (_, n) => withParts(`one of many ${n}`, [], `Said the ${n}th`)),
    );
    expect(await keep(mailbox.id)).toEqual({ kept: 61, failed: 0, more: false });
    const texts = await engine.db.selectFrom("message_texts").select(["message_id", "text"]).where("mailbox_id", "=", mailbox.id).execute();
    expect(new Set(texts.map(({ text }) => text.trim())).size).toBe(61);
    const blobs = await engine.db.selectFrom("message_blobs").select("message_id").where("mailbox_id", "=", mailbox.id).execute();
    expect(new Set(blobs.map(({ message_id }) => message_id))).toEqual(new Set(texts.map(({ message_id }) => message_id)));
    expect(new Set(await statesOf(mailbox.id))).toEqual(new Set(["kept"]));
  });

  it("is every attachment up to the cap, decoded", async () => {
    const mailbox = await connected({ attachments: "download", attachmentBytesMax: 50_000 }, [withParts("both", [small, large])]);
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    const id = await messageAt(mailbox, 1);
    expect(await partsOf(mailbox.id)).toEqual(["2"]);
    expect((await read(id, "2")).equals(Buffer.alloc(3_000, "a"))).toBe(true);
  });
});

describe("a change of the settings", () => {
  it("fetches what is there when more is wanted, and drops it from rows and store when less is", async () => {
    const mailbox = await connected({}, [withParts("one", [small]), withParts("two", [large])]);
    const before = files().length;
    await set(mailbox.id, { content: "full", attachments: "download" });
    expect(await keep(mailbox.id)).toEqual({ kept: 2, failed: 0, more: false });
    expect(await partsOf(mailbox.id)).toEqual(["", "", "2", "2"]);
    expect(files().length).toBe(before + 4);

    await set(mailbox.id, { content: "text", attachments: "download", attachmentBytesMax: 10_000 });
    expect(await keep(mailbox.id)).toEqual({ kept: 2, failed: 0, more: false });
    expect(await partsOf(mailbox.id)).toEqual(["2"]);

    await set(mailbox.id, {});
    expect(await keep(mailbox.id)).toEqual({ kept: 0, failed: 0, more: false });
    expect(await partsOf(mailbox.id)).toEqual([]);
    expect(await statesOf(mailbox.id)).toEqual([null, null]);
    await engine.run((run) => run.sweep());
    expect(files().length).toBe(before);
    const texts = await engine.db.selectFrom("message_texts").select("is_kept").where("mailbox_id", "=", mailbox.id).execute();
    expect(texts.every(({ is_kept }) => !is_kept)).toBe(true);
  });
});

/** A preview stays, and is found, whatever is kept. */
const beyondPreviews = "Words that a preview is full of. ".repeat(40);

describe("the words of a text", () => {
  it("are found as soon as it is kept, as a phrase too, beside what was found before, and no more once it is not kept", async () => {
    const mailbox = await connected({}, [
      withParts("Harvest", [], `${beyondPreviews}The quick zebra sleeps`),
      withParts("Harvest again", [], "Nothing of that"),
    ]);
    expect(await found(mailbox.id, "harvest")).toBe(2);
    expect(await found(mailbox.id, "zebra")).toBe(0);
    await set(mailbox.id, { content: "text" });
    await keep(mailbox.id);
    expect(await Promise.all(["zebra", '"quick zebra"', "zebra harvest", "harvest"].map((q) => found(mailbox.id, q)))).toEqual([1, 1, 1, 2]);
    await set(mailbox.id, {});
    await keep(mailbox.id);
    expect(await Promise.all(["zebra", "harvest"].map((q) => found(mailbox.id, q)))).toEqual([0, 2]);
  });

  it("go with a message that is deleted", async () => {
    const mailbox = await connected({ content: "text" }, [withParts("Gone", [], "The quick okapi sleeps")]);
    await keep(mailbox.id);
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageDelete("1", { uid: true });
    });
    await fetchAndTell(engine, mailbox.id);
    const rows = await engine.db.selectFrom("messages").select(["is_deleted", "terms"]).where("mailbox_id", "=", mailbox.id).execute();
    expect(rows).toMatchObject([{ is_deleted: true, terms: null }]);
  });

  it("are no words of a message whose text only passes by", async () => {
    const mailbox = await connected({}, [withParts("Passing", [], "The quick tapir sleeps")]);
    const messageId = await messageAt(mailbox, 1);
    await saveMessageTexts(engine.db, { customerId: engine.customerId, mailboxId: mailbox.id }, [{ messageId, text: "tapir", isTruncated: false }]);
    await engine.db.updateTable("messages").set({ snippet: "The quick" }).where("id", "=", messageId).execute();
    await engine.run((run) => run.sweep());
    expect(await Promise.all(["tapir", "passing"].map((q) => found(mailbox.id, q)))).toEqual([0, 1]);
  });
});

/** How many of a mailbox's messages a search finds. */
async function found(mailboxId: MailboxId, typed: string): Promise<number> {
  const scope = { customerId: engine.customerId, mailboxId: null };
  const search = parseSearch(engine.customerId, typed);
  return (await findMessages(scopedTo(engine.db, scope), scope, { mailboxId, search }, { limit: 50, after: undefined, order: "newest" })).rows.length;
}

describe("a content that is lost on the way", () => {
  it("is fetched again by the next attempt, and leaves nothing in the store for ever", async () => {
    const mailbox = await connected({ content: "full" }, [withParts("one", []), withParts("two", [])]);
    const before = files().length;
    isStoreAway = true;
    await expect(keep(mailbox.id)).rejects.toThrow();
    isStoreAway = false;
    expect(await statesOf(mailbox.id)).toEqual(["pending", "pending"]);

    // A process that dies after the puts and before the commit, as far as the database can tell.
    await engine.db.schema.alterTable("message_blobs").renameTo("message_blobs_away").execute();
    await expect(keep(mailbox.id)).rejects.toThrow();
    await engine.db.schema.alterTable("message_blobs_away").renameTo("message_blobs").execute();
    expect(files().length).toBe(before + 2);
    expect(await keep(mailbox.id)).toEqual({ kept: 2, failed: 0, more: false });
    expect(files().length).toBe(before + 4);
    await engine.run((run) => run.sweep());
    expect(files().length).toBe(before + 4);
    await engine.db
      .updateTable("blob_removals")
      .set({ due_at: new Date(0) })
      .execute();
    await engine.run((run) => run.sweep());
    expect(files().length).toBe(before + 2);
    for (const uid of [1, 2]) expect((await read(await messageAt(mailbox, uid), sourcePart)).length).toBeGreaterThan(100);
  });

  it("is only that of the half whose commit failed, and the other half is waited for", async () => {
    const mailbox = await connected(
      { content: "full" },
      Array.from({ length: 60 }, (_, n) => withParts(`one of many ${n}`, [], `Said the ${n}th`)),
    );
    const pending = await listPendingContent(engine.db, mailbox.id, { after: undefined, limit: 60 });
    const [newest, oldest] = [pending[0]?.id as MessageId, pending[59]?.id as MessageId];
    const allow = await refuseMessages(engine.db, sql`new.id = ${sql.lit(oldest)}`);
    let isOver = false;
    const { ended, seen } = await engine.db.transaction().execute(async (trx) => {
      await trx.selectFrom("messages").select("id").where("id", "=", newest).forUpdate().execute();
      const running = keep(mailbox.id).finally(() => {
        isOver = true;
      });
      const outcome = running.then(
        () => undefined,
        (error: unknown) => error,
      );
      await until(async () => (await countWaiting(engine.db)) > 0, "the first half to wait for its message");
      await delay(500);
      return { ended: outcome, seen: isOver };
    });
    expect(seen).toBe(false);
    expect(await ended).toMatchObject({ message: expect.stringContaining("P0001") });
    expect((await statesOf(mailbox.id)).toSorted()).toEqual([...Array(30).fill("kept"), ...Array(30).fill("pending")]);
    await allow();
    expect(await keep(mailbox.id)).toEqual({ kept: 30, failed: 0, more: false });
    const texts = await engine.db.selectFrom("message_texts").select("text").where("mailbox_id", "=", mailbox.id).execute();
    expect(new Set(texts.map(({ text }) => text.trim())).size).toBe(60);
  });

  it("is not waited for when the message left the server, and is when it lies elsewhere", async () => {
    const mailbox = await connected({ content: "full" }, [withParts("goes", []), withParts("stays", [])]);
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageDelete("1", { uid: true });
    });
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 1, more: false });
    expect((await statesOf(mailbox.id)).toSorted()).toEqual(["failed", "kept"]);
  });
});

describe("blobs leave the store", () => {
  it("with messages that are forgotten, and with a mailbox that is purged", async () => {
    const mailbox = await connected({ content: "full" }, [withParts("one", []), withParts("two", []), withParts("three", [])]);
    const before = files().length;
    await keep(mailbox.id);
    await engine.db.transaction().execute(async (trx) => forgetMessages(trx, [await messageAt(mailbox, 1)]));
    await engine.run((run) => run.sweep());
    expect(files().length).toBe(before + 2);
    await forgetMailbox(engine.db, mailbox.id, true);
    await engine.run((run) => run.sweep());
    expect(files().length).toBe(before);
    expect(await engine.db.selectFrom("blob_removals").select("key").where("due_at", "<", new Date()).execute()).toEqual([]);
  });

  it("but stay readable under a new key of the ring", async () => {
    const mailbox = await connected({ content: "full" }, [withParts("one", [])]);
    await keep(mailbox.id);
    const id = await messageAt(mailbox, 1);
    const fresh = { name: "fresh", bytes: Buffer.alloc(32, 9) };
    await rotateKeys(engine.db, [fresh, ...testKeyRing]);
    const blob = await findBlob(engine.db, [fresh], id, sourcePart);
    expect(blob?.sizeBytes).toBeGreaterThan(100);
    await rotateKeys(engine.db, [...testKeyRing, fresh]);
  });
});

async function connected(sync: Partial<SyncSettings>, sources: readonly Buffer[]): Promise<TestMailbox> {
  const mailbox = await engine.addMailbox({ sync });
  await append(mailbox, "INBOX", sources);
  await engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }));
  await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
  return mailbox;
}

async function look({ id: mailboxId }: TestMailbox): Promise<void> {
  await engine.run((run) => run.fetchChanges({ mailboxId, paths: null, isThorough: false }));
}

function keep(mailboxId: MailboxId) {
  return new MockActivityEnvironment().run(() => engine.activities.keepContent({ mailboxId }));
}

async function set(id: MailboxId, sync: Partial<SyncSettings>): Promise<void> {
  await engine.db
    .updateTable("mailboxes")
    .set({ sync: JSON.stringify({ ...defaultSyncSettings, ...sync }) })
    .where("id", "=", id)
    .execute();
}

async function statesOf(id: MailboxId) {
  const rows = await engine.db.selectFrom("messages").select("content_state").where("mailbox_id", "=", id).execute();
  return rows.map((row) => row.content_state);
}

async function partsOf(id: MailboxId): Promise<readonly string[]> {
  const rows = await engine.db.selectFrom("message_blobs").select("part").where("mailbox_id", "=", id).orderBy("part").execute();
  return rows.map((row) => row.part);
}

async function messageAt(mailbox: TestMailbox, uid: number): Promise<MessageId> {
  const row = await engine.db
    .selectFrom("message_locations as l")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .select("l.message_id")
    .where("l.mailbox_id", "=", mailbox.id)
    .where("f.path", "=", "INBOX")
    .where("l.ref", "=", String(uid))
    .executeTakeFirstOrThrow();
  return row.message_id;
}

async function read(id: MessageId, part: string): Promise<Buffer> {
  const blob = await findBlob(engine.db, testKeyRing, id, part);
  if (blob === undefined) throw new Error(`nothing is kept of ${id}`);
  return Buffer.concat(await (await openContent(engine.deps.blobs, blob)).toArray());
}

function files(): readonly string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(dir, name)).isFile());
}

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("attachments that the settings skip", () => {
  it("are neither listed nor told nor to be had, and are again once they are wanted", async () => {
    const mailbox = await connected({ attachments: "skip" }, []);
    await append(mailbox, "INBOX", [withParts("skipped", [small])]);
    await look(mailbox);
    await engine.run((run) => run.classifyMessages({ mailboxId: mailbox.id, isSearchComplete: false }));
    const event = await engine.db
      .selectFrom("events")
      .select("data")
      .where("mailbox_id", "=", mailbox.id)
      .where("type", "=", "message.created")
      .executeTakeFirstOrThrow();
    expect(event.data).toMatchObject({ message: { subject: "skipped", attachments: [] } });
    const scoped = scopedTo(engine.db, { customerId: engine.customerId, mailboxId: null });
    const listed = async () => {
      const row = await findMessage(scoped, await messageAt(mailbox, 1));
      return row === undefined ? undefined : readMessage(row).attachments.length;
    };
    expect(await listed()).toBe(0);
    await set(mailbox.id, {});
    expect(await listed()).toBe(1);
  });
});
