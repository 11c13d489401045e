import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect } from "vitest";
import type { ConnectedMailbox, ConnectOptions, Installation } from "../e2e/installation.ts";
import { deliverNew, seedHistory } from "../e2e/mail.ts";
import { until } from "../helpers/wait.ts";
import { fileTraces, findLeaks } from "../security/leaks.ts";
import { temporalTraces } from "../security/traces.ts";
import { type FaultName, type Faults, faultsOf, networkFaults, partKills } from "./faults.ts";
import { buildHouse, type House, type HouseOptions } from "./house.ts";
import { type Chance, chanceOf } from "./random.ts";
import type { ChaosReport } from "./summary.ts";

export interface StormOptions extends HouseOptions {
  readonly seed: number;
  /** Faults in all. */
  readonly strikes: number;
  /** Kills and cut or stalled connections, if left out. */
  readonly kinds?: readonly FaultName[];
  readonly mailboxes: number;
  /** Messages that one further mailbox holds when it is connected. */
  readonly history: number;
  /** What else the mailboxes are connected with. */
  readonly connect?: ConnectOptions;
  /** Between two deliveries, in ms. */
  readonly deliverEveryMs: number;
  /** The longest pause between two faults, in ms. */
  readonly pauseMaxMs: number;
}

/**
 * Mail comes in for many mailboxes while one large one is listed for the first time, and meanwhile parts are killed, cut off and stalled at random.
 * Then everything may settle, and the checker compares what was delivered with what is stored, told and shown. A seed repeats the choice of faults
 * and pauses; what they hit depends on the machine.
 */
export async function storm(name: string, options: StormOptions): Promise<ChaosReport> {
  const startedAt = performance.now();
  const chance = chanceOf(options.seed);
  const house = await buildHouse(options);
  const { installation, mailServer, dovecot } = house;
  const users = Array.from({ length: options.mailboxes }, () => dovecot.createMailUser());
  const mailboxes = await Promise.all(users.map((user) => installation.connect(user, options.connect)));
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, 180_000)));
  const large = dovecot.createMailUser();
  await seedHistory(mailServer, large, installation.ledger, "INBOX", options.history);
  mailboxes.push(await installation.connect(large, options.connect));

  const striking = new AbortController();
  const delivering = deliverWhile(striking.signal, house, users, options.deliverEveryMs, chanceOf(options.seed + 1));
  const injected = await strike(options, chance, faultsOf(house, chance));
  const quietAt = Date.now();
  striking.abort();
  await delivering;
  await installation.untilAllTold(300_000);
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, 300_000)));
  const late = countLate(installation, quietAt);

  const faults: string[] = [];
  for (const mailbox of mailboxes) {
    expect(await installation.call("POST", `/v1/mailboxes/${mailbox.id}/sync`)).toMatchObject({ status: 200 });
    faults.push(...(await installation.faults(mailbox)).map((fault) => `${mailbox.email}: ${fault}`));
  }
  faults.push(...(await untruths(installation, mailboxes)));
  const leaks = await searchHouse(house, mailboxes);
  faults.push(...(await orphans(house, mailboxes.length)));
  return {
    name,
    seed: options.seed,
    injected: Object.fromEntries(injected),
    delivered: installation.ledger.entries.length,
    told: installation.receiver.received.length,
    faults,
    late,
    leaks,
    tookMs: performance.now() - startedAt,
  };
}

/**
 * Two heartbeats that have to run out, one behind the other (15 s of whoever fetches, 30 s of whoever tells), the longest pause after each (30 s), and a
 * minute of housekeeping in between.
 */
const lateMs = 165_000;

/** Messages that were first told later than any pause explains, counted from their delivery or from the last fault, whichever was later. */
function countLate({ ledger, receiver }: Installation, quietAt: number): number {
  const toldAt = new Map<string, number>();
  for (const { body, at } of receiver.received) {
    const { type, data } = JSON.parse(body) as { readonly type: string; readonly data: { readonly message?: { readonly messageId?: string } } };
    const id = data.message?.messageId;
    if (type === "message.created" && id !== undefined && !toldAt.has(id)) toldAt.set(id, at);
  }
  const told = ledger.entries.filter(({ isTold }) => isTold);
  return told.filter(({ messageId, at }) => (toldAt.get(messageId) ?? 0) - Math.max(at, quietAt) > lateMs).length;
}

/** A mailbox that is shown as live and watched is: one more message is told at once. */
async function untruths(installation: Installation, mailboxes: readonly ConnectedMailbox[]): Promise<readonly string[]> {
  const told = await Promise.allSettled(mailboxes.map(({ email }) => installation.deliverAndWait(email, 30_000)));
  return told.flatMap(({ status }, index) =>
    status === "rejected" ? [`${mailboxes[index]?.email}: the API shows it as live, but it does not tell what comes`] : [],
  );
}

/** Requests that are refused with content, addresses and secrets in them; then everything is searched that was written anywhere. */
async function searchHouse(house: House, mailboxes: readonly ConnectedMailbox[]): Promise<readonly string[]> {
  const { installation, ways, postgres, temporal } = house;
  const { ledger, secrets, call, env } = installation;
  const [first] = mailboxes;
  if (first === undefined) throw new Error("a house without mailboxes");
  const wrong = { ...installation.connectBody(first), imap: { host: first.password, port: first.password } };
  await call("POST", "/v1/mailboxes", { body: { ...wrong, email: `${ledger.mark} at nowhere` } });
  await call("GET", `/v1/messages/${first.id}`);
  await call("POST", "/v1/message-actions", { body: { ids: [], action: { type: "delete" } } });
  await call("PATCH", `/v1/mailboxes/${first.id}`, { body: { password: { [first.password]: first.password } } });
  const connection = await Connection.connect({ address: `127.0.0.1:${ways.temporal.port}` });
  try {
    const client = new Client({ connection, namespace: env.TEMPORAL_NAMESPACE ?? "" });
    const passwords = mailboxes.map(({ email, password }) => [`the password of ${email}`, password] as const);
    const elsewhere = [
      ...(await temporalTraces(client, env.EVERPOST_TASK_QUEUE_PREFIX ?? "")),
      ...house.spawned.map((one) => ({ where: `log of process ${one.pid}`, text: one.logs() })),
      ...fileTraces("PostgreSQL's log", postgres.logFile),
      ...fileTraces("Temporal's log", temporal.logFile),
      ...fileTraces("the blob store", house.blobs),
      // A refusal may say again what was wrong in the request, and does so with addresses.
      ...installation.refusals,
      ...(await house.readMetrics()),
    ];
    return await findLeaks({
      db: installation.db,
      mark: ledger.mark,
      secrets: { ...secrets, ...Object.fromEntries(passwords.slice(-3)) },
      elsewhere,
    });
  } finally {
    await connection.close();
  }
}

/** A watch for each mailbox is all that stays open; and nothing, once every process has ended. */
async function orphans({ ways, stop }: House, mailboxes: number): Promise<readonly string[]> {
  const isQuiet = until(() => ways.imap.open <= mailboxes, "sessions to be closed that nobody uses", 150_000);
  const idle = await isQuiet.then(
    () => [],
    () => [`${ways.imap.open} connections to the mail server are open for ${mailboxes} mailboxes`],
  );
  await stop();
  const left = await until(() => ways.imap.open === 0, "the last connection to be closed", 10_000).then(
    () => [],
    () => [`${ways.imap.open} connections to the mail server are open after everybody has gone`],
  );
  return [...idle, ...left];
}

async function strike({ strikes, kinds, pauseMaxMs }: StormOptions, chance: Chance, faults: Faults): Promise<ReadonlyMap<FaultName, number>> {
  const injected = new Map<FaultName, number>();
  for (let struck = 0; struck < strikes; struck += 1) {
    await delay(chance.between(50, pauseMaxMs));
    const name = chance.pick(kinds ?? [...partKills, ...networkFaults]);
    await faults[name]();
    injected.set(name, (injected.get(name) ?? 0) + 1);
  }
  return injected;
}

/** As patient as a mail transfer agent; returns how many messages the server took. */
async function deliverWhile(
  stop: AbortSignal,
  { mailServer, installation }: House,
  users: readonly { readonly email: string }[],
  everyMs: number,
  chance: Chance,
): Promise<number> {
  let delivered = 0;
  while (!stop.aborted) {
    await deliverNew(mailServer, chance.pick(users).email, installation.ledger);
    delivered += 1;
    await delay(chance.between(1, everyMs * 2));
  }
  return delivered;
}
