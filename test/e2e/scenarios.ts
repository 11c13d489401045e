import { expect } from "vitest";
import { until } from "../helpers/wait.ts";
import type { Stored } from "./checker.ts";
import type { ConnectedMailbox, Installation } from "./installation.ts";
import { deliverNew, type MailServer, type MailUser, seedHistory } from "./mail.ts";

export interface Kill {
  /** SIGKILL, and nothing else. */
  kill(): Promise<void>;
  /** The same part again; resolves when it says that it is up. */
  restart(): Promise<void>;
}

export interface Scene {
  readonly installation: Installation;
  readonly mailServer: MailServer;
  readonly createMailUser: () => MailUser | Promise<MailUser>;
  readonly part: Kill;
}

const historyCount = 3_000;

/** A part dies while a mailbox is listed for the first time, and new mail comes in while it is dead. */
export async function killDuringFirstSync({ installation, mailServer, createMailUser, part }: Scene, label: string): Promise<void> {
  const user = await createMailUser();
  await seedHistory(mailServer, user, installation.ledger, "INBOX", historyCount - 300);
  await seedHistory(mailServer, user, installation.ledger, "Archive", 300);
  const mailbox = await installation.connect(user);

  const share = await until(async () => {
    const done = await importedShare(installation, mailbox);
    return done >= 0.1 && done;
  }, "a tenth to be imported");
  await part.kill();
  expect(share, "killed too late to say anything").toBeLessThan(0.8);
  const meanwhile = [1, 2, 3].map(() => deliverNew(mailServer, user.email, installation.ledger));
  await part.restart();
  const restartedAt = performance.now();
  await Promise.all(meanwhile);
  await installation.untilAllTold();
  report(label, "told what came meanwhile", restartedAt);
  await installation.untilLive(mailbox.id, 90_000);
  report(label, "first sync complete, live", restartedAt);
  await proveRight(installation, [mailbox], label);
}

const mailboxCount = 4;
/** Messages before, while dead and after, over all mailboxes. */
const trickle = { before: 16, dead: 12, after: 20 };

/** A part dies while mail comes in for several mailboxes, and it goes on coming. */
export async function killDuringLiveDelivery({ installation, mailServer, createMailUser, part }: Scene, label: string): Promise<void> {
  const users = await Promise.all(Array.from({ length: mailboxCount }, createMailUser));
  const mailboxes = await Promise.all(users.map((user) => installation.connect(user)));
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id)));
  let turn = 0;
  const deliverNext = () => deliverNew(mailServer, users[turn++ % users.length]?.email ?? "", installation.ledger);
  const deliverMany = async (count: number) => {
    for (let n = 0; n < count; n++) await deliverNext();
  };

  const toldBefore = installation.receiver.received.length;
  const before = deliverMany(trickle.before);
  await until(() => installation.receiver.received.length > toldBefore + 2, "the first of the trickle to be told");
  // What waits for the part itself (a dead mail server takes nothing) ends after the restart.
  await part.kill();
  const rest = before.then(() => deliverMany(trickle.dead));
  await part.restart();
  const restartedAt = performance.now();
  await rest;
  await deliverMany(trickle.after);
  await installation.untilAllTold();
  report(label, "told everything of a trickle", restartedAt);
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, 90_000)));
  report(label, "all mailboxes live", restartedAt);
  await proveRight(installation, mailboxes, label);
}

/** Nothing is wrong; one more message is told at once and once; and listing everything anew tells nothing and changes nothing. */
async function proveRight(installation: Installation, mailboxes: readonly ConnectedMailbox[], label: string): Promise<void> {
  const delays = await Promise.all(mailboxes.map(({ email }) => installation.deliverAndWait(email)));
  console.log(`${label}: one more message was told after ${Math.round(Math.max(...delays))} ms`);
  expect(Math.max(...delays), "one more message is told as if nothing had happened").toBeLessThan(10_000);
  for (const mailbox of mailboxes) {
    expect(await installation.call("POST", `/v1/mailboxes/${mailbox.id}/sync`)).toMatchObject({ status: 200 });
    expect(await installation.faults(mailbox)).toEqual([]);
  }
  for (const mailbox of mailboxes) {
    const before = (await installation.evidence(mailbox)).stored;
    await resync(installation, mailbox);
    expect(await installation.faults(mailbox)).toEqual([]);
    const after = (await installation.evidence(mailbox)).stored;
    expect(toldOfMessages(after)).toEqual(toldOfMessages(before));
    expect(idsOf(after)).toEqual(idsOf(before));
  }
}

/** Lists everything from the start, and resolves when that is complete. */
async function resync(installation: Installation, mailbox: ConnectedMailbox): Promise<void> {
  const completed = async () => (await installation.evidence(mailbox)).stored.events.filter(({ type }) => type === "mailbox.sync_completed").length;
  const before = await completed();
  expect(await installation.call("POST", `/v1/mailboxes/${mailbox.id}/resync`)).toMatchObject({ status: 200 });
  await until(async () => (await completed()) > before, "the second listing to be complete", 60_000);
}

function toldOfMessages({ events }: Stored): readonly unknown[] {
  return events.filter(({ type }) => type.startsWith("message.")).map(({ id, messageId }) => `${id} ${messageId}`);
}

function idsOf({ messages }: Stored): readonly string[] {
  return messages.map(({ id }) => id).toSorted();
}

/** How much of the first sync is committed; only for finding the moment to strike. */
async function importedShare({ db }: Installation, { id }: ConnectedMailbox): Promise<number> {
  const folders = await db
    .selectFrom("folders")
    .select("import_done")
    .where("mailbox_id", "=", id as never)
    .execute();
  return folders.reduce((sum, folder) => sum + folder.import_done, 0) / historyCount;
}

function report(label: string, what: string, since: number): void {
  console.log(`${label}: ${what} ${((performance.now() - since) / 1000).toFixed(1)} s after the restart`);
}
