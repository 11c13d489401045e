import { ImapFlow } from "imapflow";
import { beforeAll, expect, test } from "vitest";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { startTemporal } from "../helpers/own-parts.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";
import { type Installation, startInstallation } from "./installation.ts";

let installation: Installation;
/** While it is set, the server's yes to a COPY or MOVE gets lost on its way; true once one did. */
let loss: { hasLost: boolean } | undefined;

beforeAll(async () => {
  const [database, temporal] = await Promise.all([createTestDatabase(), startTemporal()]);
  const { imapPort, lmtpPort } = dovecot();
  const proxy = await startProxy(imapPort, {
    fromServer(bytes) {
      if (loss === undefined || !bytes.includes("COPYUID")) return bytes;
      loss.hasLost = true;
      return Buffer.alloc(0);
    },
  });
  const places = { databaseUrl: database.url, temporalAddress: temporal.now.address, mailServer: { imapPort, lmtpPort }, imapPort: proxy.port };
  installation = await startInstallation(places);
  return async () => {
    await installation[Symbol.asyncDispose]();
    await proxy.close();
    await database.drop();
  };
}, 120_000);

test.each([
  ["copy", 1, []],
  ["move", 0, ["Archive"]],
] as const)(
  "a worker that is killed between the server's %s and ours does not do it twice, and it is told once",
  async (type, leftInInbox, moves) => {
    const user = await createMailUser();
    const mailbox = await installation.connect(user);
    await installation.untilLive(mailbox.id);
    await installation.deliverAndWait(mailbox.email);
    const { body: list } = await installation.call("GET", `/v1/messages?mailboxId=${mailbox.id}`);
    const [{ id }] = list.data;

    loss = { hasLost: false };
    const body = { ids: [id], action: { type, role: "archive" }, whenAway: "queue" };
    const answering = installation.call("POST", "/v1/message-actions", { body });
    await until(() => loss?.hasLost, `the server to have done the ${type}`, 30_000);
    await installation.worker.kill("SIGKILL");
    loss = undefined;
    await installation.startWorker();

    const { body: action } = await answering;
    await until(
      async () => (await installation.call("GET", `/v1/message-actions/${action.id}`)).body.state === "done",
      "the change to be done",
      90_000,
    );
    expect((await installation.call("GET", `/v1/message-actions/${action.id}`)).body.results).toMatchObject([{ id, state: "done" }]);
    await installation.call("POST", `/v1/mailboxes/${mailbox.id}/sync`);
    await installation.deliverAndWait(mailbox.email);
    expect([await countIn(user, "Archive"), await countIn(user, "INBOX")]).toEqual([1, leftInInbox + 1]);
    const events = await installation.db
      .selectFrom("events")
      .select(["type", "data"])
      .where("mailbox_id", "=", mailbox.id as never)
      .execute();
    const told = events.filter(({ type: kind }) => kind === "message.updated" || kind === "message.deleted");
    expect(told.map(({ data }) => (data as { changes?: { movedTo?: string } }).changes?.movedTo)).toEqual(moves);
  },
  180_000,
);

async function countIn({ email, password }: { readonly email: string; readonly password: string }, path: string): Promise<number> {
  const { host, imapPort: port } = dovecot();
  const client = new ImapFlow({ host, port, secure: false, doSTARTTLS: false, auth: { user: email, pass: password }, logger: false });
  await client.connect();
  try {
    const status = await client.status(path, { messages: true });
    return status === false ? -1 : (status.messages ?? -1);
  } finally {
    await client.logout();
  }
}
