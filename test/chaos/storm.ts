import { setTimeout as delay } from "node:timers/promises";
import type { ConnectOptions } from "../e2e/installation.ts";
import { deliverNew, seedHistory } from "../e2e/mail.ts";
import { fileTraces } from "../security/leaks.ts";
import { lateness, orphans, untruths } from "./checks.ts";
import { type FaultName, type Faults, faultsOf, networkFaults, partKills } from "./faults.ts";
import { buildHouse, type House, type HouseOptions } from "./house.ts";
import { watchLoad } from "./machine-load.ts";
import { connectPatiently, faultsLeft, patienceMs } from "./patient.ts";
import { type Chance, chanceOf } from "./random.ts";
import { type Grounds, searchEverywhere } from "./search.ts";
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

/** A message of a live mailbox, on a machine that does nothing else. */
const tellingMs = 30_000;

/**
 * Mail comes in for many mailboxes while one large one is listed for the first time, and meanwhile parts are killed, cut off and stalled at random.
 * Then everything may settle, and the checker compares what was delivered with what is stored, told and shown. A seed repeats the choice of faults
 * and pauses; what they hit depends on the machine.
 */
export async function storm(name: string, options: StormOptions): Promise<ChaosReport> {
  const startedAt = performance.now();
  using load = watchLoad();
  const chance = chanceOf(options.seed);
  const house = await buildHouse(options);
  const { installation, mailServer, dovecot } = house;
  const users = Array.from({ length: options.mailboxes }, () => dovecot.createMailUser());
  const mailboxes = await Promise.all(users.map((user) => connectPatiently(installation, user, options.connect)));
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, patienceMs)));
  const large = dovecot.createMailUser();
  await seedHistory(mailServer, large, installation.ledger, "INBOX", options.history);
  mailboxes.push(await connectPatiently(installation, large, options.connect));

  const striking = new AbortController();
  const delivering = deliverWhile(striking.signal, house, users, options.deliverEveryMs, chanceOf(options.seed + 1));
  const injected = await strike(options, chance, faultsOf(house, chance));
  const quietAt = Date.now();
  striking.abort();
  await delivering;
  await installation.untilAllTold(patienceMs);
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, patienceMs)));
  const told = lateness(installation, quietAt, load.stretch());

  const faults: string[] = [];
  for (const mailbox of mailboxes) {
    faults.push(...(await faultsLeft(installation, mailbox)));
  }
  faults.push(...(await untruths(installation, mailboxes, tellingMs * load.stretch())));
  const leaks = await searchEverywhere(await groundsOf(house), mailboxes);
  faults.push(...(await orphans(house.ways.imap, mailboxes.length, house.stop)));
  return {
    name,
    seed: options.seed,
    injected: Object.fromEntries(injected),
    delivered: installation.ledger.entries.length,
    told: installation.receiver.received.length,
    faults,
    ...told,
    stretch: load.stretch(),
    leaks,
    tookMs: performance.now() - startedAt,
  };
}

async function groundsOf({ installation, ways, spawned, postgres, temporal, blobs, readMetrics }: House): Promise<Grounds> {
  const files = [
    ...fileTraces("PostgreSQL's log", postgres.logFile),
    ...fileTraces("Temporal's log", temporal.logFile),
    ...fileTraces("the blob store", blobs),
    ...(await readMetrics()),
  ];
  return { installation, temporalAddress: `127.0.0.1:${ways.temporal.port}`, spawned, files };
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
