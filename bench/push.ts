import { setTimeout as delay } from "node:timers/promises";
import { claimUser } from "../test/helpers/dovecot-server.ts";
import { startBarePush } from "./bare-push.ts";
import { cpuOf, machineMs, ownCpuMs } from "./costs.ts";
import { type MailDelivery, numberOf, openDelivery } from "./delivery.ts";
import { type BenchContext, type Benchmark, percentile } from "./harness.ts";
import { startIdleClient } from "./idle-client.ts";
import { type BenchInstallation, type BenchProcess, startBenchInstallation } from "./installation.ts";
import { untilLive } from "./live.ts";
import type { MailUser } from "./mail-server.ts";
import { type MinutePoller, startMinutePoller } from "./minute-poller.ts";
import { type Receiver, startReceiver } from "./receiver.ts";

/**
 * Parts: single, burst. From the moment when the mail server has taken a message to the webhook, beside what an IDLE connection of one's own hears on
 * the same mailboxes, and beside a script that polls every minute. How much later Everpost is: the 95th percentile of the one less that of the other.
 * The burst is also delivered to a bare loop that posts what it hears.
 */
export const benchmark: Benchmark = {
  name: "push",
  targets: {
    quietP95AboveIdleMs: { max: 150 },
    busy10sP95AboveIdleMs: { max: 150 },
    busy1sP95AboveIdleMs: { max: 150 },
    singleLost: { max: 0 },
    burstLost: { max: 0 },
    burstDuplicates: { max: 0 },
    burstLastMs: { max: 6_000 },
  },
  run,
};

/** A mail each; nothing has come for them before. */
const quietMailboxes = 60;
const busy10sMailboxes = 3;
/** Long enough for the polling script to come by four times. */
const singleMsAtScale1 = 240_000;
const burst = { messages: 2_000, mailboxes: 200, ms: 5_000, connections: 8 };
/** What has not come after this is lost: an IDLE connection that was forgotten by its server is found out within four minutes. */
const patienceMs = 300_000;
/** The bare loop asks for nothing by itself: what it has not heard of by then, it hears of with the next message, or never. */
const barePatienceMs = 30_000;
/** Two rounds of the polling script. */
const pollMsMax = 120_000;

async function run(context: BenchContext): Promise<Readonly<Record<string, number>>> {
  await using everpost = await startBenchInstallation(context, { hibernates: true });
  await using receiver = await startReceiver();
  const worker = await everpost.startWorker();
  const bench = { context, everpost, receiver, worker };
  const isWanted = (part: string) => context.parts.length === 0 || context.parts.includes(part);
  return { ...(isWanted("single") ? await measureSingle(bench) : {}), ...(isWanted("burst") ? await measureBurst(bench) : {}) };
}

interface PushBench {
  readonly context: BenchContext;
  readonly everpost: BenchInstallation;
  readonly receiver: Receiver;
  readonly worker: BenchProcess;
}

/** What became of a message, on one clock. */
interface Sent {
  readonly scenario: string;
  acceptedAt: number;
  heardAt: number;
  readonly toldAt: number[];
}

/** One mail at a time, to mailboxes that are quiet, get one every ten seconds, and get one every second: three customers side by side. */
async function measureSingle({ context, everpost, receiver }: PushBench): Promise<Readonly<Record<string, number>>> {
  const { progress } = context;
  const ms = Math.max(20_000, singleMsAtScale1 * context.scale);
  const scenarios = [
    { name: "quiet", mailboxes: Math.max(5, Math.round(quietMailboxes * Math.min(1, context.scale))), everyMs: 0 },
    { name: "busy10s", mailboxes: busy10sMailboxes, everyMs: 10_000 },
    { name: "busy1s", mailboxes: 1, everyMs: 1_000 },
  ];
  const sent = new Map<number, Sent>();
  receiver.onEvent = (_path, event, at) => sent.get(numberIn(event.data))?.toldAt.push(at);
  const groups: { name: string; users: readonly MailUser[]; everyMs: number }[] = [];
  for (const { name, mailboxes, everyMs } of scenarios)
    groups.push({ name, everyMs, users: await connectAll(context, everpost, receiver, mailboxes) });
  const all = groups.flatMap(({ users }) => users);

  /** By mailbox, the messages in the order in which they were delivered: the n-th is what makes the inbox hold n. */
  const numbers = new Map<string, number[]>(all.map(({ email }) => [email, []]));
  using clients = new DisposableStack();
  for (const user of all) {
    let heard = 0;
    clients.use(
      await startIdleClient(everpost.imapPort, user, (count, at) => {
        for (; heard < count; heard += 1) {
          const message = sent.get(numbers.get(user.email)?.[heard] ?? -1);
          if (message !== undefined) message.heardAt = at;
        }
      }),
    );
  }
  progress(`polling ${all.length} mailboxes every minute`);
  using poller = await startMinutePoller(everpost.imapPort, all);
  // Sessions are asleep after a second.
  await delay(3_000);

  const delivery = await openDelivery(everpost.lmtpPort);
  const line = createLine(delivery);
  const deadline = performance.now() + ms;
  let number = 0;
  const send = (scenario: string, { email }: MailUser) =>
    line(async (open) => {
      const mine = number++;
      const message: Sent = { scenario, acceptedAt: Number.NaN, heardAt: Number.NaN, toldAt: [] };
      sent.set(mine, message);
      numbers.get(email)?.push(mine);
      message.acceptedAt = (await open.deliver(email, mine)).acceptedAt;
    });
  const tellProgress = setInterval(
    () => progress(`${sent.size} messages, ${Math.max(0, Math.round((deadline - performance.now()) / 1_000))} s to go`),
    10_000,
  );
  try {
    await Promise.all(
      groups.map(async ({ name, users, everyMs }) => {
        if (everyMs === 0) return paced(deadline, ms / users.length, users, (user) => send(name, user));
        await Promise.all(
          users.map((user, index) =>
            delay((everyMs / users.length) * index).then(() => paced(deadline, everyMs, repeat(user), () => send(name, user))),
          ),
        );
      }),
    );
    await untilAllTold(sent, patienceMs);
    await untilPolled(poller, sent, context);
  } finally {
    clearInterval(tellProgress);
    delivery.close();
  }
  return singleFigures(sent, groups, poller);
}

function singleFigures(
  sent: ReadonlyMap<number, Sent>,
  groups: readonly { readonly name: string }[],
  poller: MinutePoller,
): Readonly<Record<string, number>> {
  const figures: Record<string, number> = {};
  const all = [...sent.values()];
  figures.singleLost = all.filter(({ toldAt }) => toldAt.length === 0).length;
  figures.singleUnheardByIdle = all.filter(({ heardAt }) => Number.isNaN(heardAt)).length;
  figures.singleLastMs = Math.round(
    Math.max(...all.filter(({ toldAt }) => toldAt.length > 0).map(({ toldAt, acceptedAt }) => (toldAt[0] ?? 0) - acceptedAt)),
  );
  for (const { name } of groups) {
    const messages = all.filter(({ scenario, toldAt }) => scenario === name && toldAt.length > 0);
    const told = messages.map(({ toldAt, acceptedAt }) => (toldAt[0] ?? 0) - acceptedAt);
    const heard = messages.filter(({ heardAt }) => !Number.isNaN(heardAt)).map(({ heardAt, acceptedAt }) => heardAt - acceptedAt);
    figures[`${name}P50Ms`] = percentile(told, 0.5);
    figures[`${name}P95Ms`] = percentile(told, 0.95);
    figures[`${name}IdleP50Ms`] = percentile(heard, 0.5);
    figures[`${name}IdleP95Ms`] = percentile(heard, 0.95);
    figures[`${name}P95AboveIdleMs`] = Math.round((percentile(told, 0.95) - percentile(heard, 0.95)) * 10) / 10;
  }
  const polled = [...sent].flatMap(([number, { acceptedAt }]) => {
    const at = poller.seen.get(number);
    return at === undefined ? [] : [at - acceptedAt];
  });
  figures.pollP50Ms = percentile(polled, 0.5);
  figures.pollP95Ms = percentile(polled, 0.95);
  return figures;
}

/**
 * Ten messages for each of 200 mailboxes within five seconds; and the same again, to the same inboxes, when Everpost's worker has stopped and the
 * bare loop listens: what this machine can do at best with no more than anybody would write.
 */
async function measureBurst(bench: PushBench): Promise<Readonly<Record<string, number>>> {
  const { context, everpost, receiver, worker } = bench;
  const mailboxes = Math.max(5, Math.round(burst.mailboxes * context.scale));
  const users = await connectAll(context, everpost, receiver, mailboxes);
  const actionsBefore = await everpost.countActions();
  const pids = { Worker: worker.pid, Temporal: everpost.temporal.pid, Postgres: context.postgresPid, MailServer: everpost.mailServerPid };
  const ours = await deliverBurst(bench, { users, first: 0, pids, patienceMs });
  const actions = (await everpost.countActions()) - actionsBefore;
  // What is told twice may come late.
  await delay(5_000);
  const duplicates = ours.told.reduce((sum, { toldAt }) => sum + toldAt.length - 1, 0);
  await worker.stop();
  context.progress(`the bare loop logs in to ${mailboxes} mailboxes`);
  using bare = await startBarePush(everpost.imapPort, receiver.url, users);
  const barePids = { Bare: bare.pid, MailServer: everpost.mailServerPid };
  const theirs = await deliverBurst(bench, { users, first: ours.count, pids: barePids, patienceMs: barePatienceMs });
  const cpu = Object.entries(ours.cpu).map(([name, ms]) => [`burst${name}CpuMsPerMessage`, ms]);
  return {
    burstSeconds: ours.seconds,
    burstLost: ours.lost,
    burstDuplicates: duplicates,
    burstP50Ms: percentile(ours.delays, 0.5),
    burstP95Ms: percentile(ours.delays, 0.95),
    burstLastMs: Math.round(Math.max(...ours.delays)),
    burstActionsPerMessage: hundredths(actions / ours.count),
    burstCpuMsPerMessage: sumOf(ours.cpu, Object.keys(pids)),
    ...Object.fromEntries(cpu),
    burstBareSeconds: theirs.seconds,
    burstBareLost: theirs.lost,
    burstBareP95Ms: percentile(theirs.delays, 0.95),
    burstBareLastMs: Math.round(Math.max(...theirs.delays)),
    burstBareCpuMsPerMessage: sumOf(theirs.cpu, Object.keys(barePids)),
  };
}

interface Burst {
  readonly users: readonly MailUser[];
  /** The number of its first message. */
  readonly first: number;
  /** Who computes, beside the benchmark itself. */
  readonly pids: Readonly<Record<string, number>>;
  /** What has not come so long after the delivery is lost. */
  readonly patienceMs: number;
}

interface BurstOutcome {
  readonly count: number;
  readonly seconds: number;
  readonly lost: number;
  readonly told: readonly Sent[];
  /** From each message's acceptance to its webhook. */
  readonly delays: readonly number[];
  /** Milliseconds a message. */
  readonly cpu: Costs;
}

/** Resolves when all was told, or is given up. Its messages stay as they are filled: one that is told again later is noted there. */
async function deliverBurst({ context, everpost, receiver }: PushBench, { users, first, pids, patienceMs }: Burst): Promise<BurstOutcome> {
  const count = users.length * (burst.messages / burst.mailboxes);
  const sent = new Map<number, Sent>();
  receiver.onEvent = (_path, event, at) => sent.get(numberIn(event.data))?.toldAt.push(at);
  // Sessions are asleep after a second.
  await delay(3_000);
  const lanes = await Promise.all(Array.from({ length: burst.connections }, () => openDelivery(everpost.lmtpPort)));
  // What delivers and receives is this process itself: it competes for the same cores, and is none of the parts that are measured.
  const costs = () => ({ ...cpuOf(pids), Bench: ownCpuMs(process.pid) });
  const before = costs();
  const started = performance.now();
  const tellSeconds = tellEachSecond(context, sent, costs);
  let next = 0;
  const loop = async (lane: MailDelivery) => {
    for (let number = next++; number < count; number = next++) {
      await delay(Math.max(0, started + (burst.ms / count) * number - performance.now()));
      const message: Sent = { scenario: "burst", acceptedAt: Number.NaN, heardAt: Number.NaN, toldAt: [] };
      sent.set(first + number, message);
      message.acceptedAt = (await lane.deliver(users[number % users.length]?.email ?? "", first + number)).acceptedAt;
    }
  };
  try {
    await Promise.all(lanes.map(loop));
    const seconds = Math.round((performance.now() - started) / 100) / 10;
    context.progress(`${count} messages delivered in ${seconds} s`);
    await untilAllTold(sent, patienceMs);
    const cpu = Object.fromEntries(Object.entries(since(before, costs())).map(([name, ms]) => [name, hundredths(ms / count)]));
    const told = [...sent.values()].filter(({ toldAt }) => toldAt.length > 0);
    const delays = told.map(({ toldAt, acceptedAt }) => (toldAt[0] ?? 0) - acceptedAt);
    return { count, seconds, lost: count - told.length, told, delays, cpu };
  } finally {
    clearInterval(tellSeconds);
    for (const lane of lanes) lane.close();
  }
}

function sumOf(costs: Costs, names: readonly string[]): number {
  return hundredths(names.reduce((sum, name) => sum + (costs[name] ?? 0), 0));
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}

type Costs = Readonly<Record<string, number>>;

/** Where the time goes: what came and went so far, and who computed in the last second. */
function tellEachSecond({ progress }: BenchContext, sent: ReadonlyMap<number, Sent>, costs: () => Costs): NodeJS.Timeout {
  let second = 0;
  let before = costs();
  let machineBefore = machineMs();
  return setInterval(() => {
    const now = costs();
    const machine = machineMs();
    const messages = [...sent.values()];
    const delivered = messages.filter(({ acceptedAt }) => !Number.isNaN(acceptedAt)).length;
    const told = messages.filter(({ toldAt }) => toldAt.length > 0).length;
    const parts = Object.entries({ ...since(before, now), ...since(machineBefore, machine) }).map(([name, ms]) => `${name} ${Math.round(ms)}`);
    progress(`${++second} s: ${delivered} delivered, ${told} told; CPU in ms: ${parts.join(", ")}`);
    before = now;
    machineBefore = machine;
  }, 1_000);
}

function since(before: Costs, now: Costs): Costs {
  return Object.fromEntries(Object.entries(now).map(([name, ms]) => [name, ms - (before[name] ?? 0)]));
}

/** Mailboxes of one customer whose new messages are posted to the receiver; resolves when somebody listens for each. */
async function connectAll(context: BenchContext, everpost: BenchInstallation, receiver: Receiver, count: number): Promise<readonly MailUser[]> {
  const customer = await everpost.newCustomer();
  await customer.subscribe(receiver.url, "message.created");
  const users = Array.from({ length: count }, () => claimUser(everpost.mailDir));
  for (const user of users) await customer.connect(user);
  await untilLive(context, customer.id, count);
  return users;
}

function numberIn(data: Readonly<Record<string, unknown>>): number {
  return numberOf((data.message as { readonly subject: string }).subject);
}

/** One after the other over one connection. */
function createLine(delivery: MailDelivery): (work: (open: MailDelivery) => Promise<void>) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  return (work) => {
    last = last.then(() => work(delivery));
    return last;
  };
}

/** Does something with each item, so far apart, until it is time to end. */
async function paced<T>(deadline: number, everyMs: number, items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  let due = performance.now();
  for (const item of items) {
    if (performance.now() >= deadline) return;
    await work(item);
    due += everyMs;
    await delay(Math.max(0, due - performance.now()));
  }
}

function* repeat<T>(item: T): Generator<T> {
  for (;;) yield item;
}

async function untilAllTold(sent: ReadonlyMap<number, Sent>, withinMs: number): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (performance.now() < deadline && [...sent.values()].some(({ toldAt }) => toldAt.length === 0)) await delay(100);
}

/** A quick look does not wait for the minute to end. */
async function untilPolled({ seen }: MinutePoller, sent: ReadonlyMap<number, Sent>, { scale, progress }: BenchContext): Promise<void> {
  const deadline = performance.now() + (scale < 1 ? 0 : pollMsMax);
  if (scale >= 1) progress("waiting for the polling script");
  while (performance.now() < deadline && seen.size < sent.size) await delay(200);
}
