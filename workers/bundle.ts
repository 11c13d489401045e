import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { bundleWorkflowCode } from "@temporalio/worker";

const root = resolve(import.meta.dirname, "..");
const builtPath = join(root, "build", "workflow-bundle.js");
/** How long a bundle of other sources stays. */
const keptMs = 24 * 60 * 60_000;

/**
 * The workflows' code as one file, which every worker of a release runs. Its modules are loaded once for all workflows instead of once for each: they
 * hold nothing that changes (a test sees to it), and were two fifths of what a waiting workflow takes.
 */
export async function buildBundle(): Promise<string> {
  const workflowsPath = join(root, "workflows", "index.ts");
  const { code } = await bundleWorkflowCode({ workflowsPath, preloadModules: [workflowsPath], logger: silent });
  return code;
}

/**
 * The bundle that `npm run build` made, for images. Elsewhere the one of today's sources, made if it is not there: by a process of its own, because
 * bundling takes 300 MB and seconds, which a worker would keep from then on and lose at each of its starts.
 */
export async function loadBundle(): Promise<{ readonly codePath: string }> {
  if (process.env.NODE_ENV === "production" && existsSync(builtPath)) return { codePath: builtPath };
  const path = join(root, "build", `workflow-bundle-${await fingerprint()}.js`);
  if (!existsSync(path)) {
    await promisify(execFile)(process.execPath, [import.meta.filename, path], { cwd: root });
    await removeOld(dirname(path));
  }
  return { codePath: path };
}

/** Bundles of sources as they were days ago, which nobody starts with any more. Those of today may be another worker's, about to be read. */
export async function removeOld(dir: string): Promise<void> {
  const oldest = Date.now() - keptMs;
  for (const name of globSync("workflow-bundle-*", { cwd: dir })) {
    const path = join(dir, name);
    const modifiedAt = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => Number.POSITIVE_INFINITY,
    );
    if (modifiedAt < oldest) await rm(path, { force: true });
  }
}

/** Changes with everything that can be in a bundle: what workflows may import (ARCHITECTURE.md), the packages, and how it is made. */
async function fingerprint(): Promise<string> {
  const files = [...globSync("{workflows,domain}/**/*.ts", { cwd: root }).sort(), "package-lock.json", "workers/bundle.ts"];
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\0`).update(await readFile(join(root, file)));
  return hash.digest("hex").slice(0, 16);
}

/** Never seen half written: workers that start at once may all make it. */
async function write(path: string, code: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  await writeFile(unfinished, code);
  await rename(unfinished, path);
}

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const path = process.argv[2] ?? builtPath;
  const code = await buildBundle();
  await write(path, code);
  console.log(`Wrote build/${basename(path)} (${Math.round(code.length / 1024)} kB).`);
}
