import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDocument } from "../../api/openapi.ts";
import type { Route } from "../../api/route.ts";
import { routes } from "../../api/routes/index.ts";
import { startWholeApi, type WholeApi } from "../api/engine.ts";
import { makeThings, type Things } from "../api/things.ts";

let api: WholeApi;
let customer: { readonly id: `cus_${string}`; readonly key: string };
let things: Things;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  customer = await api.newCustomer();
  things = await makeThings(api, customer.id);
});
afterAll(() => api[Symbol.asyncDispose]());

interface Operation {
  readonly responses: Readonly<Record<string, unknown>>;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: unknown;
}

const document = createDocument(routes);
const operationOf = (route: Route) => (document.paths as Record<string, Record<string, Operation>>)[route.path]?.[route.method];

/** Every name of a member anywhere in the document: what a schema knows is where its mistakes are. */
const names = [...new Set([...JSON.stringify(document.components).matchAll(/"([a-z]\w+)":\{/gi)].map(([, name]) => String(name)))];

const oddTexts = ["", " ", "\u0000", "\ud800", "null", "../..", "%00", "'", "ann@example.com", "imap", "memory", "127.0.0.1", "2026-01-01T00:00:00Z"];
const oddText = fc.oneof(fc.constantFrom(...oddTexts), fc.string({ maxLength: 20 }), fc.string({ unit: "binary", maxLength: 10 }), fc.emailAddress());
const oddValue = fc.oneof(
  oddText,
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constantFrom(null, {}, [], -1, 0, 1e308, 2 ** 53, "x".repeat(3_000)),
  fc.constantFrom("imap", "smtp", "sync").map((name) => ({ [name]: { host: "mail.nowhere.invalid" } })),
);
const oddObject = fc.dictionary(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: oddText }), oddValue, {
  maxKeys: 6,
});

interface Shot {
  readonly id: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string>>;
}

function shotsAt(route: Route): fc.Arbitrary<Shot> {
  const known = (operationOf(route)?.parameters ?? []).filter((parameter) => parameter.in === "query").map(({ name }) => name);
  const example = typeof route.example === "object" ? route.example : {};
  const text = oddText.filter((value) => value.isWellFormed());
  return fc.record({
    id: fc.oneof(fc.constant(ownId(route)), fc.constantFrom("mbx_1111111111111111111111", "null", "x"), text.map(encodeURIComponent)),
    query: known.length === 0 ? fc.constant({}) : fc.dictionary(fc.constantFrom(...known), text, { maxKeys: 2 }),
    body: fc.oneof(
      oddObject,
      oddObject.map((odd) => ({ ...example, ...odd })),
      fc.constant(example),
      oddValue,
    ),
    headers: fc.oneof(
      { weight: 8, arbitrary: fc.constant({}) },
      fc.constantFrom<Record<string, string>>(
        { "Everpost-Customer": "x" },
        { "Everpost-Customer": "cus_1111111111111111111111" },
        { "Idempotency-Key": "same" },
      ),
    ),
  });
}

function ownId(route: Route): string {
  const [, , kind = ""] = route.path.split("/");
  return (things as Readonly<Record<string, string>> | undefined)?.[kind] ?? "x";
}

/** A test of a connection may wait for the network, a stream does not end, and a revoked key is the end of the test. */
const leftOut = ["testConnection", "testMailbox", "autodetect", "streamEvents", "revokeAccessKey"];
const fuzzed = routes.filter((route) => !leftOut.includes(route.operationId));

test.each(fuzzed.map((route) => [route.operationId, route] as const))(
  "%s answers only what the document says, whatever it is sent",
  async (_name, route) => {
    const documented = Object.keys(operationOf(route)?.responses ?? {});
    await fc.assert(
      fc.asyncProperty(shotsAt(route), async ({ id, query, body, headers }) => {
        const path = `${route.path.replace("{id}", id)}${Object.keys(query).length === 0 ? "" : `?${new URLSearchParams(query)}`}`;
        const answer = await api.call(route.method, path, { key: customer.key, headers, ...(route.method === "get" ? {} : { body }) });
        // An id that is no path segment leads to another route, or to none.
        if (!/^[\w]+$/.test(id) && [404, 405].includes(answer.status)) return;
        expect(documented, `${answer.status}: ${JSON.stringify(answer.body)}`).toContain(String(answer.status));
        expect(answer.status, JSON.stringify(answer.body)).not.toBe(500);
        if (answer.status >= 400) expect(answer.body).toMatchObject({ status: answer.status, code: expect.any(String), fix: expect.any(String) });
      }),
      { numRuns: 30, interruptAfterTimeLimit: 500, markInterruptAsFailure: false },
    );
  },
);
