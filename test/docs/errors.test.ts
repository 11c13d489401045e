import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { apiProblems } from "../../api/errors.ts";
import { errorsDocument } from "../../api/errors-document.ts";
import { catalogue } from "../../domain/errors.ts";
import { root } from "../architecture/import-graph.ts";

const page = readFileSync(join(root, "docs/errors.md"), "utf8");

test("docs/errors.md says what the catalogues say: run `npm run build` and commit it", () => {
  expect(page).toBe(errorsDocument());
});

test.each([...Object.keys(catalogue), ...Object.keys(apiProblems)])("docs/errors.md explains %s", (code) => {
  expect(page).toContain(`\`${code}\``);
});
