import { beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { startTemporal } from "../helpers/own-parts.ts";
import { until } from "../helpers/wait.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { killDuringFirstSync, killDuringLiveDelivery, type Scene } from "./scenarios.ts";

let installation: Installation;
let scene: Scene;

beforeAll(async () => {
  const [database, temporal] = await Promise.all([createTestDatabase(), startTemporal()]);
  const { imapPort, lmtpPort } = dovecot();
  const mailServer = { imapPort, lmtpPort };
  installation = await startInstallation(
    { databaseUrl: database.url, temporalAddress: temporal.now.address, mailServer },
    { EVERPOST_PAGE_SIZE: "20" },
  );
  const part = { kill: async () => void (await installation.worker.kill("SIGKILL")), restart: () => installation.startWorker() };
  scene = { installation, mailServer, createMailUser, part };
  return async () => {
    await installation[Symbol.asyncDispose]();
    await database.drop();
  };
});

describe("a worker that is killed", () => {
  test("during a first sync costs nothing and doubles nothing", { timeout: 180_000 }, () => killDuringFirstSync(scene, "worker, first sync"));
  test("during live delivery loses nothing and tells nothing twice", { timeout: 180_000 }, () => killDuringLiveDelivery(scene, "worker, live"));

  test("shows within two minutes, and no longer once it is back", { timeout: 240_000 }, async () => {
    const mailbox = await installation.connect(await createMailUser());
    await installation.untilLive(mailbox.id);
    await installation.deliverAndWait(mailbox.email);
    await installation.worker.kill("SIGKILL");
    const killedAt = performance.now();
    const notLive = until(async () => (await installation.show(mailbox.id)).flow !== "live", "the flow to be told as not live", 120_000).then(() => {
      console.log(`worker, dead: not shown as live after ${((performance.now() - killedAt) / 1000).toFixed(1)} s`);
    });
    // Each queue's pollers are forgotten in their own time: the one that runs mailboxes is waited for.
    const mailWorkerGone = async () => {
      const { status, body } = await installation.call("GET", "/readyz");
      return status === 503 && body.checks.mailWorker.ok === false && body;
    };
    const notReady = until(mailWorkerGone, "readiness to fail", 120_000).then(({ checks }) => {
      expect(checks).toMatchObject({ database: { ok: true }, temporal: { ok: true } });
      console.log(`worker, dead: not ready after ${((performance.now() - killedAt) / 1000).toFixed(1)} s`);
    });
    await Promise.all([notLive, notReady]);

    await installation.startWorker();
    const restartedAt = performance.now();
    await installation.deliverAndWait(mailbox.email);
    console.log(`worker, dead for long: told ${((performance.now() - restartedAt) / 1000).toFixed(1)} s after the restart`);
    await installation.untilLive(mailbox.id);
    expect((await installation.call("GET", "/readyz")).status).toBe(200);
  });
});
