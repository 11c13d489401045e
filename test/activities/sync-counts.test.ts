import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deliver } from "../helpers/dovecot.ts";
import { type Engine, startEngine } from "./engine.ts";
import { connect, fetchAndTell, folderOf, importAll, mail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a folder's counts", () => {
  it("follow a look that only this folder was woken for", async () => {
    const mailbox = await engine.addMailbox();
    await connect(engine, mailbox.id);
    for (const n of [1, 2, 3]) await deliver(mailbox.email, mail(n));
    await fetchAndTell(engine, mailbox.id, ["INBOX"]);
    expect(await folderOf(engine, mailbox.id, "INBOX")).toMatchObject({ total: 3, unseen: 3 });
    await onServer(mailbox, "INBOX", (client) => client.messageFlagsAdd("1:2", ["\\Seen"]));
    await fetchAndTell(engine, mailbox.id, ["INBOX"]);
    expect(await folderOf(engine, mailbox.id, "INBOX")).toMatchObject({ total: 3, unseen: 1 });
  });

  it("that show more than is on record have the folder listed anew, and what was missed is told [row 16][row 44]", async () => {
    const mailbox = await engine.addMailbox();
    for (const n of [1, 2, 3]) await deliver(mailbox.email, mail(n));
    await connect(engine, mailbox.id);
    // As if a page had been lost: nobody knows of the message, and no cursor leads to it.
    await engine.db.deleteFrom("message_locations").where("mailbox_id", "=", mailbox.id).where("ref", "=", "2").execute();
    await engine.db.deleteFrom("messages").where("mailbox_id", "=", mailbox.id).where("message_id", "=", "<2@example.test>").execute();
    await fetchAndTell(engine, mailbox.id);
    expect(await toldOf(engine, mailbox.id)).toEqual([]);

    await dayLater(mailbox.id);
    await fetchAndTell(engine, mailbox.id);
    await importAll(engine, mailbox.id);
    expect(await placesOf(engine, mailbox.id)).toEqual({ INBOX: ["1", "2", "3"] });
    expect(await toldOf(engine, mailbox.id)).toEqual(["created 2"]);
    await dayLater(mailbox.id);
    await fetchAndTell(engine, mailbox.id);
    expect(await folderOf(engine, mailbox.id, "INBOX")).toMatchObject({ miscounted_since: null, problem: null });
  });

  it("that show less than is on record are made right by reading the folder thoroughly", async () => {
    const mailbox = await engine.addMailbox();
    for (const n of [1, 2]) await deliver(mailbox.email, mail(n));
    await connect(engine, mailbox.id);
    await engine.db.updateTable("message_locations").set({ ref: "77" }).where("mailbox_id", "=", mailbox.id).where("ref", "=", "2").execute();
    await engine.db
      .insertInto("message_locations")
      .columns(["folder_id", "ref", "message_id", "customer_id", "mailbox_id", "flags", "generation"])
      .expression((eb) =>
        eb
          .selectFrom("message_locations")
          .select(["folder_id", eb.val("2").as("ref"), "message_id", "customer_id", "mailbox_id", "flags", "generation"])
          .where("mailbox_id", "=", mailbox.id)
          .where("ref", "=", "77"),
      )
      .execute();
    await dayLater(mailbox.id);
    await fetchAndTell(engine, mailbox.id);
    expect(await placesOf(engine, mailbox.id)).toEqual({ INBOX: ["1", "2"] });
    expect(await folderOf(engine, mailbox.id, "INBOX")).toMatchObject({ miscounted_since: null, problem: null });
    expect(await toldOf(engine, mailbox.id)).toEqual([]);
  });
});

async function dayLater(mailboxId: string): Promise<void> {
  await engine.db
    .updateTable("folders")
    .set({ counted_at: new Date(Date.now() - 25 * 3_600_000) })
    .where("mailbox_id", "=", mailboxId as `mbx_${string}`)
    .execute();
}
