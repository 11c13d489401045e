import { randomBytes } from "node:crypto";
import { Client, Connection } from "@temporalio/client";
import { NativeConnection, Runtime, Worker } from "@temporalio/worker";
import { createActivities } from "../../activities/index.ts";
import { createRelays } from "../../activities/relays.ts";
import { createCommands } from "../../api/temporal-commands.ts";
import { openBlobStore } from "../../blobs/index.ts";
import { openConnectionSlots } from "../../db/connection-slots.ts";
import { createLogger } from "../../logging.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { getProvider } from "../../providers/index.ts";
import { createSessions } from "../../sessions/sessions.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { createSignals } from "../../workers/signals.ts";
import { type TaskQueue, taskQueueName } from "../../workflows/names.ts";
import { temporalAddress, temporalNamespace, workflowCache } from "../helpers/temporal.ts";
import { type Api, startApi } from "./api.ts";

export interface WholeApi extends Api {
  readonly client: Client;
  readonly taskQueuePrefix: string;
  /** Starts workers for these queues; they stop with the API. */
  startWorkers(queues: readonly TaskQueue[]): Promise<void>;
}

/** The API with the real Temporal behind it, on task queues of its own, and workers on demand. */
export async function startWholeApi(options: { readonly timeoutMs?: number; readonly address?: string } = {}): Promise<WholeApi> {
  const taskQueuePrefix = `api-${randomBytes(4).toString("hex")}`;
  const connection = Connection.lazy({ address: options.address ?? temporalAddress() });
  const client = new Client({ connection, namespace: temporalNamespace() });
  const timeouts = options.timeoutMs === undefined ? {} : { commandTimeoutMs: options.timeoutMs, serverTimeoutMs: options.timeoutMs };
  const api = await startApi({
    commands: () => createCommands({ client, taskQueuePrefix, ...timeouts }),
  });
  const stops: (() => Promise<void>)[] = [];
  return {
    ...api,
    client,
    taskQueuePrefix,
    async startWorkers(queues) {
      stops.push(await startWorkers(api, client, taskQueuePrefix, queues));
    },
    async [Symbol.asyncDispose]() {
      for (const stop of stops) await stop();
      await connection.close();
      await api[Symbol.asyncDispose]();
    },
  };
}

async function startWorkers(api: Api, client: Client, prefix: string, queues: readonly TaskQueue[]): Promise<() => Promise<void>> {
  quietRuntime();
  const connection = await NativeConnection.connect({ address: temporalAddress() });
  const resolveHost = createHostResolver({ allowPrivateNetworks: api.config.allowPrivateNetworks });
  const deliverer = createDeliverer({ resolveHost });
  const slots = await openConnectionSlots(api.config.database.url);
  const sessions = createSessions({ keyRing: api.config.keyRing, getProvider, resolveHost, slots });
  const drains = {
    db: api.db,
    keyRing: api.config.keyRing,
    log: createLogger({ level: "silent", isPretty: false }),
    signals: createSignals(client, prefix),
    deliverer,
    draining: new AbortController().signal,
  };
  const relays = createRelays(drains, { drainsItself: queues.includes("webhooks") });
  const activities = createActivities(
    {
      ...drains,
      relays,
      blobs: openBlobStore(api.config.blobs),
      databaseUrl: api.config.database.url,
      resolveHost,
      getProvider,
      allowPrivateNetworks: api.config.allowPrivateNetworks,
      sync: api.config.sync,
    },
    sessions,
  );
  const workflowsPath = new URL("../../workflows/index.ts", import.meta.url).pathname;
  const workers = await Promise.all(
    queues.map((queue) =>
      Worker.create({
        connection,
        namespace: temporalNamespace(),
        taskQueue: taskQueueName(prefix, queue),
        activities,
        ...(queue === "mail" ? { workflowsPath, ...workflowCache() } : {}),
        shutdownForceTime: "5 seconds",
      }),
    ),
  );
  const running = Promise.all(workers.map((worker) => worker.run()));
  running.catch(() => {});
  return async () => {
    for (const worker of workers) worker.shutdown();
    await running.catch(() => {});
    await relays.settled();
    await sessions.closeAll();
    await slots.close();
    await deliverer.close();
    await connection.close();
  };
}

let isQuiet = false;

function quietRuntime(): void {
  if (isQuiet) return;
  isQuiet = true;
  Runtime.install({ telemetryOptions: { logging: { filter: "OFF" } }, shutdownSignals: [] });
}
