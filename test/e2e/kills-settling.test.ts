import { beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { startTemporal } from "../helpers/own-parts.ts";
import { until } from "../helpers/wait.ts";
import { type ConnectedMailbox, type Installation, startInstallation } from "./installation.ts";
import { seedHistory } from "./mail.ts";

let installation: Installation;

const inboxCount = 40;
/** Enough for many slices and pages, so that a kill comes between two of them. */
const archiveCount = 12_000;

beforeAll(async () => {
  const [database, temporal] = await Promise.all([createTestDatabase(), startTemporal()]);
  const { imapPort, lmtpPort } = dovecot();
  const places = { databaseUrl: database.url, temporalAddress: temporal.now.address, mailServer: { imapPort, lmtpPort } };
  installation = await startInstallation(places, { EVERPOST_PAGE_SIZE: "100" });
  return async () => {
    await installation[Symbol.asyncDispose]();
    await database.drop();
  };
}, 120_000);

describe("a worker that is killed while it carries out settings", () => {
  test("leaves nothing half purged and nothing half filled: whoever comes next goes on, and nothing is told", { timeout: 300_000 }, async () => {
    const { imapPort, lmtpPort } = dovecot();
    const user = await createMailUser();
    await seedHistory({ imapPort, lmtpPort }, user, installation.ledger, "INBOX", inboxCount);
    await seedHistory({ imapPort, lmtpPort }, user, installation.ledger, "Archive", archiveCount);
    const mailbox = await installation.connect(user);
    await installation.untilLive(mailbox.id, 120_000);
    expect(await countsOf(mailbox)).toEqual({ kept: inboxCount + archiveCount, places: inboxCount + archiveCount });

    await change(mailbox, { excludePaths: ["Archive"] });
    await killBetween(async () => {
      const { kept } = await countsOf(mailbox);
      return kept < inboxCount + archiveCount && kept > inboxCount;
    }, "mid-purge");
    await untilSettled(mailbox);
    expect(await countsOf(mailbox)).toEqual({ kept: inboxCount, places: inboxCount });
    expect(await leftoversOf(mailbox)).toBe(0);

    await change(mailbox, { excludePaths: [] });
    await killBetween(async () => {
      const { kept } = await countsOf(mailbox);
      return kept > inboxCount && kept < inboxCount + archiveCount;
    }, "mid-back-fill");
    await untilSettled(mailbox);
    await until(async () => (await countsOf(mailbox)).kept === inboxCount + archiveCount, "the folder to be filled again", 120_000);
    expect((await countsOf(mailbox)).places).toBe(inboxCount + archiveCount);

    await installation.deliverAndWait(mailbox.email);
    const told = await installation.db
      .selectFrom("events")
      .select("type")
      .where("mailbox_id", "=", mailbox.id as never)
      .where("type", "in", ["message.created", "message.updated", "message.deleted"])
      .execute();
    expect(told).toEqual([{ type: "message.created" }]);
  });
});

/** SIGKILL while it is so, and another worker. */
async function killBetween(isSo: () => Promise<boolean>, what: string): Promise<void> {
  await until(isSo, what, 60_000);
  await installation.worker.kill("SIGKILL");
  expect(await isSo(), `killed too late to say anything: ${what} was over`).toBe(true);
  await installation.startWorker();
}

async function change(mailbox: ConnectedMailbox, sync: object): Promise<void> {
  const { status } = await installation.call("PATCH", `/v1/mailboxes/${mailbox.id}`, { body: { sync } });
  expect(status).toBe(200);
}

/** What is stored agrees with the settings, and the mailbox flows. */
async function untilSettled(mailbox: ConnectedMailbox): Promise<void> {
  const query = installation.db
    .selectFrom("mailboxes")
    .select(["sync", "settled_sync"])
    .where("id", "=", mailbox.id as never);
  await until(
    async () => {
      const { sync, settled_sync } = await query.executeTakeFirstOrThrow();
      return JSON.stringify(sync) === JSON.stringify(settled_sync);
    },
    "the settings to be carried out",
    120_000,
  );
  await installation.untilLive(mailbox.id, 120_000);
}

async function countsOf(mailbox: ConnectedMailbox): Promise<{ readonly kept: number; readonly places: number }> {
  const messages = installation.db.selectFrom("messages").where("mailbox_id", "=", mailbox.id as never);
  const places = installation.db.selectFrom("message_locations").where("mailbox_id", "=", mailbox.id as never);
  const { kept } = await messages
    .select((eb) => eb.fn.countAll<number>().as("kept"))
    .where("is_forgotten", "=", false)
    .executeTakeFirstOrThrow();
  const { count } = await places.select((eb) => eb.fn.countAll<number>().as("count")).executeTakeFirstOrThrow();
  return { kept, places: count };
}

/** Forgotten messages that say something still: a subject, terms, or a text that was kept. */
async function leftoversOf(mailbox: ConnectedMailbox): Promise<number> {
  const { count } = await installation.db
    .selectFrom("messages")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("mailbox_id", "=", mailbox.id as never)
    .where("is_forgotten", "=", true)
    .where((eb) => eb.or([eb("subject", "<>", ""), eb("snippet", "is not", null), eb("message_id", "is not", null)]))
    .executeTakeFirstOrThrow();
  return count;
}
