import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { bundleWorkflowCode, DefaultLogger, type ReplayResult, Runtime, Worker } from "@temporalio/worker";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildBundle } from "../../workers/bundle.ts";

interface SavedHistory {
  readonly name: string;
  readonly workflowId: string;
  readonly history: { readonly events: readonly Record<string, unknown>[] };
}

const root = resolve(import.meta.dirname, "../..");
const folder = join(root, "test", "histories");
const saved = readSaved();

let code: string;
let changedDir: string;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR"), telemetryOptions: { logging: { filter: "OFF" } } });
  code = await buildBundle();
  changedDir = mkdtempSync(join(tmpdir(), "everpost-replay-"));
});
afterAll(() => rmSync(changedDir, { recursive: true, force: true }));

describe("histories of earlier releases", () => {
  it("are there for every state of a mailbox, the relay and the idle shard", () => {
    const states = saved.map(({ name }) => name.split("/").at(-1));
    for (const state of [
      "connecting",
      "importing",
      "live",
      "paused",
      "failing",
      "waits-for-owner",
      "disconnected",
      "gone",
      "continued",
      "settled",
      "not-realtime",
    ]) {
      expect(states).toContain(`mailbox-${state}.json`);
    }
    expect(states).toEqual(
      expect.arrayContaining([
        ...["webhook-relay.json", "idle-shard.json", "housekeeping.json", "message-actions.json"],
        ...["folder-change.json", "folder-counts.json", "keep-content.json", "message-text.json"],
      ]),
    );
  });

  it.each(saved.map((one) => [one.name, one] as const))("%s is replayed by today's workflows", async (_name, one) => {
    await Worker.runReplayHistory({ workflowBundle: { code }, replayName: one.name }, one.history, one.workflowId);
  });

  it("hold no address, no subject and nothing of the machine that recorded them", () => {
    for (const { name, history } of saved) {
      const text = JSON.stringify(history, (_key, value) =>
        typeof value === "string" && isPayload(value) ? Buffer.from(value, "base64").toString() : value,
      );
      expect(text, name).not.toMatch(/[a-z0-9]@[a-z0-9-]+\.[a-z]|Subject|"password"|\/home\/|\/work\/|\/root\//);
    }
  });
});

describe("the gate", () => {
  const live = saved.find(({ name }) => name.endsWith("/mailbox-live.json"));

  it("refuses a mailbox that fetches before it opens", async () => {
    const results = await replayChanged("mailbox.ts", (source) => source.replace("openMailbox(ref)", "describeMailbox(ref)"));
    expect(results.find(({ workflowId }) => workflowId === live?.workflowId)?.error?.name).toBe("DeterminismViolationError");
  });

  it("refuses a relay that waits before it drains", async () => {
    const results = await replayChanged("webhook-relay.ts", (source) =>
      source.replace("isWoken = false;\n    const", "isWoken = false;\n    await condition(() => isWoken, 5);\n    const"),
    );
    const relay = saved.find(({ name }) => name.endsWith("/webhook-relay.json"));
    expect(results.find(({ workflowId }) => workflowId === relay?.workflowId)?.error?.name).toBe("DeterminismViolationError");
  });

  it("lets a change pass that gives no other commands", async () => {
    const results = await replayChanged("mailbox.ts", (source) => source.replace('"log in, list folders"', '"sign in"'));
    expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
  });
});

/** Replays every saved history with a copy of the workflows in which one file was changed. */
async function replayChanged(file: string, change: (source: string) => string): Promise<readonly ReplayResult[]> {
  const copy = mkdtempSync(join(changedDir, "copy-"));
  for (const name of ["workflows", "domain", "activities", "package.json"]) cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  const path = join(copy, "workflows", file);
  const before = readFileSync(path, "utf8");
  const after = change(before);
  expect(after, "the change has to find what it changes").not.toBe(before);
  writeFileSync(path, after);
  const { code: changed } = await bundleWorkflowCode({ workflowsPath: join(copy, "workflows", "index.ts"), logger: new DefaultLogger("ERROR") });
  const results: ReplayResult[] = [];
  for await (const result of Worker.runReplayHistories({ workflowBundle: { code: changed } }, saved)) results.push(result);
  return results;
}

function readSaved(): readonly SavedHistory[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => ({ name, workflowId: name, history: JSON.parse(readFileSync(join(folder, name), "utf8")) }));
}

function isPayload(text: string): boolean {
  return /^[A-Za-z0-9+/]{4,}={0,2}$/.test(text) && text.length % 4 === 0;
}
