import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, fetchAndTell, memoryMail, placesOf, toldOf } from "./syncing.ts";

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

async function skippedOf(mailboxId: string) {
  return engine.db
    .selectFrom("skipped_messages")
    .select(["ref", "code", "reason", "attempts"])
    .where("mailbox_id", "=", mailboxId as `mbx_${string}`)
    .orderBy("ref")
    .execute();
}
