import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { claimSleepingEndpoints, recordEvents } from "../db/events.ts";
import { newId } from "../db/ids.ts";
import { listDueDeliveries } from "../db/webhook-deliveries.ts";
import { createWebhookEndpoint } from "../db/webhook-endpoints.ts";
import type { EventId, MailboxId, WebhookEndpointId } from "../domain/ids.ts";
import { connectClient } from "../workers/connection.ts";
import { createSignals } from "../workers/signals.ts";
import { type BenchContext, type Benchmark, percentile } from "./harness.ts";
import { type BenchCustomer, type BenchInstallation, startBenchInstallation } from "./installation.ts";
import { type Receiver, startReceiver } from "./receiver.ts";

/** Parts: relay, hanging, looks. Events from the outbox to a receiver on this machine, through Temporal, beside the same posts from a plain loop. */
export const benchmark: Benchmark = {
  name: "webhooks",
  targets: { actionsPerEvent: { max: 0.1 }, hangingLossShare: { max: 0.1 } },
  run,
};

const eventsAtScale1 = 5_000;
const mailboxesEach = 100;
const keyRing = [{ name: "bench", bytes: Buffer.alloc(32, 7) }];
/** How fast events come while their latency is taken. */
const steadyPerSecond = 250;
const endpointsBesideTheHanging = 9;
/** After one that warms up: what they say is the middle one. */
const rounds = 3;
/** Two measurements beside each other differ by a fifth: what is said of their difference takes more of them. */
const hangingRounds = 7;
const patienceMs = 120_000;

async function run(context: BenchContext): Promise<Readonly<Record<string, number>>> {
  const { db, parts, scale } = context;
  const count = Math.max(mailboxesEach, Math.round((eventsAtScale1 * scale) / mailboxesEach) * mailboxesEach);
  const isWanted = (part: string) => parts.length === 0 || parts.includes(part);
  const looks = isWanted("looks") ? await measureLooks(context, count * 20) : {};
  if (!isWanted("relay") && !isWanted("hanging")) return looks;

  await using everpost = await startBenchInstallation(context);
  await using receiver = await startReceiver();
  await everpost.startWorker();
  const { client, close } = await connectClient({ ...everpost.temporal, taskQueuePrefix: "" });
  const signals = createSignals(client, "");
  const bench: WebhookBench = {
    ...{ context, everpost, receiver },
    async wake({ id }) {
      for (const endpointId of await claimSleepingEndpoints(db, id)) await signals.wakeRelay(endpointId);
    },
  };
  try {
    return {
      ...(isWanted("relay") ? { ...(await measurePlainLoops(bench, count)), ...(await measureRelay(bench, count)) } : {}),
      ...(isWanted("hanging") ? await measureHanging(bench, count / 2) : {}),
      ...looks,
    };
  } finally {
    await close();
  }
}

interface WebhookBench {
  readonly context: BenchContext;
  readonly everpost: BenchInstallation;
  readonly receiver: Receiver;
  /** What a teller does after its commit. */
  readonly wake: (customer: Pick<BenchCustomer, "id">) => Promise<void>;
}

/** What can be posted at all: one after the other, and as many at once as a relay has open. */
async function measurePlainLoops({ receiver, context }: WebhookBench, count: number) {
  const body = JSON.stringify({ id: newId("event"), type: "mailbox.recovered", data: {} });
  const post = async () => (await fetch(receiver.url, { method: "POST", body })).arrayBuffer();
  const loops = async (atOnce: number) => {
    let left = count;
    const loop = async () => {
      while (left-- > 0) await post();
    };
    const started = performance.now();
    await Promise.all(Array.from({ length: atOnce }, loop));
    return perSecond(count, performance.now() - started);
  };
  const figures = { plainLoopPerSecond: await loops(1), plainLoop16PerSecond: await loops(16) };
  context.progress(`a plain loop posts ${figures.plainLoopPerSecond} a second, 16 beside each other ${figures.plainLoop16PerSecond}`);
  return figures;
}

/** A backlog, as fast as it goes; then events as they come, and how long each takes. */
async function measureRelay(bench: WebhookBench, count: number): Promise<Readonly<Record<string, number>>> {
  const { context, everpost, receiver } = bench;
  const { db, progress } = context;
  const received = new Map<string, number>();
  receiver.onEvent = (_path, { id }, at) => void received.set(id, received.get(id) ?? at);
  const subscribed = await subscribe(bench, receiver.url);

  const drain = async () => {
    const ids = await fillAsleep(db, [subscribed], count);
    const started = performance.now();
    await bench.wake(subscribed.customer);
    await untilReceived(received, ids);
    return perSecond(count, performance.now() - started);
  };
  await drain();
  const actionsBefore = await everpost.countActions();
  const rates: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    rates.push(await drain());
    progress(`a backlog of ${count} events: ${rates.at(-1)} a second`);
  }
  const drainActions = (await everpost.countActions()) - actionsBefore;

  const committed = new Map<EventId, number>();
  const begun = performance.now();
  const under: Promise<void>[] = [];
  for (let number = 0; number < count; number += 1) {
    await delay(Math.max(0, begun + (number / steadyPerSecond) * 1_000 - performance.now()));
    under.push(
      (async () => {
        const [id] = await tell(db, subscribed, subscribed.mailboxIds[number % mailboxesEach] as MailboxId, 1);
        if (id !== undefined) committed.set(id, performance.now());
        await bench.wake(subscribed.customer);
      })(),
    );
  }
  await Promise.all(under);
  const seconds = (performance.now() - begun) / 1_000;
  await untilReceived(received, [...committed.keys()]);
  const steadyActions = (await everpost.countActions()) - actionsBefore - drainActions;
  const times = [...committed].map(([id, at]) => (received.get(id) ?? Number.NaN) - at);
  progress(`${Math.round(count / seconds)} events a second as they come: ${steadyActions} actions`);
  return {
    eventsPerSecond: middle(rates),
    steadyPerSecond: Math.round(count / seconds),
    p50Ms: percentile(times, 0.5),
    p95Ms: percentile(times, 0.95),
    actionsPerEvent: Math.round(((drainActions + steadyActions) / (count * (rounds + 1))) * 10_000) / 10_000,
    backlogActionsPerEvent: Math.round((drainActions / (count * rounds)) * 10_000) / 10_000,
    steadyActionsPerEvent: Math.round((steadyActions / count) * 10_000) / 10_000,
  };
}

/** What the tenth endpoint does while the nine have their backlog. */
const neighbours = ["idle", "good", "hanging"] as const;

/**
 * Nine endpoints of nine customers with a backlog each: beside a tenth with nothing to send, beside one that takes as much as they do, and beside one
 * whose receiver never answers. A backlog takes seconds, so that starting a tenth drain, which is a tenth of all starts, is not what is measured.
 */
async function measureHanging(bench: WebhookBench, count: number): Promise<Readonly<Record<string, number>>> {
  const { context, receiver } = bench;
  const { db, progress } = context;
  receiver.hangingPath = "/hanging";
  const received = new Map<string, number>();
  receiver.onEvent = (_path, { id }, at) => void received.set(id, at);
  const nine: Subscribed[] = [];
  for (let n = 0; n < endpointsBesideTheHanging; n += 1) nine.push(await subscribe(bench, receiver.url));
  const round = async (neighbour: (typeof neighbours)[number]) => {
    const tenth = await subscribe(bench, neighbour === "hanging" ? `${receiver.url}${receiver.hangingPath}` : receiver.url);
    const others = neighbour === "idle" ? [] : await fillAsleep(db, [tenth], count);
    const ids = await fillAsleep(db, nine, count);
    const started = performance.now();
    // The tenth first, so that it holds what it can get when the others begin.
    await bench.wake(tenth.customer);
    await Promise.all(nine.map(({ customer }) => bench.wake(customer)));
    await untilReceived(received, ids);
    const rate = perSecond(ids.length, performance.now() - started);
    if (neighbour === "good") await untilReceived(received, others);
    await db.updateTable("webhook_endpoints").set({ is_enabled: false }).where("id", "=", tenth.endpointId).execute();
    return rate;
  };
  const measured: Record<(typeof neighbours)[number], number>[] = [];
  for (let n = 0; n <= hangingRounds; n += 1) {
    const rates = { idle: 0, good: 0, hanging: 0 };
    // By turns, so that whatever grows from round to round slows none of them alone.
    for (const neighbour of [...neighbours.slice(n % neighbours.length), ...neighbours.slice(0, n % neighbours.length)]) {
      rates[neighbour] = await round(neighbour);
      progress(`nine endpoints beside a tenth that is ${neighbour}: ${rates[neighbour]} a second`);
    }
    if (n > 0) measured.push(rates);
  }
  const losses = measured.map(({ idle, hanging }) => Math.round((1 - hanging / idle) * 1_000) / 1_000);
  return {
    nineEndpointsPerSecond: middle(measured.map(({ idle }) => idle)),
    besideTenthPerSecond: middle(measured.map(({ good }) => good)),
    besideHangingPerSecond: middle(measured.map(({ hanging }) => hanging)),
    hangingLossShare: middle(losses),
    hangingLossShareLeast: Math.min(...losses),
    hangingLossShareMost: Math.max(...losses),
  };
}

interface Subscribed {
  readonly customer: Pick<BenchCustomer, "id">;
  readonly endpointId: WebhookEndpointId;
  readonly mailboxIds: readonly MailboxId[];
}

/** A customer with an endpoint, and mailboxes that nobody looks after: their events are made here. */
async function subscribe({ context, everpost }: WebhookBench, url: string): Promise<Subscribed> {
  const customer = await everpost.newCustomer();
  const endpointId = await customer.subscribe(url, "mailbox.recovered");
  return { customer, endpointId, mailboxIds: await newMailboxes(context.db, customer, mailboxesEach) };
}

async function newMailboxes(db: Database, customer: Subscribed["customer"], count: number): Promise<readonly MailboxId[]> {
  const ids = Array.from({ length: count }, () => newId("mailbox"));
  const values = ids.map((id) => ({
    ...{ id, customer_id: customer.id, email: `${id}@example.test`, provider: "memory", settings: "{}", sync: "{}", is_paused: true },
  }));
  await db.insertInto("mailboxes").values(values).execute();
  return ids;
}

/** A backlog for relays that sleep: one that is awake would begin with it before the clock does. */
async function fillAsleep(db: Database, all: readonly Subscribed[], count: number): Promise<readonly EventId[]> {
  const endpointIds = all.map(({ endpointId }) => endpointId);
  const isAnyAwake = () =>
    db.selectFrom("webhook_endpoints").select("id").where("id", "in", endpointIds).where("is_awake", "=", true).limit(1).executeTakeFirst();
  while ((await isAnyAwake()) !== undefined) await delay(50);
  const ids: EventId[] = [];
  for (const each of all) ids.push(...(await fill(db, each, count)));
  return ids;
}

/** As many events for each mailbox, told to nobody yet. */
async function fill(db: Database, subscribed: Subscribed, count: number): Promise<readonly EventId[]> {
  const each = Math.ceil(count / subscribed.mailboxIds.length);
  const ids: EventId[] = [];
  for (const mailboxId of subscribed.mailboxIds) {
    for (let told = 0; told < each; told += 1_000) ids.push(...(await tell(db, subscribed, mailboxId, Math.min(1_000, each - told))));
  }
  return ids;
}

function tell(db: Database, { customer }: Pick<Subscribed, "customer">, mailboxId: MailboxId, count: number): Promise<readonly EventId[]> {
  const events = Array.from({ length: count }, () => ({ type: "mailbox.recovered" as const }));
  return db.transaction().execute((trx) => recordEvents(trx, { customerId: customer.id, mailboxId }, events));
}

async function untilReceived(received: ReadonlyMap<string, number>, ids: readonly EventId[]): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (ids.some((id) => !received.has(id))) {
    if (performance.now() > deadline) throw new Error(`${ids.filter((id) => !received.has(id)).length} of ${ids.length} events were not delivered`);
    await delay(5);
  }
}

/** What a relay pays to look for work where much is pending, by lanes. */
async function measureLooks({ db, progress }: BenchContext, pending: number): Promise<Readonly<Record<string, number>>> {
  const figures: Record<string, number> = {};
  for (const lanes of [1_000, 1]) {
    progress(`looks for work among ${pending} deliveries in ${lanes} lanes`);
    const customerId = newId("customer");
    await db.insertInto("customers").values({ id: customerId, name: "Bench" }).execute();
    const settings = { url: "http://127.0.0.1:1/", description: "", eventTypes: null, mailboxIds: null, includesText: false };
    const { id: endpointId } = await createWebhookEndpoint(db, keyRing, customerId, settings, []);
    const customer = { id: customerId };
    await fill(db, { customer, endpointId, mailboxIds: await newMailboxes(db, customer, lanes) }, pending);
    await sql`analyze webhook_deliveries`.execute(db);
    const look = { afterLane: "", busyLanes: [], lanesMax: 64, perLaneMax: 32, deliveriesMax: 400 };
    figures[`lookMs${lanes}Lanes`] = await milliseconds(() => listDueDeliveries(db, endpointId, look));
    await db
      .updateTable("webhook_deliveries")
      .set({ next_attempt_at: sql<Date>`now() + interval '1 hour'` })
      .where("endpoint_id", "=", endpointId)
      .execute();
    await sql`vacuum analyze webhook_deliveries`.execute(db);
    figures[`lookNothingDueMs${lanes}Lanes`] = await milliseconds(() => listDueDeliveries(db, endpointId, look));
    figures[`claimNothingDueMs${lanes}Lanes`] = await milliseconds(() => claimSleepingEndpoints(db, customerId));
    // Nothing of it may be looked after when the worker starts.
    await db.updateTable("webhook_endpoints").set({ is_enabled: false }).where("id", "=", endpointId).execute();
  }
  return figures;
}

/** The median of ten. */
async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
  }
  return percentile(times, 0.5);
}

function perSecond(count: number, ms: number): number {
  return Math.round((count / ms) * 1_000);
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
