import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { routes } from "../../api/routes/index.ts";
import { root } from "../architecture/import-graph.ts";

const pages = ["", "docs", "docs/adr"].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name)),
);
const scripts = Object.keys((JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly scripts: object }).scripts);

describe.each(pages)("%s", (page) => {
  const text = readFileSync(join(root, page), "utf8");

  test("links to files that are there", () => {
    const targets = [...text.matchAll(/\]\((?!https?:)([^)#\s]+)/g)].map(([, target = ""]) => target);
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });

  test("names scripts and programs that are there", () => {
    const named = [...text.matchAll(/npm run (?:-s )?([a-z][a-z:-]*)/g)].map(([, script = ""]) => script);
    expect(named.filter((script) => !scripts.includes(script))).toEqual([]);
    const programs = [...text.matchAll(/\bnode ([a-z][\w/-]+\.(?:ts|mjs))/g)].map(([, program = ""]) => program);
    expect(programs.filter((program) => !existsSync(join(root, program)))).toEqual([]);
  });

  test("names requests that the API takes", () => {
    const named = [...text.matchAll(/\b(GET|POST|PATCH|DELETE) (\/[\w/{}-]+)/g)].map(([, method = "", path = ""]) => `${method} ${path}`);
    const known = new Set([...routes.map(({ method, path }) => `${method.toUpperCase()} ${path}`), "GET /openapi.json", "GET /docs"]);
    expect(named.filter((request) => !known.has(request))).toEqual([]);
  });
});
