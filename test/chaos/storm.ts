import { setTimeout as delay } from "node:timers/promises";
import { afterAll, expect } from "vitest";
import { signal } from "../../embedded/processes.ts";
import { type Installation, startInstallation } from "../e2e/installation.ts";
import { deliverNew, seedHistory } from "../e2e/mail.ts";
import { type OwnPart, startDovecot, startPostgres, startTemporal } from "../helpers/own-parts.ts";
import { descendants, type SpawnedProcess, spawnWorker } from "../helpers/processes.ts";
import { startProxy, type TcpProxy } from "../helpers/tcp-proxy.ts";
import { type Chance, chanceOf } from "./random.ts";

export interface StormOptions {
  readonly seed: number;
  /** Faults in all. */
  readonly strikes: number;
  /** Which kinds, of those that `faults` knows; all of them if left out. */
  readonly kinds?: readonly FaultName[];
  readonly mailboxes: number;
  /** Messages that one further mailbox holds when it is connected. */
  readonly history: number;
  readonly workers: number;
  readonly settings?: Readonly<Record<string, string>>;
  /** Between two deliveries, in ms. */
  readonly deliverEveryMs: number;
  /** The longest pause between two faults, in ms. */
  readonly pauseMaxMs: number;
}

export type FaultName =
  | "kill a worker"
  | "kill PostgreSQL"
  | "kill Temporal"
  | "kill the mail server"
  | "cut PostgreSQL off"
  | "cut Temporal off"
  | "cut the mail server off"
  | "stall PostgreSQL"
  | "stall Temporal"
  | "stall the mail server";

export interface StormReport {
  readonly seed: number;
  readonly injected: ReadonlyMap<FaultName, number>;
  readonly delivered: number;
  readonly arrivals: number;
  readonly strikingMs: number;
  /** From the last fault until everything was told, and until every mailbox was live. */
  readonly toldAfterMs: number;
  readonly liveAfterMs: number;
  readonly faults: readonly string[];
}

/**
 * Mail comes in for many mailboxes while one large one is listed for the first time, and meanwhile parts are killed, cut off and stalled at random.
 * Then everything may settle, and the checker compares what was delivered with what is stored, told and shown. A seed repeats the choice of faults
 * and pauses; what they hit depends on the machine.
 */
export async function storm(options: StormOptions): Promise<StormReport> {
  const chance = chanceOf(options.seed);
  const house = await buildHouse(options);
  const { installation, mailServer, dovecot } = house;
  const users = Array.from({ length: options.mailboxes }, () => dovecot.createMailUser());
  const mailboxes = await Promise.all(users.map((user) => installation.connect(user)));
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, 180_000)));
  const large = dovecot.createMailUser();
  await seedHistory(mailServer, large, installation.ledger, "INBOX", options.history);
  mailboxes.push(await installation.connect(large));

  const striking = new AbortController();
  const delivering = deliverWhile(striking.signal, house, users, options.deliverEveryMs, chanceOf(options.seed + 1));
  const startedAt = performance.now();
  const injected = await strike(options, chance, faultsOf(house, chance));
  const strikingMs = performance.now() - startedAt;
  striking.abort();
  const delivered = await delivering;

  const quietAt = performance.now();
  await installation.untilAllTold(300_000);
  const toldAfterMs = performance.now() - quietAt;
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, 300_000)));
  const liveAfterMs = performance.now() - quietAt;
  const faults: string[] = [];
  for (const mailbox of mailboxes) {
    expect(await installation.call("POST", `/v1/mailboxes/${mailbox.id}/sync`)).toMatchObject({ status: 200 });
    faults.push(...(await installation.faults(mailbox)).map((fault) => `${mailbox.email}: ${fault}`));
  }
  return { seed: options.seed, injected, delivered, arrivals: installation.receiver.received.length, strikingMs, toldAfterMs, liveAfterMs, faults };
}

/** What was done to it and what came of it, for people. */
export function printReport(name: string, report: StormReport): void {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const lines = [
    `${name} (seed ${report.seed})`,
    ...[...report.injected].map(([fault, count]) => `  ${String(count).padStart(4)} × ${fault}`),
    `  within ${seconds(report.strikingMs)}; ${report.delivered} messages were delivered meanwhile, ${report.arrivals} webhooks arrived`,
    `  everything told ${seconds(report.toldAfterMs)} and every mailbox live ${seconds(report.liveAfterMs)} after the last fault`,
    `  lost, doubled, wrong: ${report.faults.length}`,
  ];
  console.log(lines.join("\n"));
}

interface House {
  readonly installation: Installation;
  readonly mailServer: { readonly imapPort: number; readonly lmtpPort: number };
  readonly postgres: OwnPart<{ readonly pid: number } & Awaited<ReturnType<typeof startPostgres>>["now"]>;
  readonly temporal: Awaited<ReturnType<typeof startTemporal>>;
  readonly dovecot: Awaited<ReturnType<typeof startDovecot>>;
  readonly ways: { readonly postgres: TcpProxy; readonly temporal: TcpProxy; readonly imap: TcpProxy };
  readonly workers: SpawnedProcess[];
  readonly startWorker: () => Promise<SpawnedProcess>;
}

/** Servers of its own, and a way to each of them that can be cut. */
async function buildHouse(options: StormOptions): Promise<House> {
  const [postgres, temporal, dovecot] = await Promise.all([startPostgres(), startTemporal(), startDovecot()]);
  const { imap, lmtp } = dovecot.now.ports;
  const [toPostgres, toTemporal, toImap] = await Promise.all([
    startProxy(Number(new URL(postgres.now.url).port)),
    startProxy(Number(temporal.now.address.split(":")[1])),
    startProxy(imap),
  ]);
  const databaseUrl = new URL(postgres.now.url);
  databaseUrl.port = String(toPostgres.port);
  const mailServer = { imapPort: imap, lmtpPort: lmtp };
  const installation = await startInstallation(
    { databaseUrl: databaseUrl.href, temporalAddress: `127.0.0.1:${toTemporal.port}`, mailServer, imapPort: toImap.port },
    { EVERPOST_PAGE_SIZE: "100", ...options.settings },
  );
  const startWorker = () => spawnWorker(installation.env);
  const workers = [installation.worker, ...(await Promise.all(Array.from({ length: options.workers - 1 }, startWorker)))];
  afterAll(async () => {
    await Promise.all(workers.map((worker) => worker.kill("SIGTERM")));
    await installation[Symbol.asyncDispose]();
    await Promise.all([toPostgres.close(), toTemporal.close(), toImap.close()]);
  });
  return {
    installation,
    mailServer,
    postgres,
    temporal,
    dovecot,
    ways: { postgres: toPostgres, temporal: toTemporal, imap: toImap },
    workers,
    startWorker,
  };
}

type Faults = Readonly<Record<FaultName, () => Promise<void>>>;

function faultsOf({ postgres, temporal, dovecot, ways, workers, startWorker }: House, chance: Chance): Faults {
  const deadFor = () => delay(chance.between(0, 1_500));
  const killPart = async (part: { kill(): Promise<void>; restart(): Promise<unknown> }) => {
    await part.kill();
    await deadFor();
    await part.restart();
  };
  const stall = async (way: TcpProxy) => {
    way.freeze();
    await delay(chance.between(500, 5_000));
    way.thaw();
    // Half of the time the connections stay stalled for good: deadlines must notice.
    if (chance.next() < 0.5) way.cut();
  };
  return {
    "kill a worker": async () => {
      const index = chance.between(0, workers.length - 1);
      await workers[index]?.kill("SIGKILL");
      await deadFor();
      workers[index] = await startWorker();
    },
    "kill PostgreSQL": () => killPart(postgres),
    "kill Temporal": () => killPart(temporal),
    "kill the mail server": async () => {
      const children = descendants(dovecot.now.pid);
      await dovecot.kill();
      for (const pid of children) signal(pid, "SIGKILL");
      await deadFor();
      await dovecot.restart();
    },
    "cut PostgreSQL off": async () => ways.postgres.cut(),
    "cut Temporal off": async () => ways.temporal.cut(),
    "cut the mail server off": async () => ways.imap.cut(),
    "stall PostgreSQL": () => stall(ways.postgres),
    "stall Temporal": () => stall(ways.temporal),
    "stall the mail server": () => stall(ways.imap),
  };
}

async function strike({ strikes, kinds, pauseMaxMs }: StormOptions, chance: Chance, faults: Faults): Promise<ReadonlyMap<FaultName, number>> {
  const injected = new Map<FaultName, number>();
  for (let struck = 0; struck < strikes; struck += 1) {
    await delay(chance.between(50, pauseMaxMs));
    const name = chance.pick(kinds ?? (Object.keys(faults) as FaultName[]));
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
