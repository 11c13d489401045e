import { createConnection } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { toProblemAnswer } from "../../api/errors.ts";
import { Reply, route } from "../../api/route.ts";
import { routes } from "../../api/routes/index.ts";
import { MailError } from "../../domain/errors.ts";
import { type Api, startApi } from "./api.ts";

let api: Api;
beforeAll(async () => {
  api = await startApi({ routes: [...routes, ...probes] });
});
afterAll(() => api[Symbol.asyncDispose]());

/** What a probe's POST waits for, and how often it ran. */
let gate: PromiseWithResolvers<void> | undefined;
let runs = 0;
let nextStatus = 201;

const auth = { scope: "mailboxes:write" } as const;
const probes = [
  route(
    {
      method: "post",
      path: "/probe",
      operationId: "probe",
      summary: "Probe",
      tags: ["Probe"],
      auth,
      isChange: false,
      body: z.strictObject({ name: z.string(), imap: z.strictObject({ host: z.string() }).optional() }),
      response: z.strictObject({ run: z.number(), name: z.string() }),
    },
    async ({ body }) => {
      runs += 1;
      const run = runs;
      await gate?.promise;
      if (nextStatus >= 500) throw new Error("a secret-laden internal text");
      return new Reply(nextStatus, { run, name: body.name }, { Location: "/probe/1" });
    },
  ),
  route(
    {
      method: "post",
      path: "/lies",
      operationId: "lies",
      summary: "Lies",
      tags: [],
      auth,
      isChange: false,
      response: z.strictObject({ n: z.number() }),
    },
    async () => ({ n: "no number" as unknown as number }),
  ),
  route({ method: "post", path: "/silent", operationId: "silent", summary: "Silent", tags: [], auth }, async () => undefined),
];

test("answers a problem with type, cause, fix and the request id for an unknown path", async () => {
  const answer = await api.call("GET", "/nowhere", { headers: { "X-Request-Id": "caller-0001" } });
  expect(answer.status).toBe(404);
  expect(answer.headers.get("Content-Type")).toMatch(/^application\/problem\+json/);
  expect(answer.headers.get("X-Request-Id")).toBe("caller-0001");
  expect(answer.body).toMatchObject({ type: "https://everpost.dev/problems/not_found", status: 404, instance: "caller-0001", code: "not_found" });
  expect(answer.body.fix).not.toBe("");
});

test("makes a request id of its own where the caller's could do harm", async () => {
  for (const given of ["short", "a b c d e f g h", "x".repeat(101), "<script>alert(1)</script>"]) {
    const answer = await api.call("GET", "/nowhere", { headers: { "X-Request-Id": given } });
    expect(answer.headers.get("X-Request-Id")).toMatch(/^req_[1-9A-Za-z]{22}$/);
  }
});

test("names the methods that a path takes", async () => {
  const answer = await api.call("PUT", "/v1/customers");
  expect(answer.status).toBe(405);
  expect(answer.headers.get("Allow")).toBe("GET, POST");
});

test("names every unknown and every wrong member, and repeats no value", async () => {
  const { key } = await api.newCustomer();
  const answer = await api.call("POST", "/probe", { key, body: { name: 7, pasword: "hunter2", imap: { hots: "x" } } });
  expect(answer.status).toBe(400);
  expect(answer.body.code).toBe("validation_failed");
  const pointers = answer.body.errors.map((error: { pointer: string }) => error.pointer);
  expect(pointers).toEqual(expect.arrayContaining(["#/name", "#/pasword", "#/imap/host", "#/imap/hots"]));
  expect(JSON.stringify(answer.body)).not.toContain("hunter2");
});

test("refuses unknown query parameters by name", async () => {
  const answer = await api.call("GET", "/v1/customers?limt=3", { key: api.adminKey });
  expect(answer.status).toBe(400);
  expect(answer.body.errors).toEqual([{ in: "query", pointer: "#/limt", detail: "is not known here" }]);
});

test.each([
  ["{", "malformed_json", 400],
  ["[]", "validation_failed", 400],
  ['"text"', "validation_failed", 400],
  ["null", "validation_failed", 400],
  ["1", "validation_failed", 400],
])("refuses the body %s", async (body, code, status) => {
  const { key } = await api.newCustomer();
  const answer = await api.call("POST", "/probe", { key, body });
  expect([answer.status, answer.body.code]).toEqual([status, code]);
});

test("refuses text that PostgreSQL cannot store, and says where", async () => {
  const { key } = await api.newCustomer();
  for (const name of ["a\0b", "\ud800"]) {
    const answer = await api.call("POST", "/probe", { key, body: { name } });
    expect(answer.body.errors).toMatchObject([{ pointer: "#/name" }]);
  }
});

test("refuses a body that is too large, of another type, or in an unknown coding", async () => {
  const { key } = await api.newCustomer();
  const large = await api.call("POST", "/probe", { key, body: { name: "x".repeat(1_100_000) } });
  expect([large.status, large.body.code]).toEqual([413, "payload_too_large"]);
  const form = await api.call("POST", "/probe", { key, body: "name=x", headers: { "Content-Type": "application/x-www-form-urlencoded" } });
  expect([form.status, form.body.code]).toEqual([415, "unsupported_media_type"]);
  const coded = await api.call("POST", "/probe", { key, body: { name: "x" }, headers: { "Content-Encoding": "rot13" } });
  expect([coded.status, coded.body.code]).toEqual([415, "unsupported_media_type"]);
});

test("does not read the body of a stranger", async () => {
  const answer = await api.call("POST", "/probe", { body: { name: "x".repeat(1_100_000) } });
  expect(answer.status).toBe(401);
});

test("refuses headers that are too large without falling over", async () => {
  const socket = createConnection(Number(new URL(api.url).port), "127.0.0.1");
  socket.write(`GET /v1/customers HTTP/1.1\r\nHost: x\r\nX-Large: ${"y".repeat(20_000)}\r\n\r\n`);
  const [first] = await socket.setEncoding("utf8").take(1).toArray();
  expect(first).toMatch(/^HTTP\/1\.1 431 /);
  expect((await api.call("GET", "/v1/whoami", { key: api.adminKey })).status).toBe(200);
});

test("tells nothing internal of a fault, and logs it under the request id", async () => {
  const { key } = await api.newCustomer();
  nextStatus = 500;
  try {
    const answer = await api.call("POST", "/probe", { key, body: { name: "x" } });
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.body)).not.toContain("internal text");
    expect(answer.body.instance).toMatch(/^req_/);
    expect(api.logLines.find((line) => line.includes(answer.body.instance) && line.includes("internal text"))).toBeDefined();
  } finally {
    nextStatus = 201;
  }
});

test("in tests, an answer that its schema forbids is a fault", async () => {
  const { key } = await api.newCustomer();
  expect((await api.call("POST", "/lies", { key })).status).toBe(500);
});

test("in tests, a change without an audit entry is a fault", async () => {
  const { key } = await api.newCustomer();
  expect((await api.call("POST", "/silent", { key })).status).toBe(500);
});

test("logs the route's pattern and the key's id, never the key", async () => {
  const answer = await api.call("GET", "/v1/customers/cus_1CbWqaK3zvYyZ9rNbX1pQ4", { key: api.adminKey });
  const line = api.logLines.map((text) => JSON.parse(text)).find((entry) => entry.requestId === answer.headers.get("X-Request-Id"));
  expect(line).toMatchObject({ route: "/v1/customers/{id}", status: 404, method: "GET", keyId: expect.stringMatching(/^key_/) });
  expect(api.logLines.join("\n")).not.toContain(api.adminKey);
});

test("sends security headers and forbids caching", async () => {
  const { headers } = await api.call("GET", "/v1/whoami", { key: api.adminKey });
  expect(headers.get("Content-Security-Policy")).toBe("default-src 'none';frame-ancestors 'none'");
  expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
  expect(headers.get("Cache-Control")).toBe("no-store");
  expect(headers.get("X-Powered-By")).toBeNull();
});

test("counts requests per key and refuses those beyond the allowance until it renews", async () => {
  await using small = await startApi({ env: { EVERPOST_RATE_LIMIT_PER_MINUTE: "3" } });
  const { key } = await small.newCustomer();
  const answers = [];
  for (let count = 0; count < 4; count += 1) answers.push(await small.call("GET", "/v1/whoami", { key }));
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 429]);
  expect(answers[0]?.headers.get("RateLimit-Policy")).toBe('"minute";q=3;w=60');
  expect(answers[0]?.headers.get("RateLimit")).toMatch(/^"minute";r=2;t=\d+$/);
  expect(Number(answers[3]?.headers.get("Retry-After"))).toBeGreaterThan(0);
  expect(answers[3]?.body.code).toBe("rate_limited");
  expect((await small.call("GET", "/v1/whoami", { key: small.adminKey })).status).toBe(200);
});

test("carries a POST out once and answers its repetition alike", async () => {
  const { key } = await api.newCustomer();
  const before = runs;
  const options = { key, body: { name: "once" }, headers: { "Idempotency-Key": "k-1" } };
  const first = await api.call("POST", "/probe", options);
  const second = await api.call("POST", "/probe", options);
  expect([first.status, first.headers.get("Idempotency-Replayed")]).toEqual([201, null]);
  expect([second.status, second.headers.get("Idempotency-Replayed"), second.headers.get("Location")]).toEqual([201, "true", "/probe/1"]);
  expect(second.body).toEqual(first.body);
  expect(runs).toBe(before + 1);
});

test("refuses an idempotency key for another body, path or customer's sight", async () => {
  const { key } = await api.newCustomer();
  const other = await api.newCustomer();
  const headers = { "Idempotency-Key": "k-2" };
  await api.call("POST", "/probe", { key, body: { name: "one" }, headers });
  const body = await api.call("POST", "/probe", { key, body: { name: "two" }, headers });
  expect([body.status, body.body.code]).toEqual([422, "idempotency_mismatch"]);
  const stranger = await api.call("POST", "/probe", { key: other.key, body: { name: "two" }, headers });
  expect([stranger.status, stranger.body.name]).toEqual([201, "two"]);
});

test("of two equal requests at once one is served and the other is told to wait", async () => {
  const { key } = await api.newCustomer();
  const options = { key, body: { name: "race" }, headers: { "Idempotency-Key": "k-3" } };
  const before = runs;
  gate = Promise.withResolvers();
  const racing = [api.call("POST", "/probe", options), api.call("POST", "/probe", options)];
  const early = await Promise.race(racing);
  expect([early.status, early.body.code]).toEqual([409, "idempotency_in_flight"]);
  gate.resolve();
  gate = undefined;
  expect((await Promise.all(racing)).map((answer) => answer.status).sort()).toEqual([201, 409]);
  expect(runs).toBe(before + 1);
});

test("does not keep the answer of a fault: the repetition is served", async () => {
  const { key } = await api.newCustomer();
  const options = { key, body: { name: "mend" }, headers: { "Idempotency-Key": "k-4" } };
  nextStatus = 500;
  expect((await api.call("POST", "/probe", options)).status).toBe(500);
  nextStatus = 201;
  expect((await api.call("POST", "/probe", options)).status).toBe(201);
});

test("takes over from a request that was cut off a minute ago", async () => {
  const { id, key } = await api.newCustomer();
  const options = { key, body: { name: "cut" }, headers: { "Idempotency-Key": "k-5" } };
  await api.call("POST", "/probe", options);
  const ageBy = (seconds: number) =>
    api.db
      .updateTable("idempotency_keys")
      .set({ status: null, response: null })
      .set("created_at" as never, new Date(Date.now() - seconds * 1000) as never)
      .where("customer_id", "=", id)
      .execute();
  await ageBy(30);
  expect((await api.call("POST", "/probe", options)).status).toBe(409);
  await ageBy(61);
  expect((await api.call("POST", "/probe", { ...options, body: { name: "other" } })).status).toBe(422);
  expect((await api.call("POST", "/probe", options)).status).toBe(201);
});

test("forgets an idempotency key after a day", async () => {
  const { id, key } = await api.newCustomer();
  const headers = { "Idempotency-Key": "k-6" };
  await api.call("POST", "/probe", { key, body: { name: "old" }, headers });
  await api.db
    .updateTable("idempotency_keys")
    .set("created_at" as never, new Date(Date.now() - 25 * 3_600_000) as never)
    .where("customer_id", "=", id)
    .execute();
  expect((await api.call("POST", "/probe", { key, body: { name: "new" }, headers })).status).toBe(201);
});

test("refuses an idempotency key that is no plain word", async () => {
  const { key } = await api.newCustomer();
  for (const given of ["x".repeat(256), "two words"]) {
    const answer = await api.call("POST", "/probe", { key, body: { name: "x" }, headers: { "Idempotency-Key": given } });
    expect(answer.body.errors).toMatchObject([{ in: "header", pointer: "#/Idempotency-Key" }]);
  }
});

test("stores neither answers nor requests of idempotency keys in the clear", async () => {
  const { id, key } = await api.newCustomer();
  const answer = await api.call("POST", "/v1/access-keys", { key, body: { name: "shown once" }, headers: { "Idempotency-Key": "k-7" } });
  const again = await api.call("POST", "/v1/access-keys", { key, body: { name: "shown once" }, headers: { "Idempotency-Key": "k-7" } });
  expect(again.body.key).toBe(answer.body.key);
  const row = await api.db.selectFrom("idempotency_keys").selectAll().where("customer_id", "=", id).executeTakeFirstOrThrow();
  expect(JSON.stringify(row)).not.toContain(answer.body.key);
});

test.each([
  "nonsense",
  "W10",
  Buffer.from('["access-keys","2026-01-01 00:00:00+00","key_1CbWqaK3zvYyZ9rNbX1pQ4"]').toString("base64url"),
  "x".repeat(600),
])("refuses the cursor %s", async (cursor) => {
  const answer = await api.call("GET", `/v1/customers?cursor=${cursor}`, { key: api.adminKey });
  expect([answer.status, answer.body.errors[0].pointer]).toEqual([400, "#/cursor"]);
});

test("pages through a listing, each row once, newest first", async () => {
  const names = Array.from({ length: 7 }, (_, index) => `page ${index}`);
  for (const name of names) await api.newCustomer(name);
  const seen: string[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const page: { body: { data: { name: string }[]; nextCursor: string | null } } = await api.call(
      "GET",
      `/v1/customers?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`,
      { key: api.adminKey },
    );
    seen.push(...page.body.data.map((customer) => customer.name));
    cursor = page.body.nextCursor;
  }
  expect(seen.filter((name) => name.startsWith("page "))).toEqual(names.toReversed());
});

test("a mail problem that passes says when to ask again, whether the server said so or not", () => {
  const answer = (retryAfterMs?: number) => toProblemAnswer(new MailError("too_many_connections", { doing: "reading", retryAfterMs }), "req_1");
  expect(answer(1_500)).toMatchObject({ status: 429, headers: { "Retry-After": "2" } });
  expect(answer()).toMatchObject({ status: 429, headers: { "Retry-After": "30" } });
  expect(toProblemAnswer(new MailError("unavailable", { doing: "reading" }), "req_1").headers).toEqual({ "Retry-After": "30" });
  expect(toProblemAnswer(new MailError("not_found", { doing: "reading" }), "req_1").headers).toEqual({});
});
