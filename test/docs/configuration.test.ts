import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { environment } from "../../config.ts";
import { environment as startEnvironment } from "../../embedded/settings.ts";
import { listSources, root } from "../architecture/import-graph.ts";
import { offStage } from "../architecture/rooms.ts";
import { rowsOf, sectionOf } from "./markdown.ts";

const page = readFileSync(join(root, "docs/configuration.md"), "utf8");

/** Read by `npm start` where it looks for a Temporal server, outside of its schema. */
const furtherStartSettings = ["EVERPOST_TEMPORAL_CLI", "EVERPOST_TEMPORAL_DOWNLOAD_URL", "XDG_CACHE_HOME"];

describe.each([
  { title: "`npm start` only", schema: startEnvironment, further: furtherStartSettings },
  { title: "API and workers", schema: environment, further: [] },
])("the table of $title", ({ title, schema, further }) => {
  const rows = rowsOf(sectionOf(page, title));
  const properties = z.toJSONSchema(schema, { io: "input" }).properties as Record<string, { readonly minimum?: number; readonly maximum?: number }>;

  test("names every setting once, and no other", () => {
    const named = rows.map(([name = ""]) => name.replaceAll("`", ""));
    expect(named.toSorted()).toEqual([...Object.keys(properties), ...further].toSorted());
  });

  test.each(Object.keys(properties))("gives the default of %s", (name) => {
    const shown = rows.find(([cell]) => cell === `\`${name}\``)?.[1];
    expect(shown).toBe(defaultOf(schema.shape[name as keyof typeof schema.shape], properties[name]));
  });

  test.each(Object.entries(properties).filter(([name, { minimum }]) => minimum !== undefined && !name.endsWith("_PORT")))(
    "gives the bounds of %s",
    (name, { minimum, maximum }) => {
      expect(rows.find(([cell]) => cell === `\`${name}\``)?.[2]).toContain(`${minimum} to ${maximum}`);
    },
  );
});

/** A mark that start.js leaves for itself. */
const internal = ["EVERPOST_NODE"];

test("every setting that the sources name is on the page", () => {
  const sources = listSources().filter((file) => !offStage.test(file));
  const named = sources.flatMap((file) => readFileSync(join(root, file), "utf8").match(/\bEVERPOST_[A-Z]+(_[A-Z]+)*\b/g) ?? []);
  expect([...new Set(named)].filter((name) => !internal.includes(name) && !page.includes(`\`${name}\``))).toEqual([]);
});

function defaultOf(schema: z.ZodType, property: object | undefined): string {
  const parsed = schema.safeParse(undefined);
  if (!parsed.success) return "needed";
  const value: unknown = property !== undefined && "default" in property ? property.default : parsed.data;
  return value === undefined || value === "" ? "" : `\`${String(value)}\``;
}
