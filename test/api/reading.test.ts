import { afterAll, beforeAll, expect, test } from "vitest";
import type { RemoteMessage } from "../../domain/message.ts";
import { type FilledMailbox, fillMailbox } from "../helpers/mailboxes.ts";
import { until } from "../helpers/wait.ts";
import { type Api, startApi } from "./api.ts";

let api: Api;
let key: string;
let sales: FilledMailbox;
let support: FilledMailbox;

beforeAll(async () => {
  api = await startApi();
  const customer = await api.newCustomer();
  key = customer.key;
  sales = await fillMailbox(api.db, {
    customerId: customer.id,
    email: "sales@shop.test",
    messages: [
      { folder: "INBOX", message: letter(1, "Offer for Müller", "Bob@Example.net", "sales@shop.test", ["seen"]) },
      { folder: "Sent", message: letter(2, "Re: Offer for Müller", "sales@shop.test", "bob@example.net", ["seen"]) },
    ],
  });
  support = await fillMailbox(api.db, {
    customerId: customer.id,
    email: "support@shop.test",
    messages: [{ folder: "INBOX", message: { ...letter(3, "It does not work", "bob@example.net", "support@shop.test", []), attachments: [file] } }],
  });
});
afterAll(() => api[Symbol.asyncDispose]());

const file = { part: "2", fileName: "screen.png", contentType: "image/png", encodedSizeBytes: 9, contentId: null, isInline: false };

function letter(day: number, subject: string, from: string, to: string, flags: readonly string[]): Partial<RemoteMessage> {
  return {
    receivedAt: `2026-10-0${day}T08:00:00.000Z`,
    flags,
    envelope: {
      ...{ messageId: `<${day}@x>`, inReplyTo: null, references: [], subject, sentAt: null, replyTo: [], cc: [], bcc: [] },
      ...{ from: [{ name: "", address: from }], to: [{ name: "", address: to }] },
    },
  };
}

const get = (path: string, withKey = key) => api.call("GET", path, { key: withKey });
const subjects = (body: { data: readonly { subject: string }[] }) => body.data.map((message) => message.subject);

test.each([
  ["q=offer", 2],
  ["q=muller", 2],
  ["q=%22for%20muller%22", 2],
  ["q=screen.png", 1],
  ["q=example.net%20-offer", 1],
  ["q=wor*", 1],
  ["unread=true", 1],
  ["unread=false", 2],
  ["flagged=true", 0],
  ["hasAttachment=true", 1],
  ["contact=BOB%40example.net", 3],
  ["contact=support%40shop.test", 1],
  ["trait=bulk", 0],
])("GET /v1/messages?%s finds %i", async (query, count) => {
  const { status, body } = await get(`/v1/messages?${query}`);
  expect([status, body.data.length, body.nextCursor]).toEqual([200, count, null]);
});

test("messages come oldest first where that is asked for, and a cursor of one order is refused by the other", async () => {
  const first = await get("/v1/messages?sort=oldest&limit=2");
  expect(subjects(first.body)).toEqual(["Offer for Müller", "Re: Offer for Müller"]);
  const second = await get(`/v1/messages?sort=oldest&limit=2&cursor=${first.body.nextCursor}`);
  expect(subjects(second.body)).toEqual(["It does not work"]);
  expect((await get(`/v1/messages?limit=2&cursor=${first.body.nextCursor}`)).body.errors).toMatchObject([{ pointer: "#/cursor" }]);
});

test.each([
  ["q=", "#/q"],
  ["q=%2D%2D", "#/q"],
  ["q=%00", "#"],
  ["contact=nobody", "#/contact"],
  ["unread=maybe", "#/unread"],
  ["trait=nice", "#/trait"],
  ["sort=best", "#/sort"],
  ["receivedFrom=2026-01-02T00:00:00Z&receivedBefore=2026-01-01T00:00:00Z", "#/receivedBefore"],
])("GET /v1/messages?%s is refused and names %s", async (query, pointer) => {
  const { status, body } = await get(`/v1/messages?${query}`);
  expect([status, body.code]).toEqual([400, "validation_failed"]);
  expect(body.errors[0].pointer.startsWith(pointer)).toBe(true);
});

test("what was written with somebody is read across mailboxes, newest first, with figures", async () => {
  const { status, body } = await get("/v1/contacts/BOB%40example.net/messages?summary=true");
  expect(status).toBe(200);
  expect(body.data).toMatchObject([
    {
      subject: "It does not work",
      direction: "incoming",
      mailboxId: support.id,
      isUnread: true,
      attachments: 1,
      from: { address: "bob@example.net" },
    },
    { subject: "Re: Offer for Müller", direction: "outgoing", mailboxId: sales.id, to: [{ address: "bob@example.net" }] },
    { subject: "Offer for Müller", direction: "incoming", isUnread: false, attachments: 0 },
  ]);
  expect(body.summary).toMatchObject({ messages: 3, incoming: 2, outgoing: 1, isComplete: true, lastAt: "2026-10-03T08:00:00.000Z" });
  const page = await get("/v1/contacts/bob@example.net/messages?limit=1&direction=incoming");
  expect(subjects(page.body)).toEqual(["It does not work"]);
  expect(page.body.summary).toBeUndefined();
  const next = await get(`/v1/contacts/bob@example.net/messages?limit=1&direction=incoming&cursor=${page.body.nextCursor}`);
  expect(subjects(next.body)).toEqual(["Offer for Müller"]);
});

test("a stranger's address, or another customer's contact, has an empty history; what is no address is refused", async () => {
  expect((await get("/v1/contacts/nobody@far.test/messages?summary=true")).body).toMatchObject({ data: [], summary: { messages: 0, firstAt: null } });
  const other = await api.newCustomer();
  expect((await get("/v1/contacts/bob@example.net/messages", other.key)).body.data).toEqual([]);
  expect((await get("/v1/contacts/bob/messages")).body.errors).toMatchObject([{ in: "path", pointer: "#/address" }]);
});

test("a mailbox's changes are followed page by page, and then from where one was", async () => {
  const seen: string[] = [];
  let cursor = "";
  // Other databases' transactions hold the feed back for a moment.
  await until(async () => {
    const { body } = await get(`/v1/mailboxes/${sales.id}/changes?limit=1${cursor}`);
    seen.push(...body.upserted.map((message: { id: string }) => message.id));
    cursor = `&cursor=${body.nextCursor}`;
    return seen.length === 2 && !body.more;
  }, "both messages");
  expect(new Set(seen).size).toBe(2);
  const [id = ""] = seen;
  await api.db
    .updateTable("messages")
    .set({ is_deleted: true })
    .where("id", "=", id as `msg_${string}`)
    .execute();
  const { body } = await until(async () => {
    const answer = await get(`/v1/mailboxes/${sales.id}/changes?limit=1${cursor}`);
    return answer.body.deleted.length > 0 && answer;
  }, "the deletion");
  expect(body).toMatchObject({ reset: false, upserted: [], deleted: [id], more: false });
  const foreign = await get(`/v1/mailboxes/${support.id}/changes?${cursor.slice(1)}`);
  expect([foreign.status, foreign.body.errors[0].pointer]).toEqual([400, "#/cursor"]);
});
