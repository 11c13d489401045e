import { expect, test } from "vitest";
import { catalogue } from "../../domain/errors.ts";
import { type Installation, startInstallation } from "../e2e/installation.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { type Fault, honestly, type MisbehavingImap, misbehavingImap, scriptedFolder } from "../helpers/misbehaving-imap.ts";
import type { Reply } from "../helpers/scripted-server.ts";
import { temporalAddress } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";

const instead = (reply: (honest: string) => Reply): Fault => {
  return (command, honest) => (command.verb === "UID FETCH" ? reply(honest()) : honestly);
};
const structure = /BODYSTRUCTURE \(.*? NIL NIL NIL NIL\)/g;
const levels = 5_000;
const nested = `BODYSTRUCTURE ${"(".repeat(levels)}"TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1${' "MIXED")'.repeat(levels)}`;

/** What a server says from one day to the next in place of the message that has just come. */
const turns = {
  "an endless line": instead(() => ({ said: "x".repeat(65_536), times: Number.POSITIVE_INFINITY })),
  "a flood of answers": instead(() => ({ said: "* 20 EXISTS\r\n".repeat(4_000), times: Number.POSITIVE_INFINITY })),
  "a structure nested thousands deep": instead((honest) => honest.replaceAll(structure, nested)),
} as const satisfies Readonly<Record<string, Fault>>;

/** Of a structure so much is read as is worth it: such a message is as good as any. */
const isBearable = ({ name }: Hostile) => name === "a structure nested thousands deep";

interface Hostile {
  readonly name: string;
  readonly fault: Fault;
  readonly server: MisbehavingImap;
  readonly id: string;
}

test("a mailbox whose server turns hostile says so and recovers with it, and costs no other mailbox anything", { timeout: 600_000 }, async () => {
  await using database = await createTestDatabase();
  const { imapPort, lmtpPort } = dovecot();
  await using installation = await startInstallation({
    databaseUrl: database.url,
    temporalAddress: temporalAddress(),
    mailServer: { imapPort, lmtpPort },
  });
  const good = await installation.connect(await createMailUser());
  await using servers = new AsyncDisposableStack();
  const all: Hostile[] = [];
  for (const [index, [name, fault]] of Object.entries(turns).entries()) {
    const server = servers.use(await misbehavingImap({ folders: [scriptedFolder("INBOX", { uidValidity: 1_800_000_000 + index })] }));
    server.append("INBOX", 5);
    const imap = { host: "127.0.0.1", port: server.port, security: "none", allowInsecure: true };
    const { status, body } = await installation.call("POST", "/v1/mailboxes", {
      body: { email: `ann${index}@example.test`, password: "secret", imap },
    });
    expect(status, JSON.stringify(body)).toBe(201);
    all.push({ name, fault, server, id: String(body.id) });
  }
  for (const { id } of [good, ...all]) await installation.untilLive(id);
  const { worker } = installation;

  for (const { server, fault } of all) {
    server.fault = fault;
    server.append("INBOX", 1, { subject: "kept from you" });
  }
  const hostile = all.filter((one) => !isBearable(one));
  for (const one of hostile) await untilItSaysSo(installation, one);
  for (const one of all.filter(isBearable)) await untilRecovered(installation, one);
  await installation.deliverAndWait(good.email);

  for (const { server } of all) {
    server.fault = undefined;
    server.cut();
  }
  for (const one of all) await untilRecovered(installation, one);
  await installation.deliverAndWait(good.email);
  expect(await installation.show(good.id)).toMatchObject({ status: "connected", flow: "live", problem: null });
  // The one that was there from the beginning.
  expect(installation.worker).toBe(worker);
  expect(await Promise.race([worker.exited, "alive"])).toBe("alive");
});

async function untilItSaysSo(installation: Installation, { name, id }: Hostile): Promise<void> {
  const { body } = await until(
    async () => {
      const answer = await installation.call("GET", `/v1/mailboxes/${id}`);
      return answer.body.problem === null ? undefined : answer;
    },
    `the mailbox with ${name} to say so`,
    120_000,
  );
  const { title, cause } = catalogue.invalid_response;
  expect(body, name).toMatchObject({ flow: { state: "delayed" }, problem: { code: "invalid_response", title, cause, fix: expect.any(String) } });
}

const toldOf = (installation: Installation, { id }: Hostile) =>
  installation.receiver.received
    .map(({ body }) => JSON.parse(body) as { readonly type: string; readonly mailboxId: string | null; readonly data: unknown })
    .filter(({ mailboxId }) => mailboxId === id);

async function untilRecovered(installation: Installation, one: Hostile): Promise<void> {
  await installation.call("POST", `/v1/mailboxes/${one.id}/sync`);
  await installation.untilLive(one.id, 10 * 60_000);
  const created = () => toldOf(installation, one).filter(({ type }) => type === "message.created");
  await until(() => created().length > 0, `the message behind ${one.name} to be told`, 120_000);
  expect(created(), one.name).toMatchObject([{ data: { message: { subject: "kept from you" } } }]);
  expect((await installation.show(one.id)).problem, one.name).toBeNull();
}
