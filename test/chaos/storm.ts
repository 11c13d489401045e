import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { deliverNew, seedHistory } from "../e2e/mail.ts";
import { type FaultName, type Faults, faultsOf, networkFaults, partKills } from "./faults.ts";
import { buildHouse, type House, type HouseOptions } from "./house.ts";
import { type Chance, chanceOf } from "./random.ts";

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
  readonly connect?: Readonly<Record<string, unknown>>;
  /** Between two deliveries, in ms. */
  readonly deliverEveryMs: number;
  /** The longest pause between two faults, in ms. */
  readonly pauseMaxMs: number;
}

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
  const mailboxes = await Promise.all(users.map((user) => installation.connect(user, options.connect)));
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, 180_000)));
  const large = dovecot.createMailUser();
  await seedHistory(mailServer, large, installation.ledger, "INBOX", options.history);
  mailboxes.push(await installation.connect(large, options.connect));

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
