import { beforeAll, describe, test } from "vitest";
import { signal } from "../../embedded/processes.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { startDovecot, startTemporal } from "../helpers/own-parts.ts";
import { descendants } from "../helpers/processes.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { killDuringFirstSync, killDuringLiveDelivery, type Scene } from "./scenarios.ts";

let installation: Installation;
let scene: Scene;

beforeAll(async () => {
  const [database, temporal, dovecot] = await Promise.all([createTestDatabase(), startTemporal(), startDovecot()]);
  const { imap, lmtp } = dovecot.now.ports;
  const mailServer = { imapPort: imap, lmtpPort: lmtp };
  installation = await startInstallation(
    { databaseUrl: database.url, temporalAddress: temporal.now.address, mailServer },
    { EVERPOST_PAGE_SIZE: "20" },
  );
  const kill = async () => {
    const children = descendants(dovecot.now.pid);
    await dovecot.kill();
    for (const pid of children) signal(pid, "SIGKILL");
  };
  const part = { kill, restart: async () => void (await dovecot.restart()) };
  scene = { installation, mailServer, createMailUser: () => dovecot.createMailUser(), part };
  return async () => {
    await installation[Symbol.asyncDispose]();
    await database.drop();
  };
});

describe("a mail server that is killed", () => {
  test("during a first sync costs nothing and doubles nothing", { timeout: 180_000 }, () => killDuringFirstSync(scene, "mail server, first sync"));
  test("during live delivery loses nothing and tells nothing twice", { timeout: 180_000 }, () => killDuringLiveDelivery(scene, "mail server, live"));
});
