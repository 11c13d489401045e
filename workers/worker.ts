import {
  type LogLevel,
  type LogMetadata,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  type Logger as TemporalLogger,
  Worker,
  type WorkerOptions,
} from "@temporalio/worker";
import { createActivities } from "../activities/index.ts";
import { createRelays } from "../activities/relays.ts";
import { openBlobStore } from "../blobs/index.ts";
import { type Config, ConfigError, loadConfig, type WorkerRole } from "../config.ts";
import { openConnectionSlots } from "../db/connection-slots.ts";
import { openDatabase } from "../db/database.ts";
import { createEnding } from "../ending.ts";
import { createLogger, type Logger } from "../logging.ts";
import { createHostResolver } from "../network/resolve-host.ts";
import { getProvider } from "../providers/index.ts";
import { createSessions } from "../sessions/sessions.ts";
import { createDeliverer } from "../webhooks/deliver.ts";
import { taskQueueName } from "../workflows/names.ts";
import { loadBundle } from "./bundle.ts";
import { connectClient, temporalOptions } from "./connection.ts";
import { cutBuffersFromSmallPieces, whileThreadsAreSmall } from "./memory.ts";
import { ensureSchedules } from "./schedules.ts";
import { createSignals } from "./signals.ts";
import { createTally } from "./tally.ts";

/** Slots by role: safety valves of this process, never the enforcement of somebody else's limit. */
const slots: Readonly<Record<WorkerRole, Partial<WorkerOptions>>> = {
  mail: { maxConcurrentActivityTaskExecutions: 100, maxConcurrentWorkflowTaskExecutions: 100, maxConcurrentLocalActivityExecutions: 50 },
  providers: { maxConcurrentActivityTaskExecutions: 100 },
  bulk: { maxConcurrentActivityTaskExecutions: 8 },
  content: { maxConcurrentActivityTaskExecutions: 4 },
  idle: { maxConcurrentActivityTaskExecutions: 4 },
  webhooks: { maxConcurrentActivityTaskExecutions: 100 },
};

/** What stops a worker gives it 25 seconds (docs/operations.md). Each ms below counts from the signal. */
const endsWithinMs = 25_000;
/** Until then activities may finish by themselves; then they are cancelled. */
const graceMs = 10_000;
/** Then what is at work is left to another worker. */
const drainedByMs = 20_000;
const deliveredByMs = 22_000;
const loggedOutByMs = 23_000;
const closedByMs = 24_000;

/** Runs the workers of the configured roles until SIGTERM, then drains: what is at work may finish, what cannot is handed to another worker. */
async function main(config: Config): Promise<void> {
  const log = createLogger(config.log, { part: "worker", roles: config.worker.roles });
  const tally = createTally();
  const ending = createEnding({ log, withinMs: endsWithinMs, alsoUnderWay: tally.list });
  const draining = drainingSignal();
  draining.addEventListener("abort", ending.begin, { once: true });
  cutBuffersFromSmallPieces();
  installRuntime(config, log);
  const db = openDatabase({ ...config.database, onIdleError: (error) => log.warn({ error: error.name }, "a database connection broke") });
  const { client, close: closeClient } = await connectClient(config.temporal);
  const connection = await NativeConnection.connect(temporalOptions(config.temporal));
  const resolveHost = createHostResolver({ allowPrivateNetworks: config.allowPrivateNetworks });
  const deliverer = createDeliverer({ resolveHost });
  const connectionSlots = await openConnectionSlots(config.database.url);
  const sessions = createSessions({ keyRing: config.keyRing, getProvider, resolveHost, slots: connectionSlots });
  const signals = createSignals(client, config.temporal.taskQueuePrefix);
  const drainsItself = config.worker.roles.includes("webhooks");
  const relays = createRelays({ db, keyRing: config.keyRing, log, signals, deliverer, draining }, { drainsItself });
  const activities = createActivities(
    {
      db,
      blobs: openBlobStore(config.blobs),
      databaseUrl: config.database.url,
      keyRing: config.keyRing,
      log,
      signals,
      relays,
      resolveHost,
      deliverer,
      getProvider,
      draining,
      allowPrivateNetworks: config.allowPrivateNetworks,
      sync: config.sync,
    },
    sessions,
  );
  const forWorkflows = config.worker.roles.includes("mail") ? await workflowOptions(config.worker) : {};
  const workers = await whileThreadsAreSmall(() =>
    Promise.all(
      config.worker.roles.map((role) =>
        Worker.create({
          connection,
          namespace: config.temporal.namespace,
          taskQueue: taskQueueName(config.temporal.taskQueuePrefix, role),
          identity: config.worker.identity,
          activities,
          ...(role === "mail" ? forWorkflows : {}),
          ...slots[role],
          shutdownGraceTime: graceMs,
          shutdownForceTime: drainedByMs,
          interceptors: { activity: [tally.interceptor] },
          maxHeartbeatThrottleInterval: "5 seconds",
        }),
      ),
    ),
  );
  if (config.worker.roles.includes("mail")) await ensureSchedules(client, config.temporal.taskQueuePrefix);
  const running = Promise.all(workers.map((worker) => worker.run()));
  process.send?.({ type: "ready" });
  log.info("the worker is up");
  try {
    await ending.awaits("the SDK's workers", running);
    log.info("the worker has drained");
  } catch (error) {
    log.error({ underWay: tally.list() }, "the worker has not drained: what it was at is left to another one");
    throw error;
  } finally {
    await ending.step("deliveries that it had begun", deliveredByMs, () => relays.settled());
    await ending.step("sessions with mail servers", loggedOutByMs, () => sessions.closeAll());
    await Promise.all([
      ending.step("the places of its connections", closedByMs, () => connectionSlots.close()),
      ending.step("connections to webhook endpoints", closedByMs, () => deliverer.close()),
      ending.step("the workers' connection to Temporal", closedByMs, () => connection.close()),
      ending.step("the client's connection to Temporal", closedByMs, closeClient),
      ending.step("the database", closedByMs, () => db.destroy()),
    ]);
  }
}

async function workflowOptions({ cachedWorkflowsMax, activatesPatches }: Config["worker"]): Promise<Partial<WorkerOptions>> {
  return {
    workflowBundle: await loadBundle(),
    maxCachedWorkflows: cachedWorkflowsMax,
    // Asked where a workflow meets a change that its history does not know yet. A worker of an earlier release cannot run a history that knows it.
    ...(activatesPatches ? {} : { patchActivationCallback: () => false }),
  };
}

/** The SDK stops polling on these signals; long activities hear of it here and need not be waited for. */
function drainingSignal(): AbortSignal {
  const draining = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => draining.abort());
  return draining.signal;
}

function installRuntime(config: Config, log: Logger): void {
  Runtime.install({
    // The SDK listens to these signals and drains every worker of the process.
    shutdownSignals: ["SIGINT", "SIGTERM"],
    logger: sdkLogger(log),
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: "WARN", other: "ERROR" }), forward: {} },
      ...(config.worker.metricsAddress === undefined
        ? {}
        : {
            metrics: {
              prometheus: { bindAddress: config.worker.metricsAddress, countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true },
            },
          }),
    },
  });
}

/** The SDK's lines in ours. What it calls information (each worker's every change of state) is detail here. */
function sdkLogger(log: Logger): TemporalLogger {
  const at = { TRACE: "trace", DEBUG: "debug", INFO: "debug", WARN: "warn", ERROR: "error" } as const;
  const write = (level: LogLevel, message: string, meta: LogMetadata = {}) => {
    // Workers without workflows say at each start that they have none.
    const isExpected = message === "No workflows registered, not polling for workflow tasks";
    log[isExpected ? "debug" : at[level]](meta, message);
  };
  return {
    log: write,
    trace: (message, meta) => write("TRACE", message, meta),
    debug: (message, meta) => write("DEBUG", message, meta),
    info: (message, meta) => write("INFO", message, meta),
    warn: (message, meta) => write("WARN", message, meta),
    error: (message, meta) => write("ERROR", message, meta),
  };
}

try {
  await main(loadConfig(process.env));
  process.exit(0);
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
}
