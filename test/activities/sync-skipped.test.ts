import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MailError } from "../../domain/errors.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, fetchAndTell, importAll, memoryMail, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine({ pageSize: 50 });
});
afterAll(() => engine[Symbol.asyncDispose]());

/** More bytes than the column counts. */
const refused = { sizeBytes: 3_000_000_000 };

describe("a message that the database refuses", () => {
  it("keeps no other from being told, and is noted with what was said [row 74]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    await connect(engine, id);
    for (let n = 1; n <= 20; n += 1) server.append("INBOX", { ...memoryMail(n), ...(n === 7 || n === 8 ? refused : {}) });
    await fetchAndTell(engine, id);
    await fetchAndTell(engine, id);
    const told = await toldOf(engine, id);
    expect(told).toHaveLength(18);
    expect(told).not.toContain("created 7");
    expect(await skippedOf(id)).toEqual([
      { ref: "7", code: "message_not_stored", reason: "SQLSTATE 22003", attempts: 1 },
      { ref: "8", code: "message_not_stored", reason: "SQLSTATE 22003", attempts: 1 },
    ]);
  });

  it("does not hold up a first sync either", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    for (let n = 1; n <= 120; n += 1) server.append("INBOX", { ...memoryMail(n), ...(n % 40 === 0 ? refused : {}) });
    await connect(engine, id);
    expect((await placesOf(engine, id)).INBOX).toHaveLength(117);
    expect((await skippedOf(id)).map(({ ref }) => ref).sort()).toEqual(["120", "40", "80"]);
    expect(await toldOf(engine, id)).toEqual([]);
  });
});

describe("a message that the server lists and does not give", () => {
  it("is noted, and keeps no other back, live or in a first sync [row 58]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    for (const n of [1, 2, 3]) server.append("INBOX", memoryMail(n));
    server.setUnreadable("INBOX", 2, true);
    await connect(engine, id);
    for (const n of [4, 5]) server.append("INBOX", memoryMail(n));
    server.setUnreadable("INBOX", 4, true);
    await fetchAndTell(engine, id);
    expect(await placesOf(engine, id)).toEqual({ INBOX: ["1", "3", "5"] });
    expect(await toldOf(engine, id)).toEqual(["created 5"]);
    expect((await skippedOf(id)).map(({ ref, code }) => [ref, code])).toEqual([
      ["2", "unavailable"],
      ["4", "unavailable"],
    ]);
  });
});

describe("a skipped message", () => {
  it("is asked for again when it is time, and then told as it would have been [row 58]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    for (const n of [1, 2]) server.append("INBOX", memoryMail(n));
    server.setUnreadable("INBOX", 2, true);
    await connect(engine, id);
    for (const n of [3, 4]) server.append("INBOX", { ...memoryMail(n), text: `Text of ${n}` });
    server.setUnreadable("INBOX", 4, true);
    const { lookAgainMs } = await fetchAndTell(engine, id);
    expect(lookAgainMs).toBeGreaterThan(290_000);
    expect(lookAgainMs).toBeLessThanOrEqual(300_000);

    for (const uid of [2, 4]) server.setUnreadable("INBOX", uid, false);
    await fetchAndTell(engine, id);
    expect(await skippedOf(id)).toHaveLength(2);
    await letTimePass(id);
    await fetchAndTell(engine, id);
    expect(await skippedOf(id)).toEqual([]);
    expect(await placesOf(engine, id)).toEqual({ INBOX: ["1", "2", "3", "4"] });
    // What was there before the mailbox was connected is told to nobody, however late it was read.
    expect(await toldOf(engine, id)).toEqual(["created 3", "created 4"]);
    const { snippet } = await messageOf(id, "4");
    expect(snippet).toBe("Text of 4");
    server.expunge("INBOX", [4]);
    await fetchAndTell(engine, id);
    expect((await toldOf(engine, id)).at(-1)).toBe("deleted 4");
  });

  it("waits longer after each try that fails, a day at most", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    await connect(engine, id);
    server.append("INBOX", memoryMail(1));
    server.setUnreadable("INBOX", 1, true);
    await fetchAndTell(engine, id);
    const pauses: number[] = [await pauseOf(id)];
    for (let n = 0; n < 10; n += 1) {
      await letTimePass(id);
      await fetchAndTell(engine, id);
      pauses.push(await pauseOf(id));
    }
    expect(pauses).toEqual([300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400, 76_800, 86_400, 86_400]);
    expect((await skippedOf(id)).map(({ attempts }) => attempts)).toEqual([11]);
    expect(await toldOf(engine, id)).toEqual([]);
  });

  it("that the database refused is stored once it can be [row 74]", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    await connect(engine, id);
    server.append("INBOX", { ...memoryMail(1), ...refused });
    await fetchAndTell(engine, id);
    await letTimePass(id);
    await fetchAndTell(engine, id);
    expect(await skippedOf(id)).toEqual([{ ref: "1", code: "message_not_stored", reason: "SQLSTATE 22003", attempts: 2 }]);
    const stored = server.folders.get("INBOX")?.messages;
    const message = stored?.get(1);
    if (message === undefined) throw new Error("the message is not there");
    stored?.set(1, { ...message, sizeBytes: 3_000 });
    await letTimePass(id);
    await fetchAndTell(engine, id);
    expect(await skippedOf(id)).toEqual([]);
    expect(await toldOf(engine, id)).toEqual(["created 1"]);
  });

  it("that is gone by then is forgotten, and was never there for those who listen", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    await connect(engine, id);
    server.append("INBOX", memoryMail(1));
    server.setUnreadable("INBOX", 1, true);
    await fetchAndTell(engine, id);
    server.expunge("INBOX", [1]);
    await letTimePass(id);
    await fetchAndTell(engine, id);
    expect(await skippedOf(id)).toEqual([]);
    expect(await toldOf(engine, id)).toEqual([]);
  });

  it("that makes the server hang up holds up nothing but its own next try", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    await connect(engine, id);
    for (const n of [1, 2]) {
      server.append("INBOX", memoryMail(n));
      server.setUnreadable("INBOX", n, true);
    }
    await fetchAndTell(engine, id);
    for (const uid of [1, 2]) server.setUnreadable("INBOX", uid, false);
    await letTimePass(id);
    let isFirst = true;
    server.beforeAnswer = (doing) => {
      if (doing !== "reading messages again" || !isFirst) return;
      isFirst = false;
      throw new MailError("unavailable", { doing });
    };
    await expect(fetchAndTell(engine, id)).rejects.toMatchObject({ type: "unavailable" });
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created 2"]);
    expect((await skippedOf(id)).map(({ ref }) => ref)).toEqual(["1"]);
    await letTimePass(id);
    await fetchAndTell(engine, id);
    expect(await toldOf(engine, id)).toEqual(["created 2", "created 1"]);
  });

  it("is left to its next try when the folder changes while it is being asked for", async () => {
    const { id, server } = await addMemoryMailbox(engine);
    await connect(engine, id);
    server.append("INBOX", memoryMail(1));
    server.setUnreadable("INBOX", 1, true);
    await fetchAndTell(engine, id);
    server.setUnreadable("INBOX", 1, false);
    await letTimePass(id);
    server.beforeAnswer = (doing) => {
      if (doing !== "reading messages again") return;
      server.beforeAnswer = undefined;
      server.renumber("INBOX");
    };
    await fetchAndTell(engine, id);
    await fetchAndTell(engine, id);
    await importAll(engine, id);
    expect(await placesOf(engine, id)).toEqual({ INBOX: ["1"] });
    expect(await skippedOf(id)).toEqual([]);
    expect(await toldOf(engine, id)).toEqual(["created 1"]);
  });
});

/** As if the pauses before the next tries were over. */
async function letTimePass(mailboxId: MailboxId): Promise<void> {
  await engine.db.updateTable("skipped_messages").set({ next_attempt_at: sql<Date>`now()` }).where("mailbox_id", "=", mailboxId).execute();
}

async function pauseOf(mailboxId: MailboxId): Promise<number> {
  const { seconds } = await engine.db
    .selectFrom("skipped_messages")
    .select(sql<number>`extract(epoch from next_attempt_at - updated_at)::int`.as("seconds"))
    .where("mailbox_id", "=", mailboxId)
    .executeTakeFirstOrThrow();
  return seconds;
}

async function messageOf(mailboxId: MailboxId, name: string) {
  const query = engine.db.selectFrom("messages").selectAll().where("mailbox_id", "=", mailboxId);
  return query.where("message_id", "=", `<${name}@example.test>`).executeTakeFirstOrThrow();
}

async function skippedOf(mailboxId: string) {
  return engine.db
    .selectFrom("skipped_messages")
    .select(["ref", "code", "reason", "attempts"])
    .where("mailbox_id", "=", mailboxId as `mbx_${string}`)
    .orderBy("ref")
    .execute();
}
