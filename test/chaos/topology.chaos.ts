import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect, test } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.ts";
import { deliverNew, type MailServer, type MailUser } from "../e2e/mail.ts";
import { type Compose, readCompose, serviceOf } from "../helpers/compose.ts";
import { countConnections } from "../helpers/connections.ts";
import { startDovecot, startPostgres } from "../helpers/own-parts.ts";
import { endAll, type SpawnedApi, type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { startTemporalCluster } from "../helpers/temporal-cluster.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";
import { fileTraces } from "../security/leaks.ts";
import { lateness, orphans } from "./checks.ts";
import { watchLoad } from "./machine-load.ts";
import { connectPatiently, faultsLeft, patienceMs, startSupervised } from "./patient.ts";
import { chanceOf, runSeed, scaled } from "./random.ts";
import { searchEverywhere } from "./search.ts";
import type { ChaosReport } from "./summary.ts";

const mailboxCount = scaled(200, 20);
/** Connected through an API process that is killed meanwhile. */
const lateCount = 10;
/** A message every twenty seconds for each: what two cores carry besides all of this. */
const deliveriesPerSecond = mailboxCount / 20;

test(`${mailboxCount} mailboxes on what temporal-docker-compose.yml starts, every part of Everpost and Temporal killed once`, async ({ task }) => {
  const beganAt = performance.now();
  using load = watchLoad();
  const blobs = testDirectory("blobs");
  const spawned: SpawnedProcess[] = [];
  const keep = <T extends SpawnedProcess>(part: T): T => {
    spawned.push(part);
    return part;
  };
  const compose = readCompose({ POSTGRES_PASSWORD: "made below", EVERPOST_ENCRYPTION_KEYS: "made below" });
  const [postgres, dovecot] = await Promise.all([startPostgres({ settings: postgresSettings(compose) }), startDovecot()]);
  const temporal = await startTemporalCluster(compose, postgres.now.url);
  const mailServer = { imapPort: dovecot.now.ports.imap, lmtpPort: dovecot.now.ports.lmtp };
  const roles = workerRolesOf(compose);
  const [mail = "", providers = "", idle = ""] = roles;
  await using installation = await startInstallation(
    { databaseUrl: postgres.now.url, temporalAddress: temporal.now.address, mailServer },
    { EVERPOST_WORKER_ROLES: mail, EVERPOST_STATUS_POLL_SECONDS: "120", EVERPOST_BLOB_DIR: blobs },
  );
  spawned.push(installation.worker, installation.api);
  const startWorker = async (workerRoles: string) =>
    keep(await startSupervised(() => spawnWorker({ ...installation.env, EVERPOST_WORKER_ROLES: workerRoles })));
  const startApi = async () => keep(await startSupervised(() => spawnApi(installation.env)));
  const others = new Map<string, SpawnedProcess>();
  for (const workerRoles of roles.slice(1)) others.set(workerRoles, await startWorker(workerRoles));
  let secondApi = await startApi();

  const connectedAt = performance.now();
  const users = Array.from({ length: mailboxCount }, () => dovecot.createMailUser());
  const mailboxes = await inTurns(users, 10, (user, index) =>
    connectPatiently(installation, user, {}, () => (index % 2 === 0 ? [installation.api, secondApi] : [secondApi, installation.api])),
  );
  await inTurns(mailboxes, 10, ({ id }) => installation.untilLive(id, patienceMs));
  console.log(`${mailboxCount} mailboxes were live ${seconds(performance.now() - connectedAt)} after the first was connected`);

  const stop = new AbortController();
  const delivering = deliverWhile(stop.signal, installation, mailServer, users);
  const asking = askBoth(stop.signal, installation, () => [installation.api, secondApi]);
  const happened: string[] = [];
  const startedAt = performance.now();
  const strike = async (what: string, work: () => Promise<unknown>) => {
    await delay(10_000);
    await work();
    happened.push(`  ${what}, ${seconds(performance.now() - startedAt)} after the first delivery`);
  };
  const replace = async (workerRoles: string) => {
    await others.get(workerRoles)?.kill("SIGKILL");
    await delay(3_000);
    others.set(workerRoles, await startWorker(workerRoles));
  };

  await strike(`one more worker (${mail})`, async () => others.set(mail, await startWorker(mail)));
  await strike(`the first worker (${mail}) killed for good`, () => installation.worker.kill("SIGKILL"));
  await strike(`the worker ${providers} killed and replaced`, () => replace(providers));
  await strike(`the worker ${idle} killed and replaced`, () => replace(idle));
  const late = Array.from({ length: lateCount }, () => dovecot.createMailUser());
  await strike("an API process killed while mailboxes are connected through it", async () => {
    const connecting = inTurns(late, lateCount, (user) => connectPatiently(installation, user, {}, () => [secondApi, installation.api]));
    await secondApi.kill("SIGKILL");
    mailboxes.push(...(await connecting));
    secondApi = await startApi();
  });
  await strike("the Temporal server killed and started again", () => temporal.restart());
  const lastFaultAt = Date.now();
  await delay(20_000);
  stop.abort();
  const delivered = await delivering;
  const deliveringMs = performance.now() - startedAt;
  const { answered, refused } = await asking;

  const quietAt = performance.now();
  await installation.untilAllTold(patienceMs);
  const told = lateness(installation, lastFaultAt, load.stretch());
  const toldAfterMs = performance.now() - quietAt;
  await inTurns(mailboxes, 20, ({ id }) => installation.untilLive(id, patienceMs));
  const liveAfterMs = performance.now() - quietAt;
  const faults = (await inTurns(mailboxes, 5, (mailbox) => faultsLeft(installation, mailbox))).flat();
  const logs = [
    ...fileTraces("PostgreSQL's log", postgres.logFile),
    ...fileTraces("Temporal's log", temporal.logFile),
    ...fileTraces("the blob store", blobs),
  ];
  const leaks = await searchEverywhere({ installation, temporalAddress: temporal.now.address, spawned, files: logs }, mailboxes);
  const liveAsSeenByTemporal = await countLive(temporal.now.address);
  const way = {
    get open() {
      return countConnections(mailServer.imapPort);
    },
  };
  faults.push(...(await orphans(way, mailboxes.length, () => endAll(spawned))));
  if (liveAsSeenByTemporal !== mailboxes.length) faults.push(`Temporal finds ${liveAsSeenByTemporal} live mailboxes, not ${mailboxes.length}`);
  const report: ChaosReport = {
    name: task.name,
    seed: runSeed,
    injected: { "kill a worker": 3, "add a worker": 1, "kill an API": 1, "kill the real Temporal server": 1 },
    delivered: installation.ledger.entries.length,
    told: installation.receiver.received.length,
    faults,
    ...told,
    stretch: load.stretch(),
    leaks,
    tookMs: performance.now() - beganAt,
  };
  task.meta.chaos = report;
  console.log(
    [
      ...happened,
      `  ${delivered} messages over ${mailboxCount} mailboxes within ${seconds(deliveringMs)}, ${(delivered / (deliveringMs / 1000)).toFixed(1)} a second`,
      `  from delivery to webhook: ${latencies(installation)}`,
      `  everything told ${seconds(toldAfterMs)} and every mailbox live ${seconds(liveAfterMs)} after the last delivery`,
      `  requests to either API: ${answered} answered, ${refused} refused by a dead process`,
    ].join("\n"),
  );
  expect(report).toMatchObject({ faults: [], late: 0, leaks: [] });
});

function postgresSettings(compose: Compose): Readonly<Record<string, string>> {
  const settings = (serviceOf(compose, "postgres").command ?? []).filter((word) => word.includes("=")).map((word) => word.split("="));
  return Object.fromEntries(settings);
}

/** One entry for each of the three workers: what is in its way does not take the slots of the others. */
function workerRolesOf({ services }: Compose): readonly string[] {
  return Object.values(services).flatMap(({ environment }) => environment.EVERPOST_WORKER_ROLES ?? []);
}

/** Returns how many messages the mail server took. */
async function deliverWhile(stop: AbortSignal, { ledger }: Installation, mailServer: MailServer, users: readonly MailUser[]): Promise<number> {
  const chance = chanceOf(runSeed);
  const pending = new Set<Promise<unknown>>();
  let delivered = 0;
  while (!stop.aborted) {
    const one = deliverNew(mailServer, chance.pick(users).email, ledger).then(() => {
      delivered += 1;
      pending.delete(one);
    });
    pending.add(one);
    await delay(1_000 / deliveriesPerSecond);
  }
  await Promise.all(pending);
  return delivered;
}

/** What a load balancer sees: each process is asked several times a second, and what answers answers well. */
async function askBoth(stop: AbortSignal, { call }: Installation, apis: () => readonly SpawnedApi[]) {
  let answered = 0;
  let refused = 0;
  for (let turn = 0; !stop.aborted; turn += 1) {
    const at = apis()[turn % 2];
    const answer = await call("GET", "/v1/mailboxes?limit=5", at === undefined ? {} : { at }).catch(() => undefined);
    if (answer === undefined) refused += 1;
    else {
      expect(answer.status).toBe(200);
      answered += 1;
    }
    await delay(200);
  }
  return { answered, refused };
}

/** By the search attribute that operators ask for, which takes its way through the server's other database. */
async function countLive(address: string): Promise<number> {
  const connection = await Connection.connect({ address });
  try {
    const client = new Client({ connection, namespace: "mail" });
    const count = async () => (await client.workflow.count(`MailboxState = "LIVE" AND ExecutionStatus = "Running"`)).count;
    await until(async () => (await count()) >= mailboxCount, "Temporal to find the mailboxes by their state", 60_000).catch(() => {});
    return await count();
  } finally {
    await connection.close();
  }
}

function latencies({ ledger, receiver }: Installation): string {
  const toldAt = new Map<string, number>();
  for (const { body, at } of receiver.received) {
    const { data } = JSON.parse(body) as { readonly data?: { readonly message?: { readonly messageId?: string } } };
    const id = data?.message?.messageId;
    if (id !== undefined && !toldAt.has(id)) toldAt.set(id, at);
  }
  const took = ledger.entries
    .flatMap(({ messageId, at }) => (toldAt.has(messageId) ? [(toldAt.get(messageId) ?? 0) - at] : []))
    .toSorted((a, b) => a - b);
  const at = (share: number) => seconds(took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0);
  return `half within ${at(0.5)}, 95 of 100 within ${at(0.95)}, all within ${at(1)}`;
}

/** Not all at once, and in the order of the results. */
async function inTurns<T, R>(items: readonly T[], atOnce: number, work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < items.length; index = next++) results[index] = await work(items[index] as T, index);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return results;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
