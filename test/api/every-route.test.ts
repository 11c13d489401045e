import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Commands } from "../../api/commands.ts";
import type { Route } from "../../api/route.ts";
import { routes } from "../../api/routes/index.ts";
import type { CustomerId } from "../../domain/ids.ts";
import { type Api, startApi } from "./api.ts";
import { bodies, callRoute, isById, isForCustomers, isGuarded, isListing, pathOf } from "./calls.ts";
import { type Collection, makeThings, type Things } from "./things.ts";

let api: Api;
let ann: { readonly id: CustomerId; readonly key: string };
let bob: { readonly id: CustomerId; readonly key: string };
let annsThings: Things;
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
  bobsThings = await makeThings(api, bob.id);
});
afterAll(() => api[Symbol.asyncDispose]());

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

const guarded = routes.filter(isGuarded);
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

  test.each(named(guarded.filter(isForCustomers).filter((route) => "scope" in route.auth && route.auth.customer !== "optional")))(
    "%s asks an administrator for which customer",
    async (_name, route) => {
      const answer = await callRoute(api, route, api.adminKey, annsThings);
      expect([answer.status, answer.body.code]).toEqual([400, "customer_required"]);
      expect(answer.body.fix).toContain("Everpost-Customer");
    },
  );

  test.each(named(guarded.filter(isListing).filter((route) => filters[route.operationId] !== undefined)))(
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

  test.each(named(guarded.filter(isById)))("%s refuses an id of the wrong kind", async (_name, route) => {
    const answer = await callRoute(api, route, ann.key, annsThings, { change: () => "mbx_!" });
    expect([answer.status, answer.body.code]).toEqual([400, "validation_failed"]);
  });
});
