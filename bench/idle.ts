import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { claimUser } from "../test/helpers/dovecot-server.ts";
import { cpuOf } from "./costs.ts";
import type { BenchContext, Benchmark } from "./harness.ts";
import { type BenchInstallation, startBenchInstallation } from "./installation.ts";
import { untilLive } from "./live.ts";
import { correspondence } from "./mail.ts";
import { fillMailServer, type MailUser } from "./mail-server.ts";
import { startMinutePoller } from "./minute-poller.ts";

/** What mailboxes cost in which nothing happens, listened to by one worker, beside a script that polls them every minute. */
export const benchmark: Benchmark = { name: "idle", targets: { workerMbPerMailbox: { max: 0.4 }, actionsPerMailboxDay: { max: 250 } }, run };

const mailboxesAtScale1 = 500;
const messagesEach = 5;
const idleMsAtScale1 = 300_000;
/** Until what the first syncs left behind is done. */
const settleMs = 20_000;

async function run(context: BenchContext): Promise<Readonly<Record<string, number>>> {
  const { scale, progress, postgresPid } = context;
  const mail = correspondence(3, { words: 2_000, people: 300 });
  await using everpost = await startBenchInstallation(context, { hibernates: true });
  const users = Array.from({ length: Math.max(10, Math.round(mailboxesAtScale1 * scale)) }, () => claimUser(everpost.mailDir));
  for (const [index, user] of users.entries()) {
    const sizes = { min: 1_200, max: 1_600, attachmentShare: 0 };
    await fillMailServer(everpost.imapPort, user, mail, { count: messagesEach, sizes, seed: index, onStored: () => {} });
    if (index % 100 === 99) progress(`${index + 1} of ${users.length} mailboxes filled`);
  }
  const worker = await everpost.startWorker();
  // A worker that has just started holds what starting took. What a mailbox adds shows between a fifth of them and all, both at rest.
  const few = Math.ceil(users.length / 5);
  await connectAll(context, everpost, users.slice(0, few));
  await delay(settleMs);
  const fewMb = residentMb(worker.pid);
  await connectAll(context, everpost, users.slice(few));
  progress("all are live; letting them come to rest");
  await delay(settleMs);

  const pids = { worker: worker.pid, temporal: everpost.temporal.pid, postgres: postgresPid, mailServer: everpost.mailServerPid };
  const ms = Math.max(30_000, idleMsAtScale1 * Math.min(1, scale));
  const before = { cpu: cpuOf(pids), actions: await everpost.countActions(), events: await countEvents(everpost) };
  const begun = performance.now();
  while (performance.now() - begun < ms) {
    await delay(Math.min(30_000, ms));
    progress(`${Math.round((performance.now() - begun) / 1_000)} of ${ms / 1_000} s; the worker holds ${residentMb(worker.pid)} MB`);
  }
  const minutes = (performance.now() - begun) / 60_000;
  const idleMb = residentMb(worker.pid);
  const cpu = Object.fromEntries(Object.entries(cpuOf(pids)).map(([name, after]) => [name, after - (before.cpu[name] ?? 0)]));
  const actions = (await everpost.countActions()) - before.actions;
  const events = (await countEvents(everpost)) - before.events;
  await worker.stop();

  const perDay = (count: number) => Math.round((count / users.length / minutes) * 1_440 * 10) / 10;
  const perMailboxMinute = (cost: number) => Math.round((cost / users.length / minutes) * 100) / 100;
  return {
    mailboxes: users.length,
    minutes: Math.round(minutes * 10) / 10,
    workerMb: idleMb,
    workerMbPerMailbox: Math.round(((idleMb - fewMb) / (users.length - few)) * 1_000) / 1_000,
    workerCpuMsPerMailboxMinute: perMailboxMinute(cpu.worker ?? 0),
    temporalCpuMsPerMailboxMinute: perMailboxMinute(cpu.temporal ?? 0),
    postgresCpuMsPerMailboxMinute: perMailboxMinute(cpu.postgres ?? 0),
    mailServerCpuMsPerMailboxMinute: perMailboxMinute(cpu.mailServer ?? 0),
    eventsPerMailboxDay: perDay(events),
    actionsPerMailboxDay: perDay(actions),
    ...(await measurePoller(context, everpost, users)),
  };
}

/** Two rounds of the script: what it computes in the second, when it knows where each mailbox stands. */
async function measurePoller({ progress }: BenchContext, everpost: BenchInstallation, users: readonly MailUser[]) {
  progress("the script that polls every minute, for two minutes");
  using poller = await startMinutePoller(everpost.imapPort, users);
  const pids = { poller: poller.pid, mailServer: everpost.mailServerPid };
  const before = cpuOf(pids);
  while (poller.rounds() < 2) await delay(200);
  const after = cpuOf(pids);
  const each = (name: keyof typeof pids) => Math.round((((after[name] ?? 0) - (before[name] ?? 0)) / users.length) * 100) / 100;
  return { pollerCpuMsPerMailboxMinute: each("poller"), polledMailServerCpuMsPerMailboxMinute: each("mailServer") };
}

async function connectAll(context: BenchContext, everpost: BenchInstallation, users: readonly MailUser[]): Promise<void> {
  const customer = await everpost.newCustomer();
  for (const user of users) await customer.connect(user);
  await untilLive(context, customer.id, users.length);
}

function residentMb(pid: number): number {
  return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024);
}

/** What the histories of all workflows hold together. */
async function countEvents({ temporal }: BenchInstallation): Promise<number> {
  const connection = await Connection.connect({ address: temporal.address });
  try {
    const { workflow } = new Client({ connection, namespace: temporal.namespace });
    let events = 0;
    for await (const { workflowId, runId } of workflow.list()) events += (await workflow.getHandle(workflowId, runId).describe()).historyLength;
    return events;
  } finally {
    await connection.close();
  }
}
