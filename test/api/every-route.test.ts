import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Commands } from "../../api/commands.ts";
import type { Route } from "../../api/route.ts";
import { routes } from "../../api/routes/index.ts";
import { keyScopes } from "../../domain/access.ts";
import type { CustomerId } from "../../domain/ids.ts";
import { type Api, startApi } from "./api.ts";
import { type Collection, makeThings, type Things } from "./things.ts";

let api: Api;
let ann: { readonly id: CustomerId; readonly key: string };
let bob: { readonly id: CustomerId; readonly key: string };
let annsThings: Things;
let annsOtherThings: Things;
let bobsThings: Things;

beforeAll(async () => {
  // Nothing here may get as far as Temporal: whatever does fails its test with a 500.
  const none = new Proxy({} as Commands, {
    get: (_target, name) => async () => {
      throw new Error(`${String(name)} was reached`);
    },
  });
  api = await startApi({ commands: () => none });
  ann = await api.newCustomer("Ann");
  bob = await api.newCustomer("Bob");
  annsThings = await makeThings(api, ann.id);
  annsOtherThings = await makeThings(api, ann.id);
  bobsThings = await makeThings(api, bob.id);
});
afterAll(() => api[Symbol.asyncDispose]());

/** Bodies that pass the schema, by operation; a POST, PUT or PATCH with a required body must stand here. */
const bodies: Readonly<Record<string, unknown>> = {
  connectMailbox: { provider: "memory", email: "ann@example.com", mailbox: "x" },
  testConnection: { provider: "memory", email: "ann@example.com", mailbox: "x" },
  autodetect: { email: "ann@example.com" },
  actOnMessages: { ids: ["msg_1CbWqaK3zvYyZ9rNbX1pQ4"], action: { type: "setFlags", add: ["seen"] } },
  createFolder: { path: "New" },
  renameFolder: { path: "New" },
  changeMessage: { flags: { add: ["seen"] } },
  createCustomer: { name: "x" },
  createAccessKey: { name: "x" },
  createWebhookEndpoint: { url: "https://example.com/hook" },
  replayWebhookEvents: { eventId: "evt_1CbWqaK3zvYyZ9rNbX1pQ4" },
};

/** Filters that name a thing: another customer's must find nothing. */
const filters: Readonly<Record<string, readonly (readonly [parameter: string, of: Collection])[]>> = {
  listMessages: [
    ["mailboxId", "mailboxes"],
    ["folderId", "folders"],
    ["threadId", "threads"],
  ],
  listThreads: [
    ["mailboxId", "mailboxes"],
    ["folderId", "folders"],
  ],
};

const guarded = routes.filter((route) => !("public" in route.auth));
const forCustomers = guarded.filter((route) => !("role" in route.auth));
/** Listings by an address, which is nobody's thing: one that no mail of the caller's names has an empty page. */
const byAddress = forCustomers.filter((route) => route.path.includes("{address}"));
const byId = forCustomers.filter((route) => route.path.includes("{") && !byAddress.includes(route));
const listings = forCustomers.filter(
  (route) => route.method === "get" && (!route.path.includes("{") || byAddress.includes(route)) && route.contentType === undefined,
);
const named = (list: readonly Route[]): readonly (readonly [string, Route])[] => list.map((route) => [route.operationId, route]);

describe("every operation", () => {
  test("has a name of its own", () => {
    const names = routes.map((route) => route.operationId);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(named(routes.filter((route) => "public" in route.auth)))("%s is public because it tells nothing of a customer", (_name, route) => {
    expect(route.path).not.toContain("{");
    expect(route.method).toBe("get");
    expect(route.path).not.toMatch(/^\/v1\//);
  });

  test.each(named(guarded))("%s refuses a stranger", async (_name, route) => {
    for (const key of [undefined, "evp_nonsense", `evp_${"1".repeat(50)}`]) {
      const answer = await call(route, key, annsThings);
      expect([answer.status, answer.body.code]).toEqual([401, "unauthorized"]);
      expect(answer.headers.get("WWW-Authenticate")).toMatch(/^Bearer/);
    }
  });

  test.each(named(guarded))("%s refuses a key that is expired or revoked", async (_name, route) => {
    const expired = await api.newKey({ customerId: ann.id, expiresAt: new Date(Date.now() - 1000).toISOString() });
    expect((await call(route, expired, annsThings)).status).toBe(401);
    const revoked = await api.newKey({ customerId: ann.id, name: "revoked" });
    await api.db
      .updateTable("access_keys")
      .set({ revoked_at: new Date() })
      .where("prefix", "=", revoked.slice(0, 10))
      .where("name", "=", "revoked")
      .execute();
    expect((await call(route, revoked, annsThings)).status).toBe(401);
  });

  test.each(named(guarded.filter((route) => "role" in route.auth)))("%s refuses customers", async (_name, route) => {
    const answer = await call(route, ann.key, annsThings);
    expect([answer.status, answer.body.code]).toEqual([403, "administrator_only"]);
  });

  test.each(named(forCustomers.filter((route) => "scope" in route.auth && route.auth.scope !== null)))(
    "%s refuses a key with every scope but its own",
    async (_name, route) => {
      const wanted = "scope" in route.auth ? route.auth.scope : null;
      const key = await api.newKey({ customerId: ann.id, scopes: keyScopes.filter((scope) => scope !== wanted) });
      const answer = await call(route, key, annsThings);
      expect([answer.status, answer.body.code]).toEqual([403, "forbidden_scope"]);
      expect(answer.body.detail).toContain(wanted);
    },
  );

  test.each(named(byId))("%s knows nothing of another customer's things", async (_name, route) => {
    const answer = await call(route, ann.key, bobsThings);
    expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
    const absent = await call(route, ann.key, bobsThings, (id) => `${id.slice(0, -4)}1111`);
    expect({ ...absent.body, instance: "" }).toEqual({ ...answer.body, instance: "" });
  });

  test.each(named(byId))("%s is served to an administrator for the named customer only", async (_name, route) => {
    const headers = { "Everpost-Customer": ann.id };
    expect((await call(route, api.adminKey, bobsThings, undefined, headers)).status).toBe(404);
  });

  test.each(named(forCustomers.filter((route) => "scope" in route.auth && route.auth.customer !== "optional")))(
    "%s asks an administrator for which customer",
    async (_name, route) => {
      const answer = await call(route, api.adminKey, annsThings);
      expect([answer.status, answer.body.code]).toEqual([400, "customer_required"]);
      expect(answer.body.fix).toContain("Everpost-Customer");
    },
  );

  test.each(named(forCustomers))("%s does not let a customer act for another", async (_name, route) => {
    const answer = await call(route, ann.key, bobsThings, undefined, { "Everpost-Customer": bob.id });
    expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
  });

  test.each(named(forCustomers.filter((route) => "scope" in route.auth && route.auth.openToMailboxKeys !== true)))(
    "%s refuses a key that is bound to a mailbox",
    async (_name, route) => {
      const key = await api.newKey({ customerId: ann.id, mailboxId: annsThings.mailboxes });
      const answer = await call(route, key, annsThings);
      expect([answer.status, answer.body.code]).toEqual([403, "mailbox_key_refused"]);
    },
  );

  test.each(named(byId.filter((route) => "scope" in route.auth && route.auth.openToMailboxKeys === true)))(
    "%s keeps a key that is bound to a mailbox from the next one",
    async (_name, route) => {
      const key = await api.newKey({ customerId: ann.id, mailboxId: annsThings.mailboxes });
      expect((await call(route, key, annsOtherThings)).status).toBe(404);
    },
  );

  test.each(named(listings))("%s lists the caller's things and nobody else's", async (_name, route) => {
    const own = await call(route, ann.key, annsThings);
    expect(own.status).toBe(200);
    expect(JSON.stringify(own.body)).not.toMatch(idsOf(bobsThings));
    const bound = await api.newKey({ customerId: ann.id, mailboxId: annsThings.mailboxes });
    if ("scope" in route.auth && route.auth.openToMailboxKeys === true) {
      const narrow = await call(route, bound, annsThings);
      expect(narrow.status).toBe(200);
      expect(JSON.stringify(narrow.body)).not.toMatch(idsOf(annsOtherThings));
    }
  });

  test.each(named(listings.filter((route) => filters[route.operationId] !== undefined)))(
    "%s finds nothing by another's ids",
    async (_name, route) => {
      for (const [parameter, collection] of filters[route.operationId] ?? []) {
        const foreign = await api.call("GET", `${route.path}?${parameter}=${bobsThings[collection]}`, { key: ann.key });
        expect(foreign.body.data).toEqual([]);
        const own = await api.call("GET", `${route.path}?${parameter}=${annsThings[collection]}`, { key: ann.key });
        expect(own.body.data).toHaveLength(1);
      }
    },
  );

  test.each(named(guarded.filter((route) => route.query !== undefined)))("%s names an unknown parameter", async (_name, route) => {
    const key = "role" in route.auth ? api.adminKey : ann.key;
    const answer = await api.call(route.method, `${pathOf(route, annsThings)}?nonsense=1`, { key, body: bodies[route.operationId] });
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toContainEqual({ in: "query", pointer: "#/nonsense", detail: "is not known here" });
  });

  test.each(named(guarded.filter((route) => route.method !== "get" && route.method !== "delete")))(
    "%s names an unknown member",
    async (_name, route) => {
      const key = "role" in route.auth ? api.adminKey : ann.key;
      const body = { ...(bodies[route.operationId] as object), nonsense: 1 };
      const answer = await api.call(route.method, pathOf(route, annsThings), { key, body });
      expect(answer.status).toBe(400);
      expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toEqual(["#/nonsense"]);
    },
  );

  test.each(named(byId))("%s refuses an id of the wrong kind", async (_name, route) => {
    const answer = await call(route, ann.key, annsThings, () => "mbx_!");
    expect([answer.status, answer.body.code]).toEqual([400, "validation_failed"]);
  });
});

/** Calls the operation about these things, with a body that is good enough. */
function call(
  route: Route,
  key: string | undefined,
  things: Things,
  change: (id: string) => string = (id) => id,
  headers: Record<string, string> = {},
) {
  const body = bodies[route.operationId];
  if (body === undefined && route.body !== undefined && !route.body.safeParse({}).success) {
    throw new Error(`give ${route.operationId} a body in ${import.meta.filename}`);
  }
  return api.call(route.method, pathOf(route, things, change), { key, body, headers });
}

function pathOf(route: Route, things: Things, change: (id: string) => string = (id) => id): string {
  return route.path.replaceAll(/([\w-]+)\/\{\w+\}/g, (_match, collection: string) => {
    if (collection === "contacts") return "contacts/bob@example.net";
    const id = collection === "customers" ? "cus_1CbWqaK3zvYyZ9rNbX1pQ4" : things[collection as Collection];
    if (id === undefined) throw new Error(`make one of ${collection} in things.ts for ${route.operationId}`);
    return `${collection}/${change(id)}`;
  });
}

function idsOf(things: Things): RegExp {
  return new RegExp(Object.values(things).join("|"));
}
