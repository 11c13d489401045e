import { afterAll, beforeAll, expect, it } from "vitest";
import { type ConnectionSlots, openConnectionSlots } from "../../db/connection-slots.ts";
import { findWorkMailbox, type WorkMailbox } from "../../db/mailbox-state.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { getProvider } from "../../providers/index.ts";
import { createSessions, type Sessions } from "../../sessions/sessions.ts";
import { dovecot } from "../helpers/dovecot.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { type Engine, startEngine, testKeyRing } from "./engine.ts";

let engine: Engine;
const processes: { readonly sessions: Sessions; readonly slots: ConnectionSlots }[] = [];

async function aProcess(): Promise<Sessions> {
  const slots = await openConnectionSlots(engine.deps.databaseUrl);
  const resolveHost = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] });
  const sessions = createSessions({ keyRing: testKeyRing, getProvider, resolveHost, slots });
  processes.push({ sessions, slots });
  return sessions;
}

beforeAll(async () => {
  engine = await startEngine();
});
afterAll(async () => {
  for (const { sessions, slots } of processes) {
    await sessions.closeAll();
    await slots.close();
  }
  await engine[Symbol.asyncDispose]();
});

it("three processes that work on one mailbox never hold more connections than it may have", async () => {
  const proxy = await startProxy(dovecot().imapPort);
  const { id } = await engine.addMailbox();
  await engine.db
    .updateTable("mailboxes")
    .set((eb) => ({
      settings: eb.fn("jsonb_set", [
        eb.fn("jsonb_set", ["settings", eb.val("{imap,port}"), eb.val(String(proxy.port))]),
        eb.val("{connectionsMax}"),
        eb.val("2"),
      ]) as never,
    }))
    .where("id", "=", id)
    .execute();
  const mailbox = (await findWorkMailbox(engine.db, id)) as WorkMailbox;
  const sessions = [await aProcess(), await aProcess(), await aProcess()];
  let most = 0;
  const watching = setInterval(() => {
    most = Math.max(most, proxy.open);
  }, 2);
  for (let round = 0; round < 4; round += 1) {
    const reports = await Promise.all(sessions.map((each) => each.use(mailbox, (provider) => provider.verify())));
    expect(reports.every((report) => report.folders.length > 0)).toBe(true);
  }
  clearInterval(watching);
  expect(most).toBe(2);
  await Promise.all(processes.map((each) => each.sessions.closeAll()));
  await proxy.close();
});
