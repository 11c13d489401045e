import { connect as tcpConnect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keyScopes } from "../../domain/access.ts";
import type { Answer } from "../api/api.ts";
import { startWholeApi, type WholeApi } from "../api/engine.ts";
import { makeThings, type Things } from "../api/things.ts";
import { until } from "../helpers/wait.ts";

let api: WholeApi;
let ann: { readonly id: `cus_${string}`; readonly key: string };
let bob: { readonly id: `cus_${string}`; readonly key: string };
let annsThings: Things;
let bobsThings: Things;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  ann = await api.newCustomer("Ann");
  bob = await api.newCustomer("Bob");
  annsThings = await makeThings(api, ann.id);
  bobsThings = await makeThings(api, bob.id);
});
afterAll(() => api[Symbol.asyncDispose]());

const post = (path: string, body: unknown, headers: Record<string, string> = {}) => api.call("POST", path, { key: ann.key, body, headers });
const get = (path: string, key = ann.key) => api.call("GET", path, { key });

/** A refusal that a person can act on. */
function expectRefusal(answer: Answer, ...statuses: number[]) {
  expect(statuses.length > 0 ? statuses : [400], JSON.stringify(answer.body)).toContain(answer.status);
  expect(answer.headers.get("Content-Type")).toContain("application/problem+json");
  for (const member of ["type", "title", "detail", "code", "cause", "fix", "instance"]) expect(answer.body[member], member).toMatch(/.+/);
}

let count = 0;
const newName = () => {
  count += 1;
  return `hostile-${count}`;
};
const memoryMailbox = (more: object = {}) => ({ provider: "memory", email: "hostile@example.com", mailbox: newName(), ...more });

describe("a body", () => {
  const deep = (open: string, close: string, levels: number) => open.repeat(levels) + close.repeat(levels);
  test.each([
    ["truncated", '{"email": "ann@example.com"'],
    ["empty braces too many", "{}}"],
    ["a bare word", "hello"],
    ["nested a hundred thousand deep in arrays", deep("[", "]", 100_000)],
    ["nested a hundred thousand deep in objects", `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`],
    ["nested in a member that takes anything", `{"email":"a@b.c","password":"x","imap":${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}}`],
    ["NaN", "NaN"],
    ["null", "null"],
    ["an array", "[]"],
    ["a number", "1e400"],
    ["a string", '"x"'],
    ["a prototype", '{"__proto__":{"email":"a@b.c"},"constructor":1}'],
    ["NUL in a name", '{"a\\u0000b":1}'],
    ["half a surrogate pair", '{"email":"a\\ud800@b.c"}'],
    ["a byte order mark alone", "\ufeff"],
  ])("that is %s is refused with a reason", async (_what, body) => {
    for (const path of ["/v1/mailboxes", "/v1/mailboxes/test", "/v1/webhook-endpoints", "/v1/access-keys", "/v1/autodetect"]) {
      expectRefusal(await post(path, body), 400);
      expectRefusal(await post(path, body, { "Idempotency-Key": `body-${newName()}` }), 400);
    }
    // Nothing but a mark is no body, and a change of nothing is one.
    if (body !== "\ufeff") expectRefusal(await api.call("PATCH", `/v1/mailboxes/${annsThings.mailboxes}`, { key: ann.key, body }), 400);
  });

  test.each([
    ["text", { "Content-Type": "text/plain" }, 415],
    ["a form", { "Content-Type": "application/x-www-form-urlencoded" }, 415],
    ["JSON in an unknown character set", { "Content-Type": "application/json; charset=klingon" }, 415],
    ["JSON compressed by who knows what", { "Content-Encoding": "rot13" }, 415],
    ["JSON that says it is gzip and is not", { "Content-Encoding": "gzip" }, 400],
    ["JSON that says it is brotli and is not", { "Content-Encoding": "br" }, 400],
    ["JSON that says it is deflate and is not", { "Content-Encoding": "deflate" }, 400],
  ])("of %s is refused with a reason", async (_what, headers, status) => {
    expectRefusal(await post("/v1/access-keys", '{"name":"x"}', headers as unknown as Record<string, string>), status);
  });

  test("that unpacks to a gigabyte is refused", async () => {
    const response = await fetch(`${api.url}/v1/access-keys`, {
      method: "POST",
      headers: { Authorization: `Bearer ${ann.key}`, "Content-Type": "application/json", "Content-Encoding": "gzip" },
      body: gzipSync(Buffer.alloc(50_000_000, " ")),
    });
    expect(response.status).toBe(413);
  });

  test("in UTF-16 is read or refused, never a fault of ours", async () => {
    const response = await fetch(`${api.url}/v1/access-keys`, {
      method: "POST",
      headers: { Authorization: `Bearer ${ann.key}`, "Content-Type": "application/json; charset=utf-16" },
      body: Buffer.from('{"name":"x"}', "utf16le"),
    });
    expect([201, 400, 415]).toContain(response.status);
  });
});

describe("a value", () => {
  const long = "x".repeat(100_000);
  const nul = "a\u0000b";
  test.each([
    ["externalId", { externalId: nul }],
    ["externalId", { externalId: long }],
    ["externalId", { externalId: "   " }],
    ["displayName", { displayName: nul }],
    ["email", { email: `a${nul}@example.com` }],
    ["email", { email: `${long}@example.com` }],
    ["email", { email: "a@b@c" }],
    ["email", { email: "a@b\r\nBcc: x@y.z" }],
    ["email", { email: { address: "a@b.c" } }],
    ["email", { email: ["a@b.c"] }],
    ["aliases", { aliases: [nul] }],
    ["aliases", { aliases: Array(5_000).fill("a@b.c") }],
    ["aliases", { aliases: "a@b.c" }],
    ["ownDomains", { ownDomains: ["x@y"] }],
    ["sync", { sync: { notifyFrom: "yesterday" } }],
    ["sync", { sync: { notifyFrom: "+275760-09-13T00:00:00.001Z" } }],
    ["sync", { sync: { pollFloorSeconds: -1 } }],
    ["sync", { sync: { pollFloorSeconds: 1e308 } }],
    ["sync", { sync: { includePaths: [nul] } }],
    ["sync", { sync: { roleOverrides: { [nul]: "inbox" } } }],
  ])("for %s that cannot be is named (%#)", async (member, more) => {
    const answer = await post("/v1/mailboxes", memoryMailbox(more));
    expectRefusal(answer);
    expect(answer.body.errors.map((fault: { pointer: string }) => fault.pointer).join()).toContain(`#/${member}`);
    expect(JSON.stringify(answer.body).length).toBeLessThan(5_000);
  });

  test("in any script is kept as it was sent", async () => {
    const externalId = "Ünïcødé-日本語-🦆-\u202eabc";
    const answer = await post(
      "/v1/mailboxes",
      memoryMailbox({ externalId, displayName: "Ann\u00a0🦆", sync: { roleOverrides: { __proto__x: "sent" } } }),
    );
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    const listed = await get(`/v1/mailboxes?externalId=${encodeURIComponent(externalId)}`);
    expect(listed.body.data.map((mailbox: { id: string }) => mailbox.id)).toEqual([answer.body.id]);
  });

  test.each(["imap", "smtp"])("of %s settings that cannot be is named", async (side) => {
    const good = { host: "mail.example.com" };
    for (const server of [
      { ...good, port: 0 },
      { ...good, port: 65_536 },
      { ...good, port: "993" },
      { ...good, port: 1.5 },
      { host: "" },
      { host: "http://mail.example.com" },
      { host: "mail example com" },
      { host: "mail.example.com/../x" },
      { host: `${"a".repeat(64)}.`.repeat(5) },
      { host: "mail.example.com\r\nA1 LOGIN" },
      { ...good, security: "none" },
      { ...good, security: "ssl" },
      { ...good, caCertificate: "not a certificate" },
      { ...good, username: "" },
      { ...good, username: "ann\r\nA1 LOGOUT" },
      { ...good, username: "ann\u001b[2J" },
      { ...good, surprise: true },
      "mail.example.com",
      [],
    ]) {
      const answer = await post("/v1/mailboxes", { email: "ann@example.com", password: "pw", imap: good, [side]: server });
      expectRefusal(answer);
      expect(answer.body.detail, JSON.stringify(server)).toContain(`#/${side}`);
    }
    const password = await post("/v1/mailboxes", { email: "ann@example.com", password: "pw\r\nA1 LOGOUT", imap: good });
    expectRefusal(password);
    expect(password.body.detail).toContain("#/password");
  });
});

describe("a page", () => {
  const listings = ["/v1/mailboxes", "/v1/access-keys", "/v1/webhook-endpoints", "/v1/audit-log", "/v1/messages"];
  test.each(listings)("of %s has a limit within bounds and a cursor of its own", async (path) => {
    for (const limit of ["0", "-1", "201", "1.5", "NaN", "1e9", "0x10", "ten", "", "%00", "99999999999999999999"]) {
      const answer = await get(`${path}?limit=${limit}`);
      expectRefusal(answer);
    }
    const forged = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const id = annsThings.mailboxes;
    const name = path.slice("/v1/".length);
    for (const cursor of [
      "x",
      "%00",
      "'; drop table mailboxes; --",
      forged(null),
      forged({}),
      forged([name]),
      forged([name, "2026-13-45 99:99:99+00", id]),
      forged([name, "999999-01-01 00:00:00+00", id]),
      forged([name, "0000-01-01 00:00:00+00", id]),
      forged([name, "2026-02-30 00:00:00+00", id]),
      forged([name, "2026-01-01 00:00:00+99", id]),
      forged([name, "2026-01-01 00:00:00+00:99", id]),
      forged([name, "infinity", id]),
      forged(["others", "2026-01-01 00:00:00+00", id]),
      forged([name, "2026-01-01 00:00:00+00", `mbx_\u0000`]),
      forged([name, "2026-01-01 00:00:00+00", "mbx_' or 1=1"]),
      "a".repeat(501),
    ]) {
      const answer = await get(`${path}?cursor=${encodeURIComponent(cursor)}`);
      expectRefusal(answer);
    }
    expectRefusal(await get(`${path}?limit=1&limit=2`));
    expectRefusal(await get(`${path}?surprise=1`));
    expectRefusal(await get(`${path}?limit[$gt]=1`));
  });

  test("of one customer gives nothing to another, by whatever cursor", async () => {
    await makeThings(api, bob.id);
    const first = await get("/v1/mailboxes?limit=1", bob.key);
    const stolen = await get(`/v1/mailboxes?cursor=${first.body.nextCursor}`);
    expect(stolen.status).toBe(200);
    for (const mailbox of stolen.body.data) expect(mailbox.customerId).toBe(ann.id);
  });

  test("of the stream refuses what is no cursor of it", async () => {
    for (const after of ["x", "-1", "%00", "9".repeat(99), "1-2-3", "99999999999999999999-1", "1.99999999999999999999", "a".repeat(101)]) {
      const answer = await get(`/v1/events?after=${after}`);
      expect([200, 400], `${after}: ${JSON.stringify(answer.body)}`).toContain(answer.status);
    }
    for (const types of ["x", "message.created,", ",", "%00", "message.created&types=x"]) expectRefusal(await get(`/v1/events?types=${types}`));
  });
});

describe("a path", () => {
  test.each(["%00", "%ff", "%", "..%2f..%2fetc%2fpasswd", "mbx_", "mbx_%00aaaaaaaaaa", `mbx_${"1".repeat(5_000)}`, "mbx_1%27%20or%201=1", "null"])(
    "with the id %s finds nothing",
    async (id) => {
      for (const kind of ["mailboxes", "messages", "webhook-endpoints", "events"]) {
        const answer = await get(`/v1/${kind}/${id}`);
        expectRefusal(answer, 400, 404);
      }
    },
  );

  test("is told from another by case, and takes no method it does not know", async () => {
    expectRefusal(await get("/V1/mailboxes"), 404);
    expectRefusal(await api.call("PUT", "/v1/mailboxes", { key: ann.key, body: {} }), 405);
    expectRefusal(await api.call("DELETE", "/v1/mailboxes", { key: ann.key }), 405);
    expectRefusal(await get("/v1/../../etc/passwd"), 404);
    expectRefusal(await get("/docs/..%2f..%2fpackage.json"), 404);
    expectRefusal(await get("/docs/%2e%2e/%2e%2e/package.json"), 404);
  });
});

describe("another's things", () => {
  test("cannot be named anywhere in a request", async () => {
    expectRefusal(await post("/v1/access-keys", { name: "x", mailboxId: bobsThings.mailboxes }), 404);
    expectRefusal(await post("/v1/webhook-endpoints", { url: "https://example.com/x", mailboxIds: [bobsThings.mailboxes] }), 400);
    expectRefusal(
      await api.call("PATCH", `/v1/webhook-endpoints/${annsThings["webhook-endpoints"]}`, {
        key: ann.key,
        body: { mailboxIds: [bobsThings.mailboxes] },
      }),
      400,
    );
    expectRefusal(await post(`/v1/webhook-endpoints/${annsThings["webhook-endpoints"]}/replay`, { eventId: bobsThings.events }), 404);
    const messages = await get(`/v1/messages?mailboxId=${bobsThings.mailboxes}`);
    expect([messages.status, messages.body.data ?? []]).toEqual([messages.status, []]);
    expect((await get(`/v1/events?mailboxId=${bobsThings.mailboxes}`)).body.data).toEqual([]);
  });

  test("Everpost-Customer gives nothing to a customer's key, and no detail away", async () => {
    const as = (customer: string, key = ann.key) => api.call("GET", "/v1/mailboxes", { key, headers: { "Everpost-Customer": customer } });
    expectRefusal(await as(bob.id), 404);
    expectRefusal(await as("cus_1111111111111111111111"), 404);
    expect((await as(bob.id)).body.detail).toBe((await as("cus_1111111111111111111111")).body.detail);
    for (const rubbish of ["x", "cus_", `${ann.id}, ${bob.id}`, "cus_' or 1=1 --", "null"]) expectRefusal(await as(rubbish), 400, 404);
    for (const rubbish of ["x", "cus_", "null"]) expectRefusal(await as(rubbish, api.adminKey), 400);
  });

  test("a key bound to a mailbox reaches that one, lists nothing else, and makes no keys", async () => {
    const other = await makeThings(api, ann.id);
    const key = await api.newKey({ customerId: ann.id, mailboxId: other.mailboxes });
    expect((await get("/v1/mailboxes", key)).body.data.map((row: { id: string }) => row.id)).toEqual([other.mailboxes]);
    expect((await get(`/v1/messages?mailboxId=${annsThings.mailboxes}`, key)).body.data ?? []).toEqual([]);
    expectRefusal(await get(`/v1/mailboxes/${annsThings.mailboxes}`, key), 404);
    for (const path of ["/v1/access-keys", "/v1/webhook-endpoints"]) expectRefusal(await get(path, key), 403);
    expectRefusal(await api.call("POST", "/v1/access-keys", { key, body: { name: "x" } }), 403);
    expectRefusal(await api.call("POST", "/v1/mailboxes", { key, body: memoryMailbox() }), 403);
  });

  test("a key cannot make one that may more, or lives for ever where it does not", async () => {
    const weak = await api.newKey({ customerId: ann.id, scopes: ["keys:write", "mailboxes:read"] });
    expectRefusal(await api.call("POST", "/v1/access-keys", { key: weak, body: { name: "x", scopes: [...keyScopes] } }), 403);
    const child = await api.call("POST", "/v1/access-keys", { key: weak, body: { name: "x" } });
    expect(child.body.scopes.toSorted()).toEqual(["keys:write", "mailboxes:read"]);
    const brief = await api.newKey({ customerId: ann.id, expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    const heir = await api.call("POST", "/v1/access-keys", { key: brief, body: { name: "x" } });
    expect(Date.parse(heir.body.expiresAt)).toBeLessThanOrEqual(Date.now() + 3_600_000);
    expectRefusal(await api.call("POST", "/v1/access-keys", { key: brief, body: { name: "x", expiresAt: "2999-01-01T00:00:00Z" } }), 400);
    const within = await api.call("POST", "/v1/access-keys", {
      key: brief,
      body: { name: "x", expiresAt: new Date(Date.now() + 60_000).toISOString() },
    });
    expect(within.status).toBe(201);
  });

  test("a revoked key ends at once, also on the stream that it holds open", async () => {
    const { body } = await post("/v1/access-keys", { name: "short" });
    expect((await get("/v1/mailboxes", body.key)).status).toBe(200);
    expect((await api.call("DELETE", `/v1/access-keys/${body.id}`, { key: ann.key })).status).toBe(200);
    expectRefusal(await get("/v1/mailboxes", body.key), 401);
    expectRefusal(await get("/v1/events/stream", body.key), 401);
  });
});

describe("Idempotency-Key", () => {
  test("a hundred at once with one key make one mailbox", async () => {
    const body = memoryMailbox({ externalId: "flood-1" });
    const answers = await Promise.all(Array.from({ length: 100 }, () => post("/v1/mailboxes", body, { "Idempotency-Key": "flood" })));
    for (const { status } of answers) expect([201, 409]).toContain(status);
    const made = answers.filter(({ status }) => status === 201);
    expect(made.length).toBeGreaterThan(0);
    expect(new Set(made.map((answer) => answer.body.id)).size).toBe(1);
  });

  test("fifty at once with one externalId and no key make one mailbox", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => post("/v1/mailboxes", memoryMailbox({ externalId: "race-1" }))));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status !== 201)) expectRefusal(answer, 409);
    expect((await get("/v1/mailboxes?externalId=race-1")).body.data).toHaveLength(1);
  });

  test.each(["", "ü", "a b", "x".repeat(256)])("%j is refused", async (value) => {
    const answer = await post("/v1/access-keys", { name: "x" }, { "Idempotency-Key": value }).catch(() => undefined);
    if (answer !== undefined) expectRefusal(answer);
  });

  test("of one customer is not another's, and not another path's", async () => {
    const headers = { "Idempotency-Key": "shared" };
    const first = await post("/v1/access-keys", { name: "x" }, headers);
    expect(first.status).toBe(201);
    const others = await api.call("POST", "/v1/access-keys", { key: bob.key, body: { name: "x" }, headers });
    expect(others.status).toBe(201);
    expect(others.body.id).not.toBe(first.body.id);
    expectRefusal(await post("/v1/autodetect", { email: "a@example.com" }, headers), 422);
  });

  test("a key that may less does not get the answer that one which may more was given", async () => {
    const headers = { "Idempotency-Key": "powerful" };
    const first = await post("/v1/access-keys", { name: "x" }, headers);
    expect(first.body.key).toMatch(/^evp_/);
    const weak = await api.newKey({ customerId: ann.id, scopes: ["keys:write"] });
    const again = await api.call("POST", "/v1/access-keys", { key: weak, body: { name: "x" }, headers });
    expect(JSON.stringify(again.body)).not.toContain(first.body.key);
  });
});

describe("a target inside our network", () => {
  let annsImap: string;
  beforeAll(async () => {
    const body = { email: "inside@example.com", password: "x", imap: { host: "imap.nowhere.invalid" } };
    annsImap = (await post("/v1/mailboxes", body)).body.id;
  });

  const spellings = [
    "127.0.0.2.nip.invalid@10.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[::]",
    "[::1]",
    "0.0.0.0",
    "0",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "１０.0.0.1",
    "10。0。0。1",
  ];
  test.each(spellings)("is refused for webhooks as %s", async (host) => {
    for (const scheme of ["http", "https"]) {
      const answer = await post("/v1/webhook-endpoints", { url: `${scheme}://${host}/latest/meta-data/` });
      expectRefusal(answer, 400, 422);
      expect(answer.body.errors[0].pointer).toBe("#/url");
      expectRefusal(
        await api.call("PATCH", `/v1/webhook-endpoints/${annsThings["webhook-endpoints"]}`, { key: ann.key, body: { url: `${scheme}://${host}/` } }),
        400,
        422,
      );
    }
  });

  test.each([
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "https://",
    "//example.com",
    "https://user:pw@example.com/",
    "https://exa mple.com/",
    "https://example.com/#x",
    `https://example.com/${"x".repeat(2_000)}`,
    "https://example.com:99999/",
  ])("and what is no address of a webhook: %s", async (url) => {
    expectRefusal(await post("/v1/webhook-endpoints", { url }), 400);
  });

  test.each([
    "10.0.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "::ffff:169.254.169.254",
    "fd00:ec2::254",
    "0.0.0.0",
    "0",
    "::",
    "[::1]",
  ])("is refused for mail as %s", async (host) => {
    for (const side of ["imap", "smtp", "proxy"]) {
      const server = side === "proxy" ? { type: "socks5", host, port: 1080 } : { host };
      const wanted = { email: "a@example.com", password: "x", imap: { host: "imap.nowhere.invalid" }, [side]: server };
      for (const refused of [
        await post("/v1/mailboxes", wanted),
        await api.call("PATCH", `/v1/mailboxes/${annsImap}`, { key: ann.key, body: { password: "x", [side]: server } }),
      ]) {
        expectRefusal(refused, 400, 422);
        expect(refused.body.errors[0].pointer).toBe(`#/${side}/host`);
        expect(JSON.stringify(refused.body)).not.toMatch(/ECONN|ETIMEDOUT/);
      }
    }
    const answer = await post("/v1/mailboxes/test", { email: "a@example.com", password: "x", imap: { host }, smtp: { host } });
    if (answer.status === 400) return expectRefusal(answer, 400);
    expect(answer.status).toBe(200);
    for (const side of [answer.body.receiving, answer.body.sending])
      expect(side).toMatchObject({ ok: false, problem: { code: "private_address_refused" } });
  });
});

describe("a flood", () => {
  test("a thousand requests at once are all answered, and none as our fault", async () => {
    const paths = ["/v1/mailboxes", "/v1/messages", "/v1/events", "/v1/whoami", "/v1/nothing", "/healthz", "/v1/mailboxes?limit=x"];
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, n) => get(paths[n % paths.length] ?? "/")));
    const statuses = new Set(answers.map(({ status }) => status));
    expect([...statuses].toSorted()).toEqual([200, 400, 404]);
  }, 60_000);

  test("of headers is refused without an end of the process", async () => {
    const socket = tcpConnect(Number(new URL(api.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n");
    socket.write(`X-Flood: ${"x".repeat(100_000)}\r\n\r\n`);
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    await new Promise((resolve) => socket.on("close", resolve));
    expect(Buffer.concat(chunks).toString()).toMatch(/^(HTTP\/1\.1 431|$)/);
    expect((await get("/healthz")).status).toBe(200);
  });

  test("of streams is bounded for each key, and a place is free again when one ends", async () => {
    const open: AbortController[] = [];
    const stream = async () => {
      const controller = new AbortController();
      const response = await fetch(`${api.url}/v1/events/stream`, { headers: { Authorization: `Bearer ${bob.key}` }, signal: controller.signal });
      if (response.status === 200) open.push(controller);
      else await response.body?.cancel();
      return response.status;
    };
    const statuses: number[] = [];
    for (let n = 0; n < 60 && statuses.at(-1) !== 429; n++) statuses.push(await stream());
    expect(statuses.at(-1)).toBe(429);
    open.shift()?.abort();
    await until(async () => (await stream()) === 200, "a place for a stream");
    for (const controller of open) controller.abort();
  });

  test("a body that never ends holds up nobody else", async () => {
    const sockets = Array.from({ length: 50 }, () => {
      const socket = tcpConnect(Number(new URL(api.url).port), "127.0.0.1");
      socket.on("error", () => {});
      socket.write(
        `POST /v1/access-keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ann.key}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
      );
      return socket;
    });
    const started = performance.now();
    expect((await get("/v1/mailboxes")).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(5_000);
    for (const socket of sockets) socket.destroy();
  });

  test("leaves no fault of ours in the log", () => {
    const faults = api.logLines.map((line) => JSON.parse(line)).filter((line) => line.level >= 50);
    expect(faults.map((line) => `${line.err?.message} ${line.err?.stack?.split("\n")[1]}`)).toEqual([]);
  });
});

describe("a key that may change a mailbox", () => {
  test("cannot have the stored password sent to a host of its choosing", async () => {
    const connected = await post("/v1/mailboxes", { email: "ann@example.com", password: "stored-secret", imap: { host: "imap.nowhere.invalid" } });
    expect(connected.status).toBe(201);
    const key = await api.newKey({ customerId: ann.id, mailboxId: connected.body.id });
    for (const change of [{ imap: { host: "127.0.0.1" } }, { smtp: { host: "127.0.0.1" } }, { preset: "fastmail" }]) {
      const answer = await api.call("PATCH", `/v1/mailboxes/${connected.body.id}`, { key, body: change });
      expectRefusal(answer, 400);
      expect(answer.body.detail).toContain("password");
    }
  });
});
