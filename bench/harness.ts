import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { sql } from "kysely";
import { type Database, openDatabase } from "../db/database.ts";
import { migrate } from "../db/migrate.ts";
import { freePort } from "../embedded/ports.ts";
import { startPostgres } from "../embedded/postgres.ts";

/** A figure's bound: it passes at `max` and below, or at `min` and above. */
export type Target = { readonly max: number } | { readonly min: number };

export interface Benchmark {
  readonly name: string;
  readonly targets: Readonly<Record<string, Target>>;
  /** Measures; the figures' names are those of the targets, and any others that tell something. */
  readonly run: (context: BenchContext) => Promise<Readonly<Record<string, number>>>;
}

export interface BenchContext {
  readonly db: Database;
  readonly databaseUrl: string;
  readonly postgresPid: number;
  /** Where the run may leave files, beside PostgreSQL's. It is removed at the end, unless `BENCH_STORE` names one to keep and to use again. */
  readonly folder: string;
  /** Where CPU profiles go (a folder in the working directory), with `--profile`. */
  readonly profileDir: string | undefined;
  /** Parts that were named on the command line; all, where none was. */
  readonly parts: readonly string[];
  /** `BENCH_SCALE`: 1 is what the published figures are measured at. */
  readonly scale: number;
  /** What must not outlive the run, however it ends: done last first, and safe to do twice. */
  readonly atEnd: (end: () => Promise<void>) => void;
  /** Says on standard error how far it is; the last line replaces the one before on a terminal. */
  readonly progress: (line: string) => void;
}

/** Runs a benchmark on a PostgreSQL of its own, durable as in production, and prints a table and one line of JSON. */
export async function runBenchmark({ name, targets, run }: Benchmark): Promise<boolean> {
  const scale = Number(process.env.BENCH_SCALE ?? "1");
  if (!(scale > 0 && scale <= 10)) throw new Error("BENCH_SCALE is a number above 0, at most 10");
  const kept = process.env.BENCH_STORE;
  const folder = kept === undefined ? mkdtempSync(join(tmpdir(), "everpost-bench-")) : resolve(kept);
  mkdirSync(folder, { recursive: true });
  // Servers that run as another user than root must be able to pass through.
  chmodSync(folder, 0o711);
  const args = process.argv.slice(3);
  const profileDir = args.includes("--profile") ? resolve("profiles", name) : undefined;
  const parts = args.filter((arg) => !arg.startsWith("--"));
  const postgres = await startPostgres({
    ...{ dataDir: join(folder, "postgres"), port: await freePort(), password: "bench", logFile: join(folder, "postgres.log") },
    settings: { shared_buffers: "1GB", max_wal_size: "4GB", min_wal_size: "2GB" },
  });
  const db = openDatabase({ url: postgres.url, poolMax: 10 });
  // Ctrl-C ends with the same tidying: the process would leave its servers behind. It comes twice, from the terminal and from npm.
  const endings: (() => Promise<void>)[] = [];
  const atEnd: BenchContext["atEnd"] = (end) => void endings.push(end);
  const interrupted = new Promise<never>((_resolve, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => reject(new Error(`ended by ${signal}`)));
  });
  // Until the benchmark runs nobody waits for it.
  interrupted.catch(() => {});
  try {
    await migrate(db);
    await makeWalFiles(db);
    const started = performance.now();
    const context = { db, databaseUrl: postgres.url, postgresPid: postgres.pid, folder, profileDir, parts, scale, atEnd, progress };
    const figures = await Promise.race([run(context), interrupted]);
    const seconds = Math.round((performance.now() - started) / 1000);
    const { rows } = await sql<{ server_version: string }>`show server_version`.execute(db);
    return report({ name, targets, figures, scale, seconds, isWhole: parts.length === 0, postgresVersion: rows[0]?.server_version ?? "" });
  } finally {
    for (const end of endings.toReversed()) await end();
    await db.destroy();
    await postgres.stop();
    if (kept === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** As many as a measurement fills. */
const walFiles = 100;

/**
 * A server that has been at work for a day writes its log over old files. One that has just been made fills each of them with zeros first, 16 MB that a commit
 * in six or so waits 50 ms for: that would be measured of who writes most, and of nobody's second day.
 */
async function makeWalFiles(db: Database): Promise<void> {
  for (let made = 0; made < walFiles; made += 1) {
    await sql`select pg_logical_emit_message(true, 'bench', '')`.execute(db);
    await sql`select pg_switch_wal()`.execute(db);
  }
  await sql`checkpoint`.execute(db);
}

function progress(line: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}

interface Outcome {
  readonly name: string;
  readonly targets: Benchmark["targets"];
  readonly figures: Readonly<Record<string, number>>;
  readonly scale: number;
  readonly seconds: number;
  /** Every figure was wanted. */
  readonly isWhole: boolean;
  readonly postgresVersion: string;
}

function report({ name, targets, figures, scale, seconds, isWhole, postgresVersion }: Outcome): boolean {
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  console.log(`\nBenchmark ${name}, scale ${scale}, ${seconds} s`);
  console.log(`${availableParallelism()} × ${cpu}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform} ${process.arch}`);
  console.log(`Node ${process.version}, PostgreSQL ${postgresVersion}\n`);
  let pass = true;
  for (const [figure, value] of Object.entries(figures)) {
    const target = targets[figure];
    const isMet = target === undefined || ("max" in target ? value <= target.max : value >= target.min);
    pass &&= isMet;
    const wanted = target === undefined ? "" : "max" in target ? `at most ${target.max}` : `at least ${target.min}`;
    console.log(`${figure.padEnd(28)} ${String(value).padStart(12)}   ${wanted}${isMet ? "" : "   MISSED"}`);
  }
  for (const figure of isWhole ? Object.keys(targets) : []) if (figures[figure] === undefined) throw new Error(`${name} measured no ${figure}`);
  console.log(`\n${JSON.stringify({ bench: name, commit: commit(), scale, figures, targets, pass })}`);
  return pass;
}

function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown";
  }
}

/** The value that this share of all is not above, to a tenth. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 10) / 10;
}
