import { once } from "node:events";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { workflowIds } from "../../workflows/names.ts";
import { startApi } from "./api.ts";
import { startWholeApi } from "./engine.ts";
import { makeThings } from "./things.ts";

/** A port on which nothing listens. */
async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

test("without Temporal a mailbox is stored and answered 503, and the same request goes on from there", async () => {
  await using api = await startWholeApi({ address: await deadAddress(), timeoutMs: 1_000 });
  const { id: customerId, key } = await api.newCustomer();
  const body = { provider: "memory", email: "ann@example.com", mailbox: "away", externalId: "user-1" };
  const headers = { "Idempotency-Key": "away-1" };
  const first = await api.call("POST", "/v1/mailboxes", { key, body, headers });
  expect([first.status, first.body.code]).toEqual([503, "service_unavailable"]);
  expect(first.body.detail).toContain("Temporal");
  const rows = () => api.db.selectFrom("mailboxes").select(["id", "status"]).where("customer_id", "=", customerId).execute();
  const [row] = await rows();
  expect(row?.status).toBe("configured");
  const withKey = await api.call("POST", "/v1/mailboxes", { key, body, headers });
  const withoutKey = await api.call("POST", "/v1/mailboxes", { key, body });
  expect([withKey.status, withoutKey.status]).toEqual([503, 503]);
  const otherwise = await api.call("POST", "/v1/mailboxes", { key, body: { ...body, password: "changed" } });
  expect(otherwise.status).toBe(409);
  expect(await rows()).toEqual([row]);
  expect((await api.call("GET", `/v1/mailboxes/${row?.id}`, { key })).status).toBe(200);
});

test("the retry of a start that failed answers 201 once Temporal is back", async () => {
  await using api = await startWholeApi();
  const { id: customerId, key } = await api.newCustomer();
  const things = await makeThings(api, customerId);
  const row = await api.db.selectFrom("mailboxes").selectAll().where("id", "=", things.mailboxes).executeTakeFirstOrThrow();
  const body = { provider: "memory", email: row.email, mailbox: row.id, externalId: row.external_id };
  const answer = await api.call("POST", "/v1/mailboxes", { key, body });
  expect([answer.status, answer.body.id]).toEqual([201, row.id]);
  expect((await api.client.workflow.getHandle(workflowIds.mailbox(row.id)).describe()).status.name).toBe("RUNNING");
});

test("without a worker a command is answered 503 within its time, and readiness says what to start", async () => {
  await using api = await startWholeApi({ timeoutMs: 1_000 });
  const { id: customerId, key } = await api.newCustomer();
  const { mailboxes: id } = await makeThings(api, customerId);
  for (const [method, path] of [
    ["POST", `/v1/mailboxes/${id}/pause`],
    ["DELETE", `/v1/mailboxes/${id}`],
  ] as const) {
    const answer = await api.call(method, path, { key });
    expect([answer.status, answer.body.code]).toEqual([503, "service_unavailable"]);
    expect(answer.headers.get("Retry-After")).toBe("10");
  }
  expect((await api.call("GET", `/v1/mailboxes/${id}`, { key })).status).toBe(200);
  const ready = await api.call("GET", "/readyz");
  expect([ready.status, ready.body.ready]).toEqual([503, false]);
  expect(ready.body.checks).toMatchObject({ database: { ok: true }, schema: { ok: true }, temporal: { ok: true }, mailWorker: { ok: false } });
  expect(ready.body.checks.mailWorker.fix).toContain("worker");
});

test("readiness tells that Temporal is gone, health does not care", async () => {
  await using api = await startWholeApi({ address: await deadAddress() });
  const ready = await api.call("GET", "/readyz");
  expect(ready.status).toBe(503);
  expect(ready.body.checks).toMatchObject({ database: { ok: true }, temporal: { ok: false }, mailWorker: { ok: false } });
  expect((await api.call("GET", "/healthz")).status).toBe(200);
});

test("readiness tells that the schema is old", async () => {
  await using api = await startWholeApi();
  await api.db.deleteFrom("kysely_migration" as never).execute();
  const { body } = await api.call("GET", "/readyz");
  expect(body.checks).toMatchObject({ database: { ok: true }, schema: { ok: false, fix: "Run `npm run migrate`." } });
});

test("without the database requests are answered 503, and readiness says so", async () => {
  const api = await startApi({ env: { DATABASE_URL: `postgres://nobody@${await deadAddress()}/none` }, isDatabaseGone: true });
  try {
    const answer = await api.call("GET", "/v1/whoami", { key: api.adminKey });
    expect([answer.status, answer.body.code]).toEqual([503, "service_unavailable"]);
    expect((await api.call("GET", "/healthz")).status).toBe(200);
    expect((await api.call("GET", "/readyz")).body.checks.database.ok).toBe(false);
  } finally {
    await api[Symbol.asyncDispose]();
  }
});
