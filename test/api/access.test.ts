import { afterAll, beforeAll, expect, test } from "vitest";
import { keyScopes } from "../../domain/access.ts";
import { type Api, startApi } from "./api.ts";
import { makeThings } from "./things.ts";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api[Symbol.asyncDispose]());

test("an administrator creates a customer, and its first key, by name", async () => {
  const customer = await api.call("POST", "/v1/customers", { key: api.adminKey, body: { name: "  Example Ltd " } });
  expect([customer.status, customer.body.name]).toEqual([201, "Example Ltd"]);
  expect(customer.headers.get("Location")).toBe(`/v1/customers/${customer.body.id}`);
  const headers = { "Everpost-Customer": customer.body.id };
  const created = await api.call("POST", "/v1/access-keys", { key: api.adminKey, headers, body: { name: "backend" } });
  expect(created.body).toMatchObject({ role: "customer", customerId: customer.body.id, scopes: [...keyScopes] });
  const who = await api.call("GET", "/v1/whoami", { key: created.body.key });
  expect(who.body).toMatchObject({ keyId: created.body.id, role: "customer", customerId: customer.body.id });
  expect((await api.call("GET", `/v1/customers/${customer.body.id}`, { key: api.adminKey })).body).toEqual(customer.body);
});

test("an administrator who names a customer that is not there is told so", async () => {
  const absent = await api.call("GET", "/v1/mailboxes", { key: api.adminKey, headers: { "Everpost-Customer": "cus_1CbWqaK3zvYyZ9rNbX1pQ4" } });
  expect([absent.status, absent.body.code]).toEqual([404, "not_found"]);
  const rubbish = await api.call("GET", "/v1/mailboxes", { key: api.adminKey, headers: { "Everpost-Customer": "me" } });
  expect(rubbish.body.errors).toMatchObject([{ in: "header", pointer: "#/Everpost-Customer" }]);
});

test("without a customer, administrators manage their own keys, which cannot be limited", async () => {
  const created = await api.call("POST", "/v1/access-keys", { key: api.adminKey, body: { name: "second" } });
  expect(created.body).toMatchObject({ role: "administrator", customerId: null });
  for (const limit of [{ scopes: ["mailboxes:read"] }, { mailboxId: "mbx_1CbWqaK3zvYyZ9rNbX1pQ4" }]) {
    expect((await api.call("POST", "/v1/access-keys", { key: api.adminKey, body: { name: "x", ...limit } })).status).toBe(400);
  }
  const list = await api.call("GET", "/v1/access-keys", { key: api.adminKey });
  expect(list.body.data.map((entry: { role: string }) => entry.role)).toEqual(["administrator", "administrator"]);
});

test("a key gives no more than it has", async () => {
  const { id } = await api.newCustomer();
  const key = await api.newKey({ customerId: id, scopes: ["keys:write", "messages:read"] });
  const greedy = await api.call("POST", "/v1/access-keys", { key, body: { name: "x", scopes: ["mailboxes:write"] } });
  expect([greedy.status, greedy.body.code]).toEqual([403, "forbidden_scope"]);
  const modest = await api.call("POST", "/v1/access-keys", { key, body: { name: "x" } });
  expect(modest.body.scopes).toEqual(["messages:read", "keys:write"]);
});

test("a key is bound to a mailbox of its customer only", async () => {
  const { id, key } = await api.newCustomer();
  const { mailboxes: own } = await makeThings(api, id);
  const { mailboxes: foreign } = await makeThings(api, (await api.newCustomer()).id);
  expect((await api.call("POST", "/v1/access-keys", { key, body: { name: "x", mailboxId: foreign } })).status).toBe(404);
  const bound = await api.call("POST", "/v1/access-keys", { key, body: { name: "x", mailboxId: own } });
  expect(bound.body.mailboxId).toBe(own);
  const list = await api.call("GET", "/v1/mailboxes", { key: bound.body.key });
  expect(list.body.data.map((mailbox: { id: string }) => mailbox.id)).toEqual([own]);
});

test("two keys live side by side until the old one is revoked, and revoking twice changes nothing", async () => {
  const { key: old } = await api.newCustomer();
  const { keyId } = (await api.call("GET", "/v1/whoami", { key: old })).body;
  const { key: fresh } = (await api.call("POST", "/v1/access-keys", { key: old, body: { name: "fresh" } })).body;
  expect((await api.call("GET", "/v1/whoami", { key: old })).status).toBe(200);
  const first = await api.call("DELETE", `/v1/access-keys/${keyId}`, { key: fresh });
  const second = await api.call("DELETE", `/v1/access-keys/${keyId}`, { key: fresh });
  expect(second.body.revokedAt).toBe(first.body.revokedAt);
  expect((await api.call("GET", "/v1/whoami", { key: old })).status).toBe(401);
});

test("refuses an expiry in the past", async () => {
  const { key } = await api.newCustomer();
  const answer = await api.call("POST", "/v1/access-keys", { key, body: { name: "x", expiresAt: "2001-01-01T00:00:00Z" } });
  expect(answer.body.errors).toMatchObject([{ pointer: "#/expiresAt" }]);
});

test("notes who did what under which request, without the key itself", async () => {
  const { key } = await api.newCustomer();
  const created = await api.call("POST", "/v1/access-keys", { key, body: { name: "noted" }, headers: { "X-Request-Id": "audit-test-1" } });
  const { keyId } = (await api.call("GET", "/v1/whoami", { key })).body;
  const log = await api.call("GET", `/v1/audit-log?action=access_key.created&target=${created.body.id}`, { key });
  expect(log.body.data).toMatchObject([{ actor: keyId, requestId: "audit-test-1", details: { name: "noted" } }]);
  expect(JSON.stringify(log.body)).not.toContain(created.body.key);
});

test("shows a message as events tell it, and filters by role, direction and time", async () => {
  const { id, key } = await api.newCustomer();
  const things = await makeThings(api, id);
  const message = await api.call("GET", `/v1/messages/${things.messages}`, { key });
  expect(message.body).toMatchObject({
    subject: "Hello",
    path: "INBOX",
    specialUse: "inbox",
    uid: 7,
    from: [{ name: "Bob", address: "bob@example.net" }],
    receivedAt: "2026-11-01T10:00:01.000Z",
  });
  const count = async (query: string) => (await api.call("GET", `/v1/messages?${query}`, { key })).body.data.length;
  expect(await count("role=inbox&direction=incoming")).toBe(1);
  expect(await count("role=sent")).toBe(0);
  expect(await count("direction=outgoing")).toBe(0);
  expect(await count("receivedFrom=2026-11-01T10:00:01Z")).toBe(1);
  expect(await count("receivedBefore=2026-11-01T10:00:01Z")).toBe(0);
  expect(await count(`receivedFrom=${encodeURIComponent("2026-11-01T12:00:00+02:00")}`)).toBe(1);
  await api.db
    .updateTable("messages")
    .set({ is_deleted: true })
    .where("id", "=", things.messages as `msg_${string}`)
    .execute();
  expect(await count("")).toBe(0);
  expect((await api.call("GET", `/v1/messages/${things.messages}`, { key })).status).toBe(404);
});

test("lists folders with their progress", async () => {
  const { id, key } = await api.newCustomer();
  const things = await makeThings(api, id);
  const { body } = await api.call("GET", `/v1/mailboxes/${things.mailboxes}/folders`, { key });
  expect(body.data).toMatchObject([{ id: things.folders, path: "INBOX", role: "inbox", total: 1, unseen: 1, importState: "pending" }]);
});
