import { afterAll, beforeAll, expect, test } from "vitest";
import { memoryMailbox } from "../../providers/memory/store.ts";
import { workflowIds } from "../../workflows/names.ts";
import { startWholeApi, type WholeApi } from "../api/engine.ts";
import { until } from "../helpers/wait.ts";

let api: WholeApi;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle", "content"]);
});
afterAll(() => api[Symbol.asyncDispose]());

test("a first sync's lines of preview come by themselves, and are told to who follows the changes", async () => {
  const { key } = await api.newCustomer();
  const store = memoryMailbox("previews");
  for (let n = 0; n < 3; n += 1) store.append("INBOX", { envelope: { subject: `m${n}`, messageId: `<p${n}@x.test>` }, text: `Text ${n}` });
  const body = { provider: "memory", email: "previews@example.com", mailbox: "previews" };
  const { id } = (await api.call("POST", "/v1/mailboxes", { key, body })).body;
  const snippets = new Map<string, string | null>();
  let cursor = "";
  await until(async () => {
    const { body: changes } = await api.call("GET", `/v1/mailboxes/${id}/changes${cursor}`, { key });
    cursor = `?cursor=${changes.nextCursor}`;
    for (const { subject, snippet } of changes.upserted) snippets.set(subject, snippet);
    return [...snippets.values()].filter((snippet) => snippet !== null).length === 3;
  }, "the previews to be told");
  expect(Object.fromEntries(snippets)).toEqual({ m0: "Text 0", m1: "Text 1", m2: "Text 2" });
  const handle = api.client.workflow.getHandle(workflowIds.keepContent(id));
  await until(async () => (await handle.describe()).status.name === "COMPLETED", "the workflow to end");
  // What the keeper costs does not grow with the messages.
  expect((await handle.fetchHistory()).events?.length).toBeLessThan(60);
});

test("contents are kept of what was there, of what comes, and of nothing once nobody wants them, each by a workflow that ends", async () => {
  const { key } = await api.newCustomer();
  const store = memoryMailbox("kept");
  for (let n = 0; n < 30; n += 1) store.append("INBOX", { envelope: { subject: `history ${n}`, messageId: `<h${n}@x.test>` }, text: `Text ${n}` });
  const body = { provider: "memory", email: "kept@example.com", mailbox: "kept", sync: { content: "full" } };
  const { id } = (await api.call("POST", "/v1/mailboxes", { key, body })).body;

  const kept = (count: number) =>
    until(async () => {
      const rows = await api.db.selectFrom("message_blobs").select("key").where("mailbox_id", "=", id).execute();
      return rows.length === count;
    }, `${count} contents to be kept`);
  const handle = api.client.workflow.getHandle(workflowIds.keepContent(id));
  const ended = () => until(async () => (await handle.describe()).status.name === "COMPLETED", "the workflow to end");

  await kept(30);
  store.append("INBOX", { envelope: { subject: "live", messageId: "<live@x.test>" }, text: "Live" });
  await kept(31);
  await ended();
  const { body: page } = await api.call("GET", `/v1/messages?mailboxId=${id}&limit=1`, { key });
  expect((await api.call("GET", `/v1/messages/${page.data[0].id}/text`, { key })).body).toMatchObject({ source: "kept", reply: "Live" });

  expect((await api.call("PATCH", `/v1/mailboxes/${id}`, { key, body: { sync: { content: "metadata" } } })).status).toBe(200);
  await kept(0);
  await ended();
});
