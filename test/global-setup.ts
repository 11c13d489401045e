import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { openDatabase } from "../db/database.ts";
import { migrate } from "../db/migrate.ts";
import { freePort } from "../embedded/ports.ts";
import { startPostgres } from "../embedded/postgres.ts";
import type { RunningPart } from "../embedded/processes.ts";
import { startTemporal } from "../embedded/temporal.ts";
import { findTemporalBinary } from "../embedded/temporal-binary.ts";
import type { DovecotAddress } from "./helpers/dovecot.ts";
import { startDovecot } from "./helpers/dovecot-server.ts";
import { endWithTests, sweep, testDirectory } from "./helpers/test-run.ts";

declare module "vitest" {
  interface ProvidedContext {
    postgresUrl: string;
    templateDatabase: string;
    temporalAddress: string;
    temporalNamespace: string;
    /** What the servers write while they run, by whose log it is. */
    serverLogs: Readonly<Record<string, string>>;
    dovecot: DovecotAddress & { readonly dir: string };
  }
}

/** One PostgreSQL with a migrated template, one Temporal server and one Dovecot for the whole run; each test file takes a part of its own. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = testDirectory("run");
  const parts: RunningPart[] = [];
  const keep = <T extends RunningPart>(part: T, ask: NodeJS.Signals): T => {
    parts.push(part);
    endWithTests(dir, part.pid, ask);
    return part;
  };
  // Ctrl-C and crashes of the runner come this way: signals are sent at once, the files go with the next run.
  const sweepNow = () => sweep(dir);
  process.once("exit", sweepNow);
  try {
    project.provide("serverLogs", { "PostgreSQL's log": join(dir, "postgres.log"), "Temporal's log": join(dir, "temporal.log") });
    await Promise.all([postgres(project, dir, keep), temporal(project, dir, keep), imapServer(project, dir, keep)]);
  } catch (error) {
    await Promise.all(parts.map((part) => part.stop()));
    throw error;
  }
  return async () => {
    await Promise.all(parts.map((part) => part.stop()));
    process.off("exit", sweepNow);
    sweep(dir);
  };
}

type Keep = <T extends RunningPart>(part: T, ask: NodeJS.Signals) => T;

async function postgres(project: TestProject, dir: string, keep: Keep): Promise<void> {
  const server = await startPostgres({
    dataDir: join(dir, "postgres"),
    port: await freePort(),
    password: randomBytes(12).toString("hex"),
    logFile: join(dir, "postgres.log"),
    settings: { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "300", scram_iterations: "1" },
  });
  keep(server, "SIGINT");
  const db = openDatabase({ url: server.url, poolMax: 2 });
  try {
    await migrate(db);
  } finally {
    // A database in use cannot be a template.
    await db.destroy();
  }
  const admin = new URL(server.url);
  admin.pathname = "/postgres";
  project.provide("postgresUrl", admin.href);
  project.provide("templateDatabase", "everpost");
}

async function temporal(project: TestProject, dir: string, keep: Keep): Promise<void> {
  const server = await startTemporal({
    binary: await findTemporalBinary(process.env, (line) => console.log(line)),
    dbFile: join(dir, "temporal", "temporal.db"),
    logFile: join(dir, "temporal.log"),
    port: await freePort(),
    namespace: "mail",
  });
  keep(server, "SIGTERM");
  project.provide("temporalAddress", server.address);
  project.provide("temporalNamespace", server.namespace);
}

async function imapServer(project: TestProject, dir: string, keep: Keep): Promise<void> {
  const server = await startDovecot(join(dir, "dovecot"));
  keep(server, "SIGTERM");
  const { imap, imaps, lmtp } = server.ports;
  project.provide("dovecot", { dir: server.dir, host: "127.0.0.1", imapPort: imap, imapsPort: imaps, lmtpPort: lmtp, caFile: server.caFile });
}
