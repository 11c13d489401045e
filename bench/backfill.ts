import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { sql } from "kysely";
import type { MailboxId } from "../domain/ids.ts";
import { claimUser } from "../test/helpers/dovecot-server.ts";
import { type BareSources, runBareLoop } from "./bare-loop.ts";
import { cpuMs, ownCpuMs, peakMb } from "./costs.ts";
import type { BenchContext, Benchmark } from "./harness.ts";
import { type BenchInstallation, type BenchProcess, startBenchInstallation } from "./installation.ts";
import { correspondence } from "./mail.ts";
import { fillMailServer, type MailSizes, type MailUser } from "./mail-server.ts";

/** Parts: metadata, content, memory. First syncs, from the API call to the last row, beside a bare loop over the same mail that does nothing but fetch and insert. */
export const benchmark: Benchmark = {
  name: "backfill",
  targets: { metadataRatio: { min: 0.6 }, contentRatio: { min: 0.6 }, peakMb5k: { max: 350 }, peakMb100k: { max: 350 } },
  run,
};

const usualSizes: MailSizes = { min: 4_000, max: 60_000, attachmentShare: 1 / 3 };
const smallSizes: MailSizes = { min: 1_200, max: 1_600, attachmentShare: 0 };
/** After one that warms up: what they say is the middle one. A round of metadata is over in two seconds, of which each side by itself differs by a fifth. */
const rounds = { metadata: 7, content: 3 };

async function run(context: BenchContext): Promise<Readonly<Record<string, number>>> {
  const { scale, progress } = context;
  const mail = correspondence(3, { words: 20_000, people: 3_000 });
  const counts = { main: Math.round(20_000 * scale), few: Math.round(5_000 * scale), many: Math.round(100_000 * scale) };
  await using everpost = await startBenchInstallation(context);
  const fill = async (count: number, sizes: MailSizes, seed: number): Promise<MailUser> => {
    const user = claimUser(everpost.mailDir);
    const onStored = (n: number) => {
      if (n % 5_000 < 250) progress(`${n} of ${count} messages in the mail server`);
    };
    await fillMailServer(everpost.imapPort, user, mail, { count, sizes, seed, onStored });
    return user;
  };
  const isWanted = (part: string) => context.parts.length === 0 || context.parts.includes(part);
  const figures: Record<string, number> = { messages: counts.main };
  const kinds = (["metadata", "content"] as const).filter(isWanted);
  if (kinds.length > 0) {
    const bench: Backfill = { context, everpost, user: await fill(counts.main, usualSizes, 5), count: counts.main };
    const worker = await everpost.startWorker();
    for (const kind of kinds) Object.assign(figures, await compare(bench, worker, kind));
    await worker.stop();
  }
  if (!isWanted("memory")) return figures;

  for (const [name, count] of [
    ["peakMb5k", counts.few],
    ["peakMb100k", counts.many],
  ] as const) {
    const small = await fill(count, smallSizes, count);
    const fresh = await everpost.startWorker();
    const { ms } = await backfill({ context, everpost, user: small, count }, "metadata");
    await untilNothingWaits(context);
    figures[name] = peakMb(fresh.pid);
    progress(`${count} messages: ${perSecond(count, ms)} a second, ${figures[name]} MB at most`);
    await fresh.stop();
  }
  return figures;
}

interface Backfill {
  readonly context: BenchContext;
  readonly everpost: BenchInstallation;
  readonly user: MailUser;
  readonly count: number;
}

type Kind = "metadata" | "content";

/** The bare loop and Everpost in turns, so that what else the machine does meets both alike. CPU is that of the process at work and of PostgreSQL. */
async function compare(bench: Backfill, worker: BenchProcess, kind: Kind): Promise<Readonly<Record<string, number>>> {
  const { context, everpost, user, count } = bench;
  const { postgresPid, progress } = context;
  const postgres = () => cpuMs(postgresPid);
  const bareLoop = async (sources: BareSources) =>
    costOf({ own: () => ownCpuMs(process.pid), postgres }, async () => {
      const loop = { db: context.db, imapPort: everpost.imapPort, user, folder: join(context.folder, "bare-sources") };
      const stored = await runBareLoop(loop, sources);
      if (stored !== count) throw new Error(`the bare loop stored ${stored} of ${count} messages`);
    });
  const taken: { bare: Cost; kept: Cost; full: Cost; previewsMs: number }[] = [];
  for (let round = 0; round <= rounds[kind]; round += 1) {
    const bare = await bareLoop(kind === "content" ? "parsed" : "none");
    const kept = kind === "content" ? await bareLoop("kept") : bare;
    const full = await costOf({ own: () => cpuMs(worker.pid), postgres }, () => backfill(bench, kind));
    // Lines of preview come behind the listing: they must not cost the next round.
    const started = performance.now();
    await untilNothingWaits(context);
    const said = (name: string, { ms, own, postgres }: Cost) =>
      `${name} ${perSecond(count, ms)} a second (CPU ${perMessage(own, count)} + ${perMessage(postgres, count)} ms)`;
    progress(
      `${kind}: ${[said("bare", bare), ...(kind === "content" ? [said("and what it reads kept", kept)] : []), said("Everpost", full)].join(", ")}`,
    );
    taken.push({ bare, kept, full, previewsMs: performance.now() - started });
  }
  const measured = taken.slice(1);
  const middle = (read: (one: (typeof measured)[number]) => number) =>
    measured.map(read).sort((a, b) => a - b)[Math.floor(measured.length / 2)] ?? Number.NaN;
  const ratioTo = (loop: "bare" | "kept") => Math.round(middle((one) => one[loop].ms / one.full.ms) * 100) / 100;
  const rateOf = (part: "bare" | "kept" | "full") =>
    perSecond(
      count,
      middle(({ [part]: { ms } }) => ms),
    );
  const cpuOf = (part: "bare" | "kept" | "full") =>
    perMessage(
      middle(({ [part]: { own, postgres } }) => own + postgres),
      count,
    );
  const rates = { [`${kind}Ratio`]: ratioTo("bare"), [`${kind}CeilingPerSecond`]: rateOf("bare"), [`${kind}PerSecond`]: rateOf("full") };
  if (kind === "metadata") {
    const previewsPerSecond = perSecond(
      count,
      middle(({ previewsMs }) => previewsMs),
    );
    return { ...rates, previewsPerSecond, cpuMsPerMessage: cpuOf("full"), bareCpuMsPerMessage: cpuOf("bare") };
  }
  const keptLoop = { contentKeptLoopRatio: ratioTo("kept"), contentKeptLoopPerSecond: rateOf("kept"), keptLoopContentCpuMsPerMessage: cpuOf("kept") };
  return { ...rates, ...keptLoop, contentCpuMsPerMessage: cpuOf("full"), bareContentCpuMsPerMessage: cpuOf("bare") };
}

/** From the call that connects the mailbox until all its messages, and what is wanted of them, are stored. */
async function backfill({ context, everpost, user, count }: Backfill, kind: Kind): Promise<{ readonly ms: number }> {
  const started = performance.now();
  const id = await everpost.connect(user, kind === "content" ? { content: "full" } : undefined);
  for (;;) {
    if (await isStored(context, id, kind)) break;
    await delay(20);
  }
  const ms = performance.now() - started;
  const { rows } = await sql<{ stored: number; kept: number }>`
    select count(*)::int as stored, count(*) filter (where content_state = 'kept')::int as kept from messages where mailbox_id = ${id}
  `.execute(context.db);
  const [row] = rows;
  if (row?.stored !== count || (kind === "content" && row.kept !== count))
    throw new Error(`of ${count} messages, ${row?.stored} were stored and ${row?.kept} kept`);
  return { ms };
}

async function isStored({ db }: BenchContext, id: MailboxId, kind: Kind): Promise<boolean> {
  const row = await db.selectFrom("mailboxes").select("import_finished_at").where("id", "=", id).executeTakeFirstOrThrow();
  if (row.import_finished_at === null) return false;
  if (kind === "metadata") return true;
  const waiting = await db.selectFrom("messages").select("id").where("mailbox_id", "=", id).where("content_state", "=", "pending").limit(1).execute();
  return waiting.length === 0;
}

async function untilNothingWaits({ db }: BenchContext): Promise<void> {
  while ((await db.selectFrom("messages").select("id").where("content_state", "=", "pending").limit(1).execute()).length > 0) await delay(50);
}

/** What something took, and what the process that did it and PostgreSQL computed for it, in ms. */
interface Cost {
  readonly ms: number;
  readonly own: number;
  readonly postgres: number;
}

async function costOf(cpu: { readonly own: () => number; readonly postgres: () => number }, work: () => Promise<unknown>): Promise<Cost> {
  const [started, own, postgres] = [performance.now(), cpu.own(), cpu.postgres()];
  await work();
  return { ms: performance.now() - started, own: cpu.own() - own, postgres: cpu.postgres() - postgres };
}

function perSecond(count: number, ms: number): number {
  return Math.round((count / ms) * 1_000);
}

function perMessage(ms: number, count: number): number {
  return Math.round((ms / count) * 1_000) / 1_000;
}
