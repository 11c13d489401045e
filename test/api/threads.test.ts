import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { moveAllMergedMessages } from "../../db/threads.ts";
import type { CustomerId } from "../../domain/ids.ts";
import type { Sketch } from "../domain/messages-in-threads.ts";
import { newArrivingMailbox } from "../helpers/arriving-mailbox.ts";
import { type Api, startApi } from "./api.ts";

let api: Api;
let customer: { readonly id: CustomerId; readonly key: string };

beforeAll(async () => {
  api = await startApi();
  customer = await api.newCustomer("Ann");
});
afterAll(() => api[Symbol.asyncDispose]());

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_none, index) => from + index);
const newMailbox = () => newArrivingMailbox(api.db, customer.id);
const get = (path: string) => api.call("GET", path, { key: customer.key });
const subjects = (body: { data: { subject: string }[] }) => body.data.map((thread) => thread.subject);

/** Every page of a listing, by pages of this size. */
async function all(path: string, limit: number): Promise<Record<string, unknown>[]> {
  const items: Record<string, unknown>[] = [];
  for (let cursor = ""; ; ) {
    const { status, body } = await get(`${path}${path.includes("?") ? "&" : "?"}limit=${limit}${cursor}`);
    expect(status).toBe(200);
    items.push(...body.data);
    if (body.nextCursor === null) return items;
    cursor = `&cursor=${body.nextCursor}`;
  }
}

describe("a listing of threads", () => {
  it("shows each thread once, by its newest message, with what its messages add up to", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive([
      { n: 1, subject: "Lunch", from: "ann", to: ["me", "bob"], flags: ["seen"] },
      { n: 2, subject: "Dinner" },
      { n: 3, subject: "Re: Lunch", irt: "<1@x>", from: "me", to: ["ann"], flags: ["flagged", "seen"] },
      { n: 4, subject: "Re: Lunch", irt: "<3@x>" },
    ]);
    const { body } = await get(`/v1/threads?mailboxId=${mailbox.id}`);
    expect(subjects(body)).toEqual(["Lunch", "Dinner"]);
    expect(body.data[0]).toEqual({
      id: await mailbox.threadId(1),
      mailboxId: mailbox.id,
      account: null,
      subject: "Lunch",
      snippet: null,
      participants: ["ann", "me", "bob"].map((name) => ({ name: "", address: `${name}@x.test` })),
      messageCount: 3,
      unreadCount: 1,
      isFlagged: true,
      hasAttachment: false,
      roles: ["inbox"],
      firstMessageAt: "2026-01-02T00:00:00.000Z",
      lastMessageAt: "2026-01-05T00:00:00.000Z",
    });
  });

  it("pages through all of them without gap or repeat, also where many are of one instant", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(range(1, 25).map((n) => ({ n, subject: `Subject ${n}`, day: Math.floor(n / 10) })));
    const paged = (await all(`/v1/threads?mailboxId=${mailbox.id}`, 4)).map((thread) => thread.subject);
    expect(paged).toEqual(subjects((await get(`/v1/threads?mailboxId=${mailbox.id}&limit=200`)).body));
    expect(new Set(paged).size).toBe(25);
  });

  it("chooses by what one message of the thread has, and pages in the order of the newest that has it", async () => {
    const mailbox = await newMailbox();
    // Thread n has an unread message by ann on day n, and then, the other way round, one by bob that was read.
    await mailbox.arrive(
      range(1, 12).flatMap((n): Sketch[] => [
        { n, subject: `Subject ${n}`, from: "ann" },
        { n: 100 + n, subject: `Re: Subject ${n}`, irt: `<${n}@x>`, from: "bob", day: 100 - n, flags: ["seen"] },
        { n: 200 + n, subject: `Re: Subject ${n}`, irt: `<${n}@x>`, from: "ann", day: n + 0.25 },
      ]),
    );
    const newestFirst = range(1, 12)
      .toReversed()
      .map((n) => `Subject ${n}`);
    const listed = async (filter: string, limit: number) =>
      (await all(`/v1/threads?mailboxId=${mailbox.id}&${filter}`, limit)).map(({ subject }) => subject);
    expect(await listed("unread=true", 5)).toEqual(newestFirst);
    expect(await listed("participant=bob@x.test", 5)).toEqual(newestFirst.toReversed());
    expect(await listed("participant=nobody@x.test", 5)).toEqual([]);
    expect(await listed("participant=bob@x.test&unread=true", 5)).toEqual([]);
    expect(await listed("role=inbox&receivedBefore=2026-01-08T00:00:00Z", 3)).toEqual(newestFirst.slice(6));
    expect(await listed("role=sent", 5)).toEqual([]);
  });

  it("leaves out threads whose messages are all gone, and orders a thread by what is left of it", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive([
      { n: 1, subject: "Lunch" },
      { n: 2, subject: "Dinner" },
      { n: 3, subject: "Re: Lunch", irt: "<1@x>" },
      { n: 4, subject: "Gone" },
    ]);
    await api.db
      .updateTable("messages")
      .set({ state: "missing", missing_since: new Date(0) })
      .where("size_bytes", "in", [103, 104])
      .where("mailbox_id", "=", mailbox.id)
      .execute();
    await api.db.deleteFrom("message_locations").where("ref", "in", ["3", "4"]).where("mailbox_id", "=", mailbox.id).execute();
    await mailbox.settle();
    expect(subjects((await get(`/v1/threads?mailboxId=${mailbox.id}`)).body)).toEqual(["Dinner", "Lunch"]);
    expect((await get(`/v1/threads/${await mailbox.threadId(4)}`)).status).toBe(404);
  });

  it("names a range that ends before it begins", async () => {
    const { status, body } = await get("/v1/threads?receivedFrom=2026-01-02T00:00:00Z&receivedBefore=2026-01-01T00:00:00Z");
    expect([status, body.errors[0].pointer]).toEqual([400, "#/receivedBefore"]);
  });
});

describe("a thread", () => {
  it("comes with its messages by page, in either order", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive(range(1, 7).map((n) => ({ n, irt: "<0@x>" })));
    const path = `/v1/threads/${await mailbox.threadId(1)}`;
    const { body: first } = await get(`${path}?limit=3`);
    expect(first.messageCount).toBe(7);
    expect(first.messages.data.map((message: { uid: number }) => message.uid)).toEqual([7, 6, 5]);
    const { body: second } = await get(`${path}?limit=10&cursor=${first.messages.nextCursor}`);
    expect(second.messages.data.map((message: { uid: number }) => message.uid)).toEqual([4, 3, 2, 1]);
    const { body: oldest } = await get(`${path}?sort=oldest&limit=2`);
    expect(oldest.messages.data.map((message: { uid: number }) => message.uid)).toEqual([1, 2]);
  });

  it("that proved to be part of another is answered with that one, by every route that takes its id", async () => {
    const mailbox = await newMailbox();
    await mailbox.arrive([
      { n: 2, irt: "<1@x>" },
      { n: 3, irt: "<1b@x>" },
      { n: 4, irt: "<3@x>" },
    ]);
    const [merged, survivor] = [await mailbox.threadId(2), await mailbox.threadId(3)];
    await mailbox.arrive([{ n: 1, refs: ["<1b@x>"] }]);
    const { status, body } = await get(`/v1/threads/${merged}`);
    expect([status, body.id, body.messageCount]).toEqual([200, survivor, 4]);
    expect((await get(`/v1/messages?threadId=${merged}`)).body.data).toHaveLength(4);
    expect((await get(`/v1/threads?mailboxId=${mailbox.id}`)).body.data).toHaveLength(1);
  });

  it("is whole while the messages of a huge one that it took in are still being moved", async () => {
    const mailbox = await newMailbox();
    const huge = (from: number, root: string) => range(from, from + 2_099).map((n): Sketch => ({ n, refs: [root], day: 1 }));
    await mailbox.arrive(huge(10_000, "<a@x>"));
    await mailbox.arrive(huge(20_000, "<b@x>"));
    const id = await mailbox.threadId(20_000);
    await mailbox.arrive([{ n: 1, refs: ["<a@x>", "<b@x>"] }]);
    const counted = async () => (await all(`/v1/messages?threadId=${id}`, 200)).length;
    expect(await counted()).toBe(4_201);
    await moveAllMergedMessages(api.db);
    expect(await counted()).toBe(4_201);
    expect((await get(`/v1/threads/${id}`)).body.messageCount).toBe(4_201);
  });
});
