import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { openDatabase } from "./db/database.ts";
import { migrate } from "./db/migrate.ts";
import { type AppPart, startAppPart } from "./embedded/app-part.ts";
import { keptSecret, lockDataDir, makeDataDir } from "./embedded/data-dir.ts";
import { ensureKeys, ensureSandboxMailbox, type Keys } from "./embedded/first-run.ts";
import { followLog } from "./embedded/log-follower.ts";
import { endLeftover } from "./embedded/pid-file.ts";
import { requirePort } from "./embedded/ports.ts";
import { startPostgres } from "./embedded/postgres.ts";
import { type RunningPart, StartError, signal } from "./embedded/processes.ts";
import { step } from "./embedded/progress.ts";
import { readStartSettings, type StartSettings } from "./embedded/settings.ts";
import { summary } from "./embedded/summary.ts";
import { type Supervised, supervise } from "./embedded/supervise.ts";
import { startTemporal } from "./embedded/temporal.ts";
import { findTemporalBinary } from "./embedded/temporal-binary.ts";
import { prepareNamespace } from "./embedded/temporal-namespace.ts";

/** Everything in one terminal: PostgreSQL, Temporal, the worker, the API and the sandbox, each a process of its own that is started again when it dies. */
async function main(): Promise<void> {
  const settings = readStartSettings(process.env, import.meta.dirname);
  makeDataDir(settings.dataDir);
  const unlock = lockDataDir(settings.dataDir);
  process.once("exit", unlock);
  const run = newRun(settings);
  stopOnSignals(run);
  try {
    await startAll(run);
  } catch (error) {
    if (run.isStopping) return;
    await run.stop();
    throw error;
  }
}

interface Run {
  readonly settings: StartSettings;
  isStopping: boolean;
  /** Starts a part under supervision; parts are stopped in the reverse order. */
  keep<T extends RunningPart>(name: string, begin: (log: { file: string; lastWords: () => string }) => Promise<T>): Promise<Supervised<T>>;
  stop(): Promise<void>;
  /** No more patience: everything is told to end now, and nobody waits for it. */
  abandon(): void;
}

function newRun(settings: StartSettings): Run {
  const parts: { readonly name: string; readonly part: Supervised<RunningPart>; readonly unfollow: () => void }[] = [];
  const beginning = new Set<Promise<unknown>>();
  let stopping: Promise<void> | undefined;
  const run: Run = {
    settings,
    isStopping: false,
    keep: async (name, begin) => {
      if (run.isStopping) throw new StartError("stopping");
      const file = join(settings.dataDir, "logs", `${name}.log`);
      const log = followLog(file, (line) => run.isStopping || say(`${name}: ${line}`));
      const starting = supervise(() => begin({ file, lastWords: log.lastWords }), {
        name,
        say: (line) => run.isStopping || say(line),
        lastWords: log.lastWords,
      });
      beginning.add(starting);
      try {
        const part = await starting;
        parts.push({ name, part, unfollow: log.stop });
        return part;
      } catch (error) {
        log.stop();
        throw error;
      } finally {
        beginning.delete(starting);
      }
    },
    stop: () => {
      run.isStopping = true;
      stopping ??= (async () => {
        await Promise.allSettled(beginning);
        for (const stage of stopOrder) {
          const now = parts.filter(({ name }) => stage.includes(name));
          await Promise.all(now.map(({ part, unfollow, name }) => step(`stopping ${name}`, say, () => part.stop()).finally(unfollow)));
        }
      })();
      return stopping;
    },
    abandon: () => {
      for (const { name, part } of parts) signal(part.now.pid, mayBeKilled.includes(name) ? "SIGKILL" : "SIGTERM");
    },
  };
  return run;
}

/** Whoever uses a part ends before it: the API takes no more requests, the worker drains, then goes what they stand on. */
const stopOrder: readonly (readonly string[])[] = [["api"], ["worker"], ["sandbox", "temporal"], ["postgres"]];

/** These keep nothing in memory that matters; the others get the chance to close their files. */
const mayBeKilled: readonly string[] = ["api", "worker", "sandbox"];

const programs = { api: "api/server.ts", worker: "workers/worker.ts", sandbox: "sandbox/server.ts" } as const;

async function startAll(run: Run): Promise<void> {
  const { settings } = run;
  await step("ending what an earlier start left running", say, () => endLeftovers(settings));
  await requirePorts(settings);
  const [databaseUrl, temporal] = await Promise.all([prepareDatabase(run), prepareTemporal(run)]);
  const env = {
    ...process.env,
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: settings.temporalNamespace,
    EVERPOST_ENCRYPTION_KEYS:
      settings.encryptionKeys ?? keptSecret(settings.dataDir, "encryption-keys", () => `embedded:${randomBytes(32).toString("base64")}`),
    EVERPOST_ALLOW_PRIVATE_NETWORKS: settings.allowPrivateNetworks,
    EVERPOST_BLOB_DIR: process.env.EVERPOST_BLOB_DIR || join(settings.dataDir, "blobs"),
    EVERPOST_API_PORT: String(settings.apiPort),
    // The terminal shows warnings out of the logs, which must be JSON for that.
    EVERPOST_LOG_PRETTY: "false",
  };
  const app: StartApp = (name, more = {}) =>
    step(`starting the ${name}`, say, () =>
      run.keep(name, (log) =>
        startAppPart({
          name: `the ${name}`,
          file: programs[name],
          env: { ...env, ...more },
          logFile: log.file,
          pidFile: pidFile(settings, name),
          lastWords: log.lastWords,
        }),
      ),
    );
  const keys = await makeKeys(databaseUrl, settings.dataDir);
  const [, , sandbox] = await Promise.all([app("worker"), app("api"), startSandbox(run, app)]);
  const apiUrl = `http://127.0.0.1:${settings.apiPort}`;
  const account = sandbox === undefined ? undefined : sandboxAccount(sandbox.now, settings);
  const mailbox =
    account === undefined
      ? undefined
      : {
          ...account,
          mailboxId: await step("connecting the sandbox mailbox", say, () => ensureSandboxMailbox(apiUrl, keys.customer, account, settings.dataDir)),
        };
  console.log(summary({ settings, apiUrl, temporal, keys, sandbox: mailbox }));
}

/** Our programs end by themselves when their supervisor is gone, but one that hangs would work on beside its successor and hold its port. */
async function endLeftovers(settings: StartSettings): Promise<void> {
  const names = Object.keys(programs) as (keyof typeof programs)[];
  await Promise.all(names.map((name) => endLeftover(pidFile(settings, name), programs[name], "SIGTERM", 15_000)));
}

function pidFile(settings: StartSettings, name: string): string {
  return join(settings.dataDir, "logs", `${name}.pid`);
}

async function requirePorts({ apiPort, sandbox }: StartSettings): Promise<void> {
  await requirePort(apiPort, "the API", "EVERPOST_API_PORT");
  if (sandbox === undefined) return;
  await requirePort(sandbox.imapPort, "the sandbox's IMAP server", "EVERPOST_SANDBOX_IMAP_PORT");
  await requirePort(sandbox.smtpPort, "the sandbox's SMTP server", "EVERPOST_SANDBOX_SMTP_PORT");
}

async function prepareDatabase(run: Run): Promise<string> {
  const { settings } = run;
  const url = settings.databaseUrl ?? (await embeddedPostgres(run));
  await step("bringing the database up to date", say, async () => {
    const db = openDatabase({ url, poolMax: 1, statementMaxMs: null });
    try {
      await migrate(db);
    } catch (error) {
      if (settings.databaseUrl === undefined) throw error;
      throw new StartError(`the database that DATABASE_URL names cannot be used: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await db.destroy();
    }
  });
  return url;
}

async function embeddedPostgres(run: Run): Promise<string> {
  const { settings } = run;
  const password = keptSecret(settings.dataDir, "postgres-password");
  const dataDir = join(settings.dataDir, "postgres");
  const options = { dataDir, port: settings.postgresPort, portSetting: "EVERPOST_POSTGRES_PORT", password, settings: { max_connections: "200" } };
  const postgres = await step("starting PostgreSQL", say, () => run.keep("postgres", ({ file }) => startPostgres({ ...options, logFile: file })));
  return postgres.now.url;
}

interface PreparedTemporal {
  readonly address: string;
  readonly source: string;
  readonly uiUrl: string | undefined;
}

async function prepareTemporal(run: Run): Promise<PreparedTemporal> {
  const { settings } = run;
  const temporal = settings.temporalAddress === undefined ? await embeddedTemporal(run) : existingTemporal(settings.temporalAddress);
  await step("preparing Temporal's namespace", say, () => prepareCluster(settings));
  return temporal;
}

function existingTemporal(address: string): PreparedTemporal {
  return { address, source: `the cluster at ${address} (TEMPORAL_ADDRESS)`, uiUrl: undefined };
}

async function embeddedTemporal(run: Run): Promise<PreparedTemporal> {
  const { settings } = run;
  const binary = await step("looking for a Temporal server", say, (tell) => findTemporalBinary(process.env, tell));
  const options = {
    binary,
    dbFile: join(settings.dataDir, "temporal", "temporal.db"),
    port: settings.temporalPort,
    uiPort: settings.temporalUiPort,
    portSettings: { port: "EVERPOST_TEMPORAL_PORT", uiPort: "EVERPOST_TEMPORAL_UI_PORT" },
    namespace: settings.temporalNamespace,
  };
  await step("starting Temporal", say, () => run.keep("temporal", ({ file }) => startTemporal({ ...options, logFile: file })));
  return {
    address: `127.0.0.1:${settings.temporalPort}`,
    source: `${binary.path} (from ${binary.source})`,
    uiUrl: `http://127.0.0.1:${settings.temporalUiPort}/namespaces/${settings.temporalNamespace}/workflows`,
  };
}

/** An existing cluster is reached by Temporal's own environment configuration: address, TLS, API key. */
async function prepareCluster(settings: StartSettings): Promise<void> {
  const { connectionOptions } =
    settings.temporalAddress === undefined ? { connectionOptions: { address: `127.0.0.1:${settings.temporalPort}` } } : loadClientConnectConfig();
  let connection: Connection;
  try {
    connection = await Connection.connect({ ...connectionOptions, connectTimeout: 10_000 });
  } catch (error) {
    throw new StartError(
      `Temporal at ${connectionOptions.address} does not answer (${error instanceof Error ? error.message : String(error)}); TEMPORAL_ADDRESS names it`,
    );
  }
  try {
    for (const made of await prepareNamespace(connection, settings.temporalNamespace)) say(`Temporal: made ${made}`);
  } finally {
    await connection.close();
  }
}

async function makeKeys(databaseUrl: string, dataDir: string): Promise<Keys> {
  const db = openDatabase({ url: databaseUrl, poolMax: 1 });
  try {
    return await ensureKeys(db, dataDir);
  } finally {
    await db.destroy();
  }
}

type StartApp = (name: keyof typeof programs, more?: Readonly<Record<string, string>>) => Promise<Supervised<AppPart>>;

async function startSandbox({ settings }: Run, app: StartApp): Promise<Supervised<AppPart> | undefined> {
  if (settings.sandbox === undefined) return undefined;
  const { imapPort, smtpPort } = settings.sandbox;
  return app("sandbox", {
    SANDBOX_DATA_DIR: join(settings.dataDir, "sandbox"),
    SANDBOX_IMAP_PORT: String(imapPort),
    SANDBOX_SMTP_PORT: String(smtpPort),
  });
}

function sandboxAccount(part: AppPart, settings: StartSettings) {
  const [account] = part.ready.accounts as readonly { readonly email: string; readonly password: string }[];
  if (account === undefined || settings.sandbox === undefined) throw new Error("the sandbox has no account");
  return { ...account, ...settings.sandbox };
}

function stopOnSignals(run: Run): void {
  let asked = 0;
  const stop = () => {
    asked += 1;
    if (asked > 1) {
      run.abandon();
      process.exit(130);
    }
    console.log("\nStopping; press Ctrl-C again to stop at once.");
    run.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, stop);
}

function say(line: string): void {
  console.log(`· ${line}`);
}

try {
  await main();
} catch (error) {
  if (error instanceof StartError) console.error(`Everpost cannot start: ${error.message}`);
  else console.error(error);
  process.exit(1);
}
