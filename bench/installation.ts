import { closeSync, mkdirSync, openSync } from "node:fs";
import { join, resolve } from "node:path";
import { createAccessKey } from "../db/access-keys.ts";
import { createCustomer } from "../db/customers.ts";
import { keyScopes } from "../domain/access.ts";
import type { EventType } from "../domain/events.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../domain/ids.ts";
import { readyMessage, spawnEntryPoint } from "../embedded/entry-point.ts";
import { freePort } from "../embedded/ports.ts";
import { exitOf } from "../embedded/processes.ts";
import { startTemporal } from "../embedded/temporal.ts";
import { findTemporalBinary } from "../embedded/temporal-binary.ts";
import { startDovecot } from "../test/helpers/dovecot-server.ts";
import type { BenchContext } from "./harness.ts";
import type { MailUser } from "./mail-server.ts";

export interface BenchProcess {
  readonly pid: number;
  /** SIGTERM, and wait until it has drained. */
  stop(): Promise<void>;
}

export interface BenchCustomer {
  readonly id: CustomerId;
  /** The API call that connects a mailbox; resolves with its answer. */
  connect(user: MailUser, sync?: Readonly<Record<string, unknown>>): Promise<MailboxId>;
  /** Subscribes a URL to one type of event. */
  subscribe(url: string, eventType: EventType): Promise<WebhookEndpointId>;
}

export interface BenchOptions {
  /** The mail server puts idle sessions to sleep after a second. They are told at once, where others wait half a second. */
  readonly hibernates?: boolean;
}

/** Everpost as it is run, with default settings, beside a mail server: every part a process of its own, on loopback. */
export interface BenchInstallation extends AsyncDisposable {
  readonly imapPort: number;
  readonly lmtpPort: number;
  readonly mailServerPid: number;
  readonly temporal: { readonly address: string; readonly namespace: string; readonly pid: number };
  /** Where Dovecot keeps its users. */
  readonly mailDir: string;
  startWorker(): Promise<BenchProcess>;
  /** What Temporal would bill so far, as its server counts: workflows, activities, timers, signals, heartbeats. */
  countActions(): Promise<number>;
  newCustomer(): Promise<BenchCustomer>;
  /** Connects a mailbox for a customer of its own. */
  connect(user: MailUser, sync?: Readonly<Record<string, unknown>>): Promise<MailboxId>;
}

export async function startBenchInstallation(context: BenchContext, { hibernates = false }: BenchOptions = {}): Promise<BenchInstallation> {
  const { db, databaseUrl, folder, profileDir, progress } = context;
  const stops: (() => Promise<void>)[] = [];
  const stopAll = async () => {
    for (const stop of stops.toReversed()) await stop();
  };
  context.atEnd(stopAll);
  try {
    const mailDir = join(folder, "dovecot");
    mkdirSync(mailDir, { recursive: true, mode: 0o711 });
    progress("starting the mail server and Temporal");
    const dovecot = await startDovecot(mailDir, undefined, { hibernateSeconds: hibernates ? 1 : 0 });
    stops.push(() => dovecot.stop());
    const binary = await findTemporalBinary(process.env, progress);
    const files = { dbFile: join(folder, "temporal.db"), logFile: join(folder, "temporal.log") };
    const metricsPort = await freePort();
    const temporal = await startTemporal({ binary, ...files, port: await freePort(), metricsPort, namespace: "mail" });
    stops.push(() => temporal.stop());
    const env = {
      ...process.env,
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: "mail",
      EVERPOST_ENCRYPTION_KEYS: `bench:${Buffer.alloc(32, 7).toString("base64")}`,
      EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
      EVERPOST_BLOB_DIR: join(folder, "blobs"),
      EVERPOST_LOG_LEVEL: "warn",
    };
    const run = async (file: string, name: string) => {
      const { process: started, ready } = await spawnReady(file, {
        ...{ env: { ...env, ...profiling(profileDir, name) }, logFile: join(folder, `${name}.log`) },
      });
      stops.push(() => started.stop());
      return { started, ready };
    };
    const { ready } = await run("api/server.ts", "api");
    const origin = `http://127.0.0.1:${Number(ready.port)}`;
    const newCustomer = async (): Promise<BenchCustomer> => {
      const { id } = await createCustomer(db, { name: "Bench" });
      const { key } = await createAccessKey(db, { customerId: id, role: "customer", name: "bench", scopes: keyScopes });
      const post = async <Id>(path: string, body: unknown): Promise<Id> => {
        const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
        const response = await fetch(`${origin}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
        const answer = (await response.json()) as { readonly id: Id };
        if (response.status !== 201) throw new Error(`${path} was answered with ${response.status}: ${JSON.stringify(answer)}`);
        return answer.id;
      };
      const imap = { host: "127.0.0.1", port: dovecot.ports.imap, security: "none", allowInsecure: true };
      return {
        id,
        connect: (user, sync) => post<MailboxId>("/v1/mailboxes", { ...user, imap, ...(sync === undefined ? {} : { sync }) }),
        subscribe: (url, eventType) => post<WebhookEndpointId>("/v1/webhook-endpoints", { url, eventTypes: [eventType] }),
      };
    };
    return {
      imapPort: dovecot.ports.imap,
      lmtpPort: dovecot.ports.lmtp,
      mailServerPid: dovecot.pid,
      mailDir,
      temporal,
      startWorker: async () => (await run("workers/worker.ts", "worker")).started,
      countActions: () => countActions(metricsPort),
      newCustomer,
      connect: async (user, sync) => (await newCustomer()).connect(user, sync),
      [Symbol.asyncDispose]: stopAll,
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/**
 * The server's counter `action` has a series for each kind. The markers of one workflow task, where local activities leave their results, are billed as
 * one, so each marker by itself is not counted.
 */
async function countActions(metricsPort: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const series = text.matchAll(/^action(?:_total)?\{(.*)\} (\S+)$/gm);
  return [...series].filter(([, labels]) => !labels?.includes('"command_RecordMarker"')).reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** Node writes a profile for the process, and for each of its threads, when it ends. */
function profiling(dir: string | undefined, name: string): Readonly<Record<string, string>> {
  if (dir === undefined) return {};
  const into = resolve(dir, name);
  mkdirSync(into, { recursive: true });
  return { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${into}` };
}

async function spawnReady(file: string, { env, logFile }: { readonly env: NodeJS.ProcessEnv; readonly logFile: string }) {
  const log = openSync(logFile, "a");
  const child = spawnEntryPoint(file, { env: { EVERPOST_API_PORT: "0", ...env }, output: log });
  closeSync(log);
  const exited = exitOf(child);
  const ready = await new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
    child.on("message", (message) => {
      const said = readyMessage(message);
      if (said !== undefined) resolve(said);
    });
    void exited.then(({ code, signal }) => reject(new Error(`${file} ended (${signal ?? code}) before it was ready; see ${logFile}`)));
  });
  const started: BenchProcess = {
    pid: child.pid ?? -1,
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
  return { process: started, ready };
}
