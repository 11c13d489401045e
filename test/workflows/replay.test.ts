import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { bundleWorkflowCode, DefaultLogger, type ReplayResult, Runtime, Worker } from "@temporalio/worker";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildBundle } from "../../workers/bundle.ts";
import { makeRelease } from "../helpers/release.ts";

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

  it.each(saved.map((one) => [one.name, one] as const))("%s is replayed by today's workflows", { timeout: 300_000 }, async (_name, one) => {
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

describe("the gate", { timeout: 300_000 }, () => {
  const mailboxStates = saved.map(({ name }) => name).filter((name) => /\/mailbox-/.test(name));

  /** Where a mailbox's workflow does something, and the states that its histories were saved in right then. */
  const steps: readonly { readonly step: string; readonly at: string; readonly states: readonly string[] }[] = [
    {
      step: "reads the mailbox's row",
      at: '    const facts = await databaseActivities({ summary: "read the mailbox\'s row" })',
      states: ["connecting", "gone"],
    },
    {
      step: "logs in",
      at: '    const facts = await providerActivities({ summary: "log in, list folders" })',
      states: ["failing", "waits-for-owner"],
    },
    {
      step: "fetches",
      at: "    const result = await providerActivities({ summary, startToCloseTimeout: lookTimeout })",
      states: ["live", "continued"],
    },
    { step: "listens", at: "    if (state.isRealtime) await databaseActivities(", states: ["not-realtime"] },
    { step: "reads history", at: '    const slice = await bulkActivities({ summary: "first sync" })', states: ["importing"] },
    { step: "pauses", at: "    isWritingPause = true;", states: ["paused"] },
    { step: "carries out settings", at: '    const settled = await databaseActivities({ summary: "carry out settings" })', states: ["settled"] },
    { step: "ends", at: "    const patient = databaseActivities({", states: ["disconnected"] },
    { step: "hands itself on", at: "      if (!stop) await continueAsNew<typeof mailbox>(", states: ["continues-as-new"] },
  ];

  it("knows a step for every state that a mailbox was saved in", () => {
    const names = mailboxStates.map((name) => /mailbox-(.+)\.json$/.exec(name)?.[1] ?? "");
    expect(steps.flatMap(({ states }) => states).toSorted()).toEqual([...new Set(names)].toSorted());
  });

  it.each(steps)("refuses a mailbox that does one thing more before it $step, from every state that was there", async ({ at, states }) => {
    const results = await replayChanged("mailbox.ts", (source) => insertBefore(source, at, oneThingMore));
    const refused = refusedOf(results);
    for (const name of mailboxStates) if (states.some((state) => name.endsWith(`/mailbox-${state}.json`))) expect(refused).toContain(name);
    expect(
      refused.every((name) => mailboxStates.includes(name)),
      "other workflows go on",
    ).toBe(true);
  });

  it("lets the same changes pass, all at once, where they stand behind patches", async () => {
    const results = await replayChanged("mailbox.ts", (source) =>
      steps.reduce((text, { step, at }) => insertBefore(text, at, `if (patched(${JSON.stringify(step)})) ${oneThingMore}`), source),
    );
    expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
  });

  it("refuses a relay that waits before it drains", async () => {
    const results = await replayChanged("webhook-relay.ts", (source) =>
      insertBefore(source, "    const", "    await condition(() => isWoken, 5);\n", "isWoken = false;\n"),
    );
    expect(refusedOf(results)).toEqual(saved.map(({ name }) => name).filter((name) => name.endsWith("/webhook-relay.json")));
  });

  it("lets a change pass that gives no other commands", async () => {
    const results = await replayChanged("mailbox.ts", (source) => source.replace('"log in, list folders"', '"sign in"'));
    expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
  });
});

const oneThingMore = "await databaseActivities().describeMailbox(ref);\n";

function insertBefore(source: string, at: string, added: string, after = ""): string {
  const index = source.indexOf(after + at);
  if (index < 0) throw new Error(`the change has to find what it changes: ${at}`);
  return source.slice(0, index + after.length) + added + source.slice(index + after.length);
}

/** The saved histories that the changed workflows do not replay, by name; any other error is none of the gate's. */
function refusedOf(results: readonly ReplayResult[]): readonly string[] {
  for (const { error } of results) if (error !== undefined && error.name !== "DeterminismViolationError") throw error;
  return results.flatMap(({ workflowId, error }) => (error === undefined ? [] : [workflowId])).toSorted();
}

/** Replays every saved history with the workflows of a release in which one file was changed. */
async function replayChanged(file: string, change: (source: string) => string): Promise<readonly ReplayResult[]> {
  const release = mkdtempSync(join(changedDir, "release-"));
  makeRelease(release, { [`workflows/${file}`]: change });
  const { code: changed } = await bundleWorkflowCode({ workflowsPath: join(release, "workflows", "index.ts"), logger: new DefaultLogger("ERROR") });
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
