import { existsSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { removeOld } from "../../workers/bundle.ts";

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "everpost-bundles-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function aFile(name: string, ageHours: number): string {
  const path = join(dir, name);
  writeFileSync(path, "");
  const at = Date.now() / 1_000 - ageHours * 3_600;
  utimesSync(path, at, at);
  return path;
}

describe("bundles of earlier sources", () => {
  it("are removed after a day, with what was left half written, and nothing else is", async () => {
    const old = [aFile("workflow-bundle-0123456789abcdef.js", 25), aFile("workflow-bundle-0123456789abcdef.js.4711", 25)];
    const kept = [aFile("workflow-bundle-fedcba9876543210.js", 23), aFile("workflow-bundle.js", 1_000), aFile("other.js", 1_000)];
    await removeOld(dir);
    expect(old.filter(existsSync)).toEqual([]);
    expect(kept.filter(existsSync)).toEqual(kept);
  });
});
