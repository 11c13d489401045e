import { afterAll, beforeAll, expect, test } from "vitest";
import { memoryMailbox } from "../../providers/memory/store.ts";
import { until } from "../helpers/wait.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";

let api: WholeApi;
let key: string;

beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  ({ key } = await api.newCustomer());
});
afterAll(() => api[Symbol.asyncDispose]());

test("a message that could not be read is listed with cause and fix, and tried again at once when somebody asks for it [row 58]", async () => {
  const server = memoryMailbox("skipped");
  server.append("INBOX", { envelope: { subject: "Unreadable" } });
  server.setUnreadable("INBOX", 1, true);
  const { body: mailbox } = await api.call("POST", "/v1/mailboxes", {
    key,
    body: { provider: "memory", email: "skipped@example.com", mailbox: "skipped", sync: { notifyFrom: "2020-01-01T00:00:00Z" } },
  });
  const path = `/v1/mailboxes/${mailbox.id}/skipped`;
  const listed = async () => (await api.call("GET", path, { key })).body.data;
  const [skipped] = await until(async () => {
    const rows = await listed();
    return rows.length > 0 ? rows : undefined;
  }, "the message to be skipped");
  expect(skipped).toMatchObject({ path: "INBOX", ref: "1", code: "unavailable", attempts: 1 });
  expect(Date.parse(skipped.nextAttemptAt) - Date.parse(skipped.lastAttemptAt)).toBe(300_000);

  server.setUnreadable("INBOX", 1, false);
  const retried = await api.call("POST", `${path}/retry`, { key });
  expect([retried.status, retried.body]).toEqual([200, { messages: 1 }]);
  await until(async () => (await listed()).length === 0, "the message to be read");
  const subjects = await until(async () => {
    const { body } = await api.call("GET", `/v1/messages?mailboxId=${mailbox.id}`, { key });
    return body.data.length > 0 ? body.data.map((message: { subject: string }) => message.subject) : undefined;
  }, "the message");
  expect(subjects).toEqual(["Unreadable"]);
  await until(async () => {
    const { body } = await api.call("GET", `/v1/events?types=message.created&mailboxId=${mailbox.id}`, { key });
    return body.data.length === 1;
  }, "the event");
  expect((await api.call("POST", `${path}/retry`, { key })).body).toEqual({ messages: 0 });
});
