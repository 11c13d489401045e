import { afterAll, beforeAll, expect, test } from "vitest";
import { memoryMailbox } from "../../providers/memory/store.ts";
import { workflowIds } from "../../workflows/names.ts";
import { until } from "../helpers/wait.ts";
import type { Answer } from "./api.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";

let api: WholeApi;
let key: string;
let customerId: string;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  ({ id: customerId, key } = await api.newCustomer());
});
afterAll(() => api[Symbol.asyncDispose]());

let count = 0;
const newBody = (more: object = {}) => {
  count += 1;
  return { provider: "memory", email: `user${count}@example.com`, mailbox: `api-${count}`, ...more };
};
const connect = (more: object = {}, headers: Record<string, string> = {}) => api.call("POST", "/v1/mailboxes", { key, body: newBody(more), headers });

const connected = (id: string) =>
  until(async () => {
    const { body } = await api.call("GET", `/v1/mailboxes/${id}`, { key });
    return body.status === "connected" && body.flow.state === "live" ? body : undefined;
  }, "the mailbox to be live");

test("stores a mailbox, starts its workflow and shows it become live", async () => {
  const answer = await connect({ externalId: "user-1", aliases: ["Ann@example.com", "ann@EXAMPLE.com"] });
  expect(answer.status).toBe(201);
  expect(answer.headers.get("Location")).toBe(`/v1/mailboxes/${answer.body.id}`);
  expect(answer.body).toMatchObject({ externalId: "user-1", provider: "memory", customerId, aliases: ["ann@EXAMPLE.com"] });
  const described = await api.client.workflow.getHandle(workflowIds.mailbox(answer.body.id)).describe();
  expect(described.status.name).toBe("RUNNING");
  const live = await connected(answer.body.id);
  expect(live.counts.folders).toBeGreaterThan(0);
  expect(live.folders.length).toBeGreaterThan(0);
});

test("keeps the password out of the table, the audit log and the logs", async () => {
  const { body } = await connect({ password: "another-s3cret" });
  expect(JSON.stringify(body)).not.toContain("another-s3cret");
  const stored = await api.db.selectFrom("mailboxes").innerJoin("credentials", "mailbox_id", "id").selectAll().where("id", "=", body.id).execute();
  const audit = await api.db.selectFrom("audit_log").selectAll().where("target", "=", body.id).execute();
  expect(audit).toMatchObject([{ action: "mailbox.created", mailbox_id: body.id, customer_id: customerId }]);
  expect(JSON.stringify([stored, audit, api.logLines])).not.toContain("another-s3cret");
});

test.each([
  ["another provider's member", { imap: { host: "x" } }, "#/imap"],
  ["a missing member", { mailbox: undefined }, "#/mailbox"],
  ["an unknown provider", { provider: "pigeon" }, "#/provider"],
  ["no e-mail address", { email: "ann" }, "#/email"],
  ["an unknown role", { sync: { roleOverrides: { Sent: "gone" } } }, "#/sync/roleOverrides/Sent"],
  ["an unknown sync setting", { sync: { everything: true } }, "#/sync/everything"],
  ["a poll floor out of bounds", { sync: { pollFloorSeconds: 1 } }, "#/sync/pollFloorSeconds"],
])("refuses %s by name", async (_what, more, pointer) => {
  const answer = await connect(more);
  expect([answer.status, answer.body.code]).toEqual([400, "validation_failed"]);
  expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer);
});

test("takes IMAP without being told so, and names what a custom server lacks", async () => {
  const body = { email: "ann@example.com", password: "x" };
  const answer = await api.call("POST", "/v1/mailboxes", { key, body });
  expect(answer.status).toBe(400);
  expect(answer.body.errors).toMatchObject([{ pointer: "#/imap/host" }]);
});

test("refuses a second mailbox with the same external id and names the first", async () => {
  const first = await connect({ externalId: "twice" });
  const second = await connect({ externalId: "twice" });
  expect([second.status, second.body.code]).toEqual([409, "conflict"]);
  expect(second.body.detail).toContain(first.body.id);
  const other = await api.newCustomer();
  expect((await api.call("POST", "/v1/mailboxes", { key: other.key, body: newBody({ externalId: "twice" }) })).status).toBe(201);
});

test("of ten requests at once with one external id makes one mailbox", async () => {
  const body = newBody({ externalId: "race" });
  const answers = await Promise.all(Array.from({ length: 10 }, () => api.call("POST", "/v1/mailboxes", { key, body })));
  expect(answers.every(({ status }) => status === 201 || status === 409)).toBe(true);
  const list = await api.call("GET", "/v1/mailboxes?externalId=race", { key });
  expect(list.body.data).toHaveLength(1);
});

test("answers a repetition with the same Idempotency-Key by the same mailbox", async () => {
  const body = newBody();
  const headers = { "Idempotency-Key": "connect-1" };
  const first = await api.call("POST", "/v1/mailboxes", { key, body, headers });
  const second = await api.call("POST", "/v1/mailboxes", { key, body, headers });
  expect([second.status, second.body.id, second.headers.get("Idempotency-Replayed")]).toEqual([201, first.body.id, "true"]);
});

test("pauses and resumes, and says so when the answer comes", async () => {
  const { body } = await connect();
  await connected(body.id);
  const paused = await api.call("POST", `/v1/mailboxes/${body.id}/pause`, { key });
  expect([paused.status, paused.body.flow.state]).toEqual([200, "paused"]);
  const again = await api.call("POST", `/v1/mailboxes/${body.id}/pause`, { key });
  expect(again.status).toBe(200);
  const resumed = await api.call("POST", `/v1/mailboxes/${body.id}/resume`, { key });
  expect(resumed.body.flow.state).not.toBe("paused");
});

test.each(["sync", "resync", "reconnect"])("carries out %s and notes it", async (command) => {
  const { body } = await connect();
  await connected(body.id);
  const answer = await api.call("POST", `/v1/mailboxes/${body.id}/${command}`, { key });
  expect(answer.status).toBe(200);
  const audit = await api.call("GET", `/v1/audit-log?target=${body.id}&action=mailbox.${command}`, { key });
  expect(audit.body.data).toMatchObject([{ mailboxId: body.id, requestId: answer.headers.get("X-Request-Id") }]);
});

test("brings a lost workflow back to life by a command", async () => {
  const { body } = await connect();
  await connected(body.id);
  const handle = api.client.workflow.getHandle(workflowIds.mailbox(body.id));
  await handle.terminate("lost");
  expect((await api.call("POST", `/v1/mailboxes/${body.id}/sync`, { key })).status).toBe(200);
  expect((await handle.describe()).status.name).toBe("RUNNING");
});

test("changes what is given, keeps the rest, and notes the members but not their values", async () => {
  const { body } = await connect({ displayName: "Ann", sync: { excludePaths: ["Spam"] } });
  const answer = await api.call("PATCH", `/v1/mailboxes/${body.id}`, {
    key,
    body: { externalId: "renamed", password: "br4nd-new", sync: { pollFloorSeconds: 300 } },
  });
  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ externalId: "renamed", displayName: "Ann", sync: { excludePaths: ["Spam"], pollFloorSeconds: 300 } });
  expect(answer.body.updatedAt > body.updatedAt).toBe(true);
  const audit = await api.call("GET", `/v1/audit-log?target=${body.id}&action=mailbox.changed`, { key });
  expect(audit.body.data[0].details.members.toSorted()).toEqual(["externalId", "password", "sync"]);
  expect(JSON.stringify(audit.body)).not.toContain("br4nd-new");
});

test("keeps the row as it was when a change is refused", async () => {
  await connect({ externalId: "taken" });
  const { body } = await connect();
  for (const change of [
    { externalId: "taken", displayName: "no" },
    { displayName: "no", password: "" },
    { displayName: "no", nonsense: 1 },
  ]) {
    expect((await api.call("PATCH", `/v1/mailboxes/${body.id}`, { key, body: change })).status).toBeGreaterThanOrEqual(400);
  }
  expect((await api.call("GET", `/v1/mailboxes/${body.id}`, { key })).body.displayName).toBeNull();
});

test("disconnects: the workflow ends, the credentials are gone, the external id is free", async () => {
  const { body } = await connect({ externalId: "leaving" });
  await connected(body.id);
  expect((await api.call("DELETE", `/v1/mailboxes/${body.id}?purge=true`, { key })).status).toBe(204);
  expect((await api.call("GET", `/v1/mailboxes/${body.id}`, { key })).status).toBe(404);
  expect((await api.call("DELETE", `/v1/mailboxes/${body.id}`, { key })).status).toBe(404);
  expect(await api.db.selectFrom("credentials").selectAll().where("mailbox_id", "=", body.id).execute()).toEqual([]);
  await until(
    async () => (await api.client.workflow.getHandle(workflowIds.mailbox(body.id)).describe()).status.name === "COMPLETED",
    "the workflow to end",
  );
  expect((await connect({ externalId: "leaving" })).status).toBe(201);
});

test("finds mailboxes by address, external id and status as it is judged now", async () => {
  const { id, key: own } = await api.newCustomer();
  const bodies = [newBody({ externalId: "find-1" }), newBody({ externalId: "find-2" })];
  const [one] = (await Promise.all(bodies.map((body) => api.call("POST", "/v1/mailboxes", { key: own, body })))) as [Answer, Answer];
  const find = async (query: string) =>
    (await api.call("GET", `/v1/mailboxes?${query}`, { key: own })).body.data.map((mailbox: { externalId: string }) => mailbox.externalId);
  expect(await find("externalId=find-2")).toEqual(["find-2"]);
  expect(await find(`email=${encodeURIComponent(bodies[0]?.email.toUpperCase() ?? "")}`)).toEqual(["find-1"]);
  await until(async () => (await find("status=connected")).length === 2, "both to be connected");
  // As after a day without any worker: nobody wrote an error, and yet it is one.
  await api.client.workflow.getHandle(workflowIds.mailbox(one.body.id)).terminate("as if there were no worker");
  // What was still at work on it may write for a moment longer, so all is read in one go until it has ended.
  const stalled = await until(async () => {
    const day = new Date(Date.now() - 86_400_000);
    await api.db
      .updateTable("mailboxes")
      .set({ last_success_at: day, watch_state: "off", import_finished_at: day, idle_shard: null })
      .where("id", "=", one.body.id)
      .where("customer_id", "=", id)
      .execute();
    const [errors, connected, answer] = [
      await find("status=error"),
      await find("status=connected"),
      await api.call("GET", `/v1/mailboxes/${one.body.id}`, { key: own }),
    ];
    return `${errors} ${connected}` === "find-1 find-2" && answer.body.status === "error" && answer;
  }, "the mailbox without a workflow to be found as an error, and only that one");
  expect(stalled.body).toMatchObject({ status: "error", flow: { state: "stalled" }, problem: { code: "sync_stalled" } });
});

test("tests settings and saves nothing", async () => {
  const before = await api.db.selectFrom("mailboxes").select("id").execute();
  const answer = await api.call("POST", "/v1/mailboxes/test", { key, body: newBody() });
  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ receiving: { ok: true, inbox: { total: 0, unseen: 0 } }, sending: null });
  expect(await api.db.selectFrom("mailboxes").select("id").execute()).toHaveLength(before.length);
  expect(await api.db.selectFrom("connection_tests").selectAll().execute()).toEqual([]);
});

test("says why a test failed, with cause and fix", async () => {
  const body = { email: "ann@example.com", password: "x", imap: { host: "127.0.0.1", port: 1, security: "none", allowInsecure: true } };
  const answer = await api.call("POST", "/v1/mailboxes/test", { key, body });
  expect(answer.status).toBe(200);
  expect(answer.body.receiving).toMatchObject({ ok: false, problem: { code: "connection_refused" } });
  expect(answer.body.receiving.problem.fix).not.toBe("");
});

test("tests a stored mailbox with its own credentials", async () => {
  const { body } = await connect();
  const answer = await api.call("POST", `/v1/mailboxes/${body.id}/test`, { key });
  expect(answer.body.receiving.ok).toBe(true);
});

test("is ready while workers poll", async () => {
  const answer = await api.call("GET", "/readyz");
  expect(answer.body).toMatchObject({ ready: true, checks: { database: { ok: true }, mailWorker: { ok: true }, providersWorker: { ok: true } } });
  expect(answer.status).toBe(200);
});

test("finds the servers of a well-known domain and says what that rests on", async () => {
  const answer = await api.call("POST", "/v1/autodetect", { key, body: { email: "ann@fastmail.com" } });
  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ domain: "fastmail.com", preset: "fastmail", source: "domain", imap: { host: "imap.fastmail.com" } });
});

test("shows a message's text when asked, and keeps it out of Temporal", async () => {
  const name = `api-text-${Date.now()}`;
  memoryMailbox(name).append("INBOX", {
    envelope: { subject: "With text", from: [{ name: "Bob", address: "bob@example.net" }], messageId: "<text@example.net>" },
    text: "The text of the message.",
  });
  const { body: mailbox } = await connect({ mailbox: name });
  const message = await until(async () => {
    const { body } = await api.call("GET", `/v1/messages?mailboxId=${mailbox.id}`, { key });
    return body.data[0];
  }, "the message to be imported");
  const plain = await api.call("GET", `/v1/messages/${message.id}`, { key });
  expect(plain.body.text).toBeUndefined();
  const full = await api.call("GET", `/v1/messages/${message.id}?include=text`, { key });
  expect(full.status).toBe(200);
  expect(full.body.text.trim()).toBe("The text of the message.");
  expect(full.body.isTextTruncated).toBe(false);
  const history = await api.client.workflow.getHandle(workflowIds.messageText(message.id)).fetchHistory();
  expect(JSON.stringify(history)).not.toContain(Buffer.from("The text of").toString("base64").slice(0, 12));
});
