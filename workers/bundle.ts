import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { bundleWorkflowCode, type WorkflowBundleOption } from "@temporalio/worker";

const root = resolve(import.meta.dirname, "..");
const workflowsPath = join(root, "workflows", "index.ts");
const builtPath = join(root, "build", "workflow-bundle.js");

/** The workflows' code as one file, which every worker of a release runs. */
export async function buildBundle(): Promise<string> {
  const { code } = await bundleWorkflowCode({ workflowsPath, logger: silent });
  return code;
}

/** The bundle that `npm run build` made, for images; otherwise it is made now, which takes a second. */
export async function loadBundle(): Promise<WorkflowBundleOption> {
  if (process.env["NODE_ENV"] === "production" && existsSync(builtPath)) return { codePath: builtPath };
  return { code: await buildBundle() };
}

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const code = await buildBundle();
  await mkdir(join(root, "build"), { recursive: true });
  await writeFile(builtPath, code);
  console.log(`Wrote build/workflow-bundle.js (${Math.round(code.length / 1024)} kB).`);
}
