import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDocument } from "../../api/openapi.ts";
import { routes } from "../../api/routes/index.ts";
import { type Api, startApi } from "./api.ts";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const document = JSON.parse(JSON.stringify(createDocument(routes)));
const operations = Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean; readonly schema: unknown }[];
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
  readonly security?: readonly unknown[];
}

test("describes every route once", () => {
  expect(document.openapi).toBe("3.1.1");
  const told = operations.map(({ path, method }) => `${method} ${path}`).sort();
  const wanted = routes.filter((route) => route.isHidden !== true).map((route) => `${route.method} ${route.path}`);
  expect(told).toEqual(wanted.sort());
});

test("refers to nothing that it does not hold", () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? "");
  expect(references.length).toBeGreaterThan(50);
  for (const reference of new Set(references)) {
    const found = reference
      .replace(/^#\//, "")
      .split("/")
      .reduce<unknown>((node, step) => (typeof node === "object" && node !== null ? Reflect.get(node, step) : undefined), document);
    expect(found, reference).toBeTypeOf("object");
  }
});

test("names each path parameter as required, and gives each parameter a schema", () => {
  for (const { path, operation } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    const declared = operation.parameters.filter((parameter) => parameter.in === "path");
    expect(declared.map((parameter) => parameter.name)).toEqual(inPath);
    expect(declared.every((parameter) => parameter.required)).toBe(true);
    expect(operation.parameters.every((parameter) => typeof parameter.schema === "object")).toBe(true);
  }
});

test("tells of each operation a success, its problems and who may call it", () => {
  for (const { operation } of operations) {
    const statuses = Object.keys(operation.responses);
    expect(statuses.some((status) => status.startsWith("2"))).toBe(true);
    expect(statuses).toContain("500");
    if (operation.security === undefined) expect(statuses).toEqual(expect.arrayContaining(["401", "429"]));
    expect(operation.summary).not.toMatch(/\.$/);
  }
});

test("is what docs/openapi.json says; run `npm run build` after a change", async () => {
  const committed = await readFile(new URL("../../docs/openapi.json", import.meta.url), "utf8");
  expect(JSON.parse(committed)).toEqual(document);
});

test("is served to everybody", async () => {
  const answer = await api.call("GET", "/openapi.json");
  expect(answer.status).toBe(200);
  expect(answer.body).toEqual(document);
});

test("is browsable at /docs with scripts of ours alone", async () => {
  expect((await api.call("GET", "/docs")).headers.get("Location")).toBe("/docs/");
  const page = await api.call("GET", "/docs/");
  expect(page.status).toBe(200);
  const policy = page.headers.get("Content-Security-Policy") ?? "";
  expect(policy).toContain("script-src 'self'");
  expect(policy).not.toMatch(/script-src[^;]*unsafe/);
  const files = [...String(page.body).matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
  expect(files).toContain("/docs/swagger-ui-bundle.js");
  expect(String(page.body)).not.toMatch(/<script>|onload=/);
  for (const file of files) expect((await api.call("GET", file)).status, file).toBe(200);
});

test("keeps files outside of the viewer to itself", async () => {
  for (const path of ["/docs/../package.json", "/docs/%2e%2e/%2e%2e/package.json", "/docs/..%2f..%2fconfig.ts"]) {
    expect((await api.call("GET", path)).status).toBe(404);
  }
});
