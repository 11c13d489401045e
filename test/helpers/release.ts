import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../architecture/import-graph.ts";

/** How one file of another release differs: from its path to what becomes of its text. */
export type Changes = Readonly<Record<string, (source: string) => string>>;

/** What no program of ours reads. */
const leftOut = new Set([".ci", ".git", ".everpost", "bench", "build", "coverage", "docs", "node_modules", "profiles", "test"]);

/** Another release: today's sources in a folder of their own, but for these changes. Its programs can run beside ours, its workflows replay what ours did. */
export function makeRelease(dir: string, changes: Changes): void {
  mkdirSync(dir, { recursive: true });
  for (const name of readdirSync(root)) if (!leftOut.has(name)) cpSync(join(root, name), join(dir, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));
  for (const [file, change] of Object.entries(changes)) {
    const path = join(dir, file);
    const before = readFileSync(path, "utf8");
    const after = change(before);
    if (after === before) throw new Error(`the change has to find what it changes in ${file}`);
    writeFileSync(path, after);
  }
}
