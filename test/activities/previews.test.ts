import { MockActivityEnvironment } from "@temporalio/testing";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forgetMessages } from "../../db/forget-messages.ts";
import type { CustomerId, MailboxId, MessageId } from "../../domain/ids.ts";
import { parseSearch } from "../../domain/search-terms.ts";
import { defaultSyncSettings, type SyncSettings } from "../../domain/sync-settings.ts";
import { append, base64Part, withClient, withParts } from "../api/content.ts";
import { refuseMessages } from "../helpers/database-states.ts";
import { type Engine, startEngine, type TestMailbox } from "./engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine({ pageSize: 50 });
});
afterAll(() => engine[Symbol.asyncDispose]());

const image = base64Part("image/png", 'attachment; filename="a.png"', Buffer.alloc(300, "a"));

describe("the previews of a first sync", () => {
  it("come after it, and make messages findable by what they show", async () => {
    const mailbox = await listed({}, [
      withParts("plain", [image], "Hello Bob,\r\n\r\nthe   walrus has landed."),
      html("page", "<style>p { color: red }</style><p>Come to the <b>b&auml;renhaus</b></p>"),
    ]);
    expect(await previewsOf(mailbox.id)).toEqual({ plain: null, page: null });
    expect(engine.woken.keepers).toContain(mailbox.id);

    expect(await keep(mailbox.id)).toEqual({ kept: 2, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ plain: "Hello Bob, the walrus has landed.", page: "Come to the bärenhaus" });
    expect(await found(mailbox.id, "walrus")).toEqual(["plain"]);
    expect(await found(mailbox.id, "Bärenhaus page")).toEqual(["page"]);
    // What was known of it is found as before.
    expect(await found(mailbox.id, "a.png")).toEqual(["plain"]);
    expect(await keep(mailbox.id)).toEqual({ kept: 0, failed: 0, more: false });
  });

  it("move their messages behind every reader of changes, once", async () => {
    const mailbox = await listed({}, [withParts("one", [])]);
    const revision = async () =>
      (await engine.db.selectFrom("messages").select("revision").where("mailbox_id", "=", mailbox.id).executeTakeFirstOrThrow()).revision;
    const before = await revision();
    await keep(mailbox.id);
    const written = await revision();
    expect(BigInt(written)).toBeGreaterThan(BigInt(before));
    await keep(mailbox.id);
    expect(await revision()).toBe(written);
  });

  it("are not asked for where there is no text, and only once where the text is empty", async () => {
    const picture = Buffer.from("Subject: picture\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n");
    const mailbox = await listed({}, [picture, withParts("empty", [], "  \r\n\r\n")]);
    expect(await statesOf(mailbox.id)).toEqual({ picture: null, empty: "pending" });
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ picture: null, empty: null });
    expect(await statesOf(mailbox.id)).toEqual({ picture: null, empty: null });
  });

  it("are gone on with where an attempt died", async () => {
    const mailbox = await listed({}, [withParts("first", [], "First text")], [withParts("second", [], "Second text")]);
    const allow = await refuseMessages(engine.db, sql`new.snippet = 'First text'`);
    await expect(keep(mailbox.id)).rejects.toThrow();
    await allow();
    expect(await previewsOf(mailbox.id)).toEqual({ first: null, second: "Second text" });
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ first: "First text", second: "Second text" });
  });

  it("stand back for a listing, but for what a person sees first", async () => {
    const mailbox = await listed(
      {},
      Array.from({ length: 255 }, (_, n) => withParts(`m${n}`, [], `Text ${n}`)),
    );
    const setListing = (state: "importing" | "complete") =>
      engine.db.updateTable("folders").set({ import_state: state }).where("mailbox_id", "=", mailbox.id).where("path", "=", "INBOX").execute();
    await setListing("importing");
    expect(await keep(mailbox.id)).toEqual({ kept: 250, failed: 0, more: false });
    await setListing("complete");
    expect(await keep(mailbox.id)).toEqual({ kept: 5, failed: 0, more: false });
  });

  it("are not fetched of messages that settings have forgotten, nor of those that left the server", async () => {
    const mailbox = await listed({}, [withParts("forgotten", []), withParts("deleted", []), withParts("stays", [])]);
    await engine.db.transaction().execute(async (trx) => forgetMessages(trx, [await idOf(mailbox.id, "forgotten")]));
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageDelete("2", { uid: true });
    });
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 1, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ "": null, deleted: null, stays: "See the attachment." });
  });

  it("are fetched where a message lies now, if it had left where it was listed", async () => {
    const mailbox = await listed({}, [withParts("moved", [])], []);
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageMove("1", "Other", { uid: true });
    });
    expect(await keep(mailbox.id)).toEqual({ kept: 0, failed: 1, more: false });
    const ref = { mailboxId: mailbox.id };
    await engine.run((run) => run.fetchChanges({ ...ref, paths: null, isThorough: false }));
    await engine.run((run) => run.classifyMessages({ ...ref, isSearchComplete: true }));
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ moved: "See the attachment." });
  });

  it("are fetched of a message that was deleted before it had one, and came back", async () => {
    const source = withParts("back", []);
    const mailbox = await listed({}, [source], []);
    const ref = { mailboxId: mailbox.id };
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageDelete("1", { uid: true });
    });
    await engine.run((run) => run.fetchChanges({ ...ref, paths: null, isThorough: true }));
    // As classifyMessages leaves it once the deletion is proved.
    await engine.db
      .updateTable("messages")
      .set({ is_deleted: true, state: "settled", missing_since: null, content_state: null, main_folder_id: null, main_ref: null })
      .where("mailbox_id", "=", mailbox.id)
      .execute();
    await append(mailbox, "Other", [source]);
    await engine.run((run) => run.fetchChanges({ ...ref, paths: null, isThorough: false }));
    await engine.run((run) => run.classifyMessages({ ...ref, isSearchComplete: true }));
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ back: "See the attachment." });
  });
});

describe("a change of what is kept", () => {
  it("leaves previews to be fetched that an earlier setting would have brought, and drops none", async () => {
    const mailbox = await listed({ content: "full" }, [withParts("one", [], "Text one")]);
    await set(mailbox.id, {});
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ one: "Text one" });
    await set(mailbox.id, { content: "text" });
    await keep(mailbox.id);
    await set(mailbox.id, {});
    expect(await keep(mailbox.id)).toEqual({ kept: 0, failed: 0, more: false });
    expect(await previewsOf(mailbox.id)).toEqual({ one: "Text one" });
  });

  it.each(["text", "full"] as const)("to %s makes the whole text findable, and takes the preview from it", async (content) => {
    const mailbox = await listed({ content }, [withParts("long", [], `Beginning\r\n${"filler ".repeat(800)}\r\nxylophone`)]);
    expect(await keep(mailbox.id)).toEqual({ kept: 1, failed: 0, more: false });
    expect((await previewsOf(mailbox.id)).long).toMatch(/^Beginning filler .*…$/);
    expect(await found(mailbox.id, "xylophone")).toEqual(["long"]);
    await set(mailbox.id, {});
    await keep(mailbox.id);
    expect(await found(mailbox.id, "xylophone")).toEqual([]);
    expect(await found(mailbox.id, "beginning")).toEqual(["long"]);
  });
});

function html(subject: string, body: string): Buffer {
  return Buffer.from(`Subject: ${subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n${body}\r\n`);
}

/** A mailbox whose first sync is done; what is in the second list lies in a folder of its own, and is newer. */
async function listed(sync: Partial<SyncSettings>, inbox: readonly Buffer[], other?: readonly Buffer[]): Promise<TestMailbox> {
  const mailbox = await engine.addMailbox({ sync });
  await append(mailbox, "INBOX", inbox);
  if (other !== undefined) {
    await withClient(mailbox, async (client) => {
      await client.mailboxCreate("Other");
      for (const source of other) await client.append("Other", source, [], new Date(Date.now() + 60_000));
    });
  }
  await engine.run((run) => run.openMailbox({ mailboxId: mailbox.id }));
  await engine.run((run) => run.importHistory({ mailboxId: mailbox.id }));
  return mailbox;
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

async function previewsOf(id: MailboxId): Promise<Readonly<Record<string, string | null>>> {
  const rows = await engine.db.selectFrom("messages").select(["subject", "snippet"]).where("mailbox_id", "=", id).execute();
  return Object.fromEntries(rows.map(({ subject, snippet }) => [subject, snippet]));
}

async function statesOf(id: MailboxId): Promise<Readonly<Record<string, string | null>>> {
  const rows = await engine.db.selectFrom("messages").select(["subject", "content_state"]).where("mailbox_id", "=", id).execute();
  return Object.fromEntries(rows.map(({ subject, content_state }) => [subject, content_state]));
}

async function idOf(id: MailboxId, subject: string): Promise<MessageId> {
  const row = await engine.db
    .selectFrom("messages")
    .select("id")
    .where("mailbox_id", "=", id)
    .where("subject", "=", subject)
    .executeTakeFirstOrThrow();
  return row.id;
}

async function found(id: MailboxId, typed: string): Promise<readonly string[]> {
  const query = parseSearch(engine.customerId as CustomerId, typed);
  const rows = await engine.db
    .selectFrom("messages")
    .select("subject")
    .where("mailbox_id", "=", id)
    .where(sql<boolean>`terms @@ ${query?.all}::tsquery`)
    .execute();
  return rows.map(({ subject }) => subject);
}
