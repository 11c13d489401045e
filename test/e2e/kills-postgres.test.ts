import { beforeAll, describe, expect, test } from "vitest";
import type { RunningPart } from "../../embedded/processes.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { type OwnPart, startPostgres, startTemporal } from "../helpers/own-parts.ts";
import { until } from "../helpers/wait.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { killDuringFirstSync, killDuringLiveDelivery, type Scene } from "./scenarios.ts";

let installation: Installation;
let scene: Scene;
let server: OwnPart<RunningPart>;

beforeAll(async () => {
  const [postgres, temporal] = await Promise.all([startPostgres(), startTemporal()]);
  server = postgres;
  const { imapPort, lmtpPort } = dovecot();
  const mailServer = { imapPort, lmtpPort };
  installation = await startInstallation(
    { databaseUrl: postgres.now.url, temporalAddress: temporal.now.address, mailServer },
    { EVERPOST_PAGE_SIZE: "20" },
  );
  const part = { kill: () => postgres.kill(), restart: async () => void (await postgres.restart()) };
  scene = { installation, mailServer, createMailUser, part };
  return () => installation[Symbol.asyncDispose]();
});

describe("a PostgreSQL server that is killed", () => {
  test("during a first sync costs nothing and doubles nothing", { timeout: 180_000 }, () => killDuringFirstSync(scene, "PostgreSQL, first sync"));
  test("during live delivery loses nothing and tells nothing twice", { timeout: 180_000 }, () => killDuringLiveDelivery(scene, "PostgreSQL, live"));

  test("is told to whoever asks, until it is back", { timeout: 120_000 }, async () => {
    await server.kill();
    const ready = await installation.call("GET", "/readyz");
    expect([ready.status, ready.body.checks.database.ok, ready.body.checks.temporal.ok]).toEqual([503, false, true]);
    expect((await installation.call("GET", "/healthz")).status).toBe(200);
    expect((await installation.call("GET", "/v1/mailboxes")).status).toBe(503);
    await server.restart();
    await until(async () => (await installation.call("GET", "/readyz")).status === 200, "readiness");
    expect((await installation.call("GET", "/v1/mailboxes")).status).toBe(200);
  });
});
