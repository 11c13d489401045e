import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { webhookRetrySchedule } from "../../domain/retry-schedule.ts";
import { freePort } from "../../embedded/ports.ts";
import { newSigningSecret, signWebhook } from "../../webhooks/sign.ts";
import { root } from "../architecture/import-graph.ts";
import { until } from "../helpers/wait.ts";

const page = readFileSync(join(root, "docs/webhooks.md"), "utf8");
const secret = newSigningSecret();
const event = JSON.stringify({ id: "evt_1", type: "message.created", data: { message: { subject: "Grüße" } } });

// The page's programs are for whoever has the language; Node is always here.
const programs = [
  { language: "js", command: process.execPath, file: "receiver.mjs" },
  ...(spawnSync("python3", ["--version"]).status === 0 ? [{ language: "python", command: "python3", file: "receiver.py" }] : []),
];

describe.each(programs)("the receiver in $language", ({ language, command, file }) => {
  const example = join(root, "docs/examples", file);
  let port = 0;
  let output = "";
  let stop = () => {};

  beforeAll(async () => {
    port = await freePort();
    const child = spawn(command, [example, secret, String(port)]);
    stop = () => child.kill("SIGKILL");
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    await until(() => output.includes("listening"), "the receiver to listen");
  });

  afterAll(() => stop());

  test("stands on the page as it is run here", () => {
    expect(page).toContain(`\`\`\`${language}\n${readFileSync(example, "utf8")}\`\`\``);
  });

  const post = async (body: string, headers: Readonly<Record<string, string>>) =>
    (await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body, headers })).status;
  const now = () => Math.floor(Date.now() / 1000);
  const signed = (secrets: readonly string[], timestampSeconds = now()) => signWebhook({ id: "evt_1", timestampSeconds, body: event }, secrets);

  test("takes what the engine signs, and shows a repetition once", async () => {
    expect(await post(event, signed([secret]))).toBe(204);
    expect(await post(event, signed([secret]))).toBe(204);
    await until(() => output.includes("message.created Grüße"), "the event to be shown");
    expect(output.match(/Grüße/g)).toHaveLength(1);
  });

  test("takes what is signed by the next secret as well", async () => {
    expect(await post(event, signed([newSigningSecret(), secret]))).toBe(204);
  });

  test.each([
    ["another body", event.replace("Grüße", "Gruesse"), () => signed([secret])],
    ["another secret", event, () => signed([newSigningSecret()])],
    ["another id", event, () => ({ ...signed([secret]), "webhook-id": "evt_2" })],
    ["a time long past", event, () => signed([secret], now() - 3_600)],
    ["no headers at all", event, () => ({})],
  ])("refuses %s", async (_what, body, headers) => {
    expect(await post(body, headers())).toBe(401);
  });
});

test("the page gives the pauses between attempts as the schedule has them", () => {
  const names = webhookRetrySchedule.map((ms) => (ms < 60_000 ? `${ms / 1000} s` : ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`));
  expect(page).toContain(`at once, then after ${names.join(", ")},`);
});
