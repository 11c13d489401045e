import { beforeAll, describe, test } from "vitest";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { startTemporal } from "../helpers/own-parts.ts";
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
});
