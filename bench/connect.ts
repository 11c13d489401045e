import { setTimeout as delay } from "node:timers/promises";
import { claimUser } from "../test/helpers/dovecot-server.ts";
import { runBareLoop } from "./bare-loop.ts";
import { cpuOf } from "./costs.ts";
import type { BenchContext, Benchmark } from "./harness.ts";
import { type BenchInstallation, startBenchInstallation } from "./installation.ts";
import { untilLive } from "./live.ts";
import { correspondence } from "./mail.ts";
import { fillMailServer, type MailUser } from "./mail-server.ts";

/** A customer's first minute: 20 mailboxes of 500 messages, from the first API call until all are live and every envelope is stored. */
export const benchmark: Benchmark = { name: "connect", targets: { allLiveMs: { max: 3_000 } }, run };

const mailboxesAtScale1 = 20;
const messagesEach = 500;
/** After one on a worker that has just started: what they say is the middle one. */
const rounds = 3;

async function run(context: BenchContext): Promise<Readonly<Record<string, number>>> {
  const { scale, progress, db, postgresPid } = context;
  const mail = correspondence(3, { words: 20_000, people: 3_000 });
  await using everpost = await startBenchInstallation(context);
  const users = Array.from({ length: Math.max(2, Math.round(mailboxesAtScale1 * scale)) }, () => claimUser(everpost.mailDir));
  for (const [index, user] of users.entries()) {
    const sizes = { min: 4_000, max: 60_000, attachmentShare: 1 / 3 };
    await fillMailServer(everpost.imapPort, user, mail, { count: messagesEach, sizes, seed: index, onStored: () => {} });
    progress(`${index + 1} of ${users.length} mailboxes filled`);
  }
  const worker = await everpost.startWorker();
  const pids = { worker: worker.pid, temporal: everpost.temporal.pid, postgres: postgresPid, mailServer: everpost.mailServerPid };
  const coldMs = await connectAll(context, everpost, users);
  progress(`on a worker that has just started: ${Math.round(coldMs)} ms`);
  await untilPreviewed(context);
  const taken: { readonly bare: number; readonly full: number; readonly previews: number }[] = [];
  const cpu = new Map<string, number>();
  for (let round = 0; round < rounds; round += 1) {
    const begun = performance.now();
    for (const user of users) await runBareLoop({ db, imapPort: everpost.imapPort, user, folder: "" }, "none");
    const bare = performance.now() - begun;
    const before = cpuOf(pids);
    const full = await connectAll(context, everpost, users);
    for (const [name, ms] of Object.entries(cpuOf(pids))) cpu.set(name, (cpu.get(name) ?? 0) + ms - (before[name] ?? 0));
    // What comes behind the listing is no part of the figure, and must not be part of the next round's either.
    await untilPreviewed(context);
    const previews = performance.now() - begun - bare;
    progress(`all live after ${Math.round(full)} ms, lines of preview after ${Math.round(previews)} ms; the bare loop took ${Math.round(bare)} ms`);
    taken.push({ bare, full, previews });
  }
  await worker.stop();
  const middle = (values: readonly number[]) => Math.round(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN);
  return {
    mailboxes: users.length,
    messages: users.length * messagesEach,
    allLiveMs: middle(taken.map(({ full }) => full)),
    afterStartMs: Math.round(coldMs),
    allPreviewedMs: middle(taken.map(({ previews }) => previews)),
    bareLoopMs: middle(taken.map(({ bare }) => bare)),
    ...Object.fromEntries([...cpu].map(([name, ms]) => [`${name}CpuMsPerMailbox`, Math.round(ms / rounds / users.length)])),
  };
}

/** Until every message that is to get a line of preview has it. */
async function untilPreviewed({ db }: BenchContext): Promise<void> {
  const isWaiting = () => db.selectFrom("messages").select("id").where("content_state", "=", "pending").limit(1).executeTakeFirst();
  while ((await isWaiting()) !== undefined) await delay(50);
}

/** By API calls beside each other, as a product moves in. Live: listened to, and the first sync done. */
async function connectAll(context: BenchContext, everpost: BenchInstallation, users: readonly MailUser[]): Promise<number> {
  const customer = await everpost.newCustomer();
  const started = performance.now();
  await Promise.all(users.map((user) => customer.connect(user)));
  await untilLive(context, customer.id, users.length, 10);
  const ms = performance.now() - started;
  const { stored } = await context.db
    .selectFrom("messages")
    .select(({ fn }) => fn.countAll<number>().as("stored"))
    .where("customer_id", "=", customer.id)
    .executeTakeFirstOrThrow();
  if (stored !== users.length * messagesEach) throw new Error(`${stored} of ${users.length * messagesEach} messages were stored`);
  return ms;
}
