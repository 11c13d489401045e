import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { failureModesDocument } from "../../tools/failure-modes.ts";
import { root } from "../architecture/import-graph.ts";

test("docs/failure-modes.md says what the tests say: run `npm run build` and commit it", () => {
  expect(readFileSync(join(root, "docs/failure-modes.md"), "utf8")).toBe(failureModesDocument().page);
});

test("every failure mode has a test, and every test's row is on the list", () => {
  const { unproved, unknown } = failureModesDocument();
  expect({ unproved, unknown }).toEqual({ unproved: [], unknown: [] });
});
