import { DefaultLogger, Runtime } from "@temporalio/worker";
import { beforeAll, describe, expect, test } from "vitest";
import { rollingDeploy } from "../chaos/rolling-deploy.ts";

beforeAll(() => {
  Runtime.install({ logger: new DefaultLogger("ERROR"), telemetryOptions: { logging: { filter: "OFF" } }, shutdownSignals: [] });
});

const mailboxes = 4;

describe("a release whose workflows have a further step, behind a patch", () => {
  test("replaces two workers in two rounds while mail comes in, and no task fails", { timeout: 900_000 }, async () => {
    const report = await rollingDeploy({ mailboxes, deliverEveryMs: 400, cachedWorkflows: 2, course: "two rounds" });
    expect(report).toMatchObject({ faults: [], changedEarly: 0, changed: mailboxes, tasksFailed: 0, refusedByNew: 0, refusedByOld: mailboxes });
  });

  test("cannot be taken back once it took effect: mailboxes stand still until it is there again, and lose nothing", {
    timeout: 900_000,
  }, async () => {
    const report = await rollingDeploy({ mailboxes, deliverEveryMs: 400, cachedWorkflows: 2, course: "there and back" });
    expect(report).toMatchObject({ faults: [], changedEarly: mailboxes, changed: mailboxes, refusedByNew: 0, refusedByOld: mailboxes });
    expect(report.tasksFailed).toBeGreaterThanOrEqual(mailboxes);
  });
});
