import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { pathToFileURL } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { openBlobStore } from "../blobs/index.ts";
import { type Config, ConfigError, loadConfig } from "../config.ts";
import { connectionSlotsOnDemand } from "../db/connection-slots.ts";
import { openDatabase } from "../db/database.ts";
import { createEnding } from "../ending.ts";
import { createLogger } from "../logging.ts";
import { createHostResolver } from "../network/resolve-host.ts";
import { getProvider } from "../providers/index.ts";
import { createSessions } from "../sessions/sessions.ts";
import { createApp } from "./app.ts";
import { createListener } from "./listener.ts";
import { createStreamGate } from "./stream-gate.ts";
import { createCommands } from "./temporal-commands.ts";

export interface RunningApi {
  readonly port: number;
  /** Takes no new connection, lets what is in flight finish for eight seconds, ends streams, and lets go of everything. */
  drain(): Promise<void>;
}

/** The API, listening. Neither the database nor Temporal has to be there: requests that need them are answered 503 until they are. */
export async function startServer(config: Config): Promise<RunningApi> {
  const log = createLogger(config.log, { part: "api" });
  const db = openDatabase({ ...config.database, onIdleError: (error) => log.warn({ err: error }, "an idle database connection broke") });
  const connection = connectLazily(config);
  const client = new Client({ connection, namespace: config.temporal.namespace });
  const commands = createCommands({ client, taskQueuePrefix: config.temporal.taskQueuePrefix });
  const closing = new AbortController();
  const slots = connectionSlotsOnDemand(config.database.url);
  const sessions = createSessions({
    keyRing: config.keyRing,
    getProvider,
    resolveHost: createHostResolver({ allowPrivateNetworks: config.allowPrivateNetworks }),
    slots,
  });
  const streams = createStreamGate(config.api.streamsMax);
  const app = createApp({ config, db, commands, blobs: openBlobStore(config.blobs), sessions, streams, log, closing: closing.signal });
  const server = createListener(app, { connectionsMax: config.api.connectionsMax });
  server.listen({ port: config.api.port, host: config.api.host, backlog });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  log.info({ host: config.api.host, port }, "the API listens");
  let draining: Promise<void> | undefined;
  return {
    port,
    drain() {
      draining ??= (async () => {
        log.info("the API drains");
        const ending = createEnding({ log, withinMs: endsWithinMs });
        closing.abort();
        await ending.step("requests in flight", answeredByMs + 500, () => closeServer(server));
        await ending.step("sessions with mail servers", loggedOutByMs, () => sessions.closeAll());
        await Promise.all([
          ending.step("the places of its connections", closedByMs, () => slots.close()),
          ending.step("the database", closedByMs, () => db.destroy()),
          ending.step("the connection to Temporal", closedByMs, () => connection.close()),
        ]);
        ending.over();
      })();
      return draining;
    },
  };
}

/** The rest of Temporal's own settings (TLS, API key) come from its environment configuration, as for every Temporal program. */
function connectLazily({ temporal }: Config): Connection {
  const { connectionOptions } = loadClientConnectConfig();
  return Connection.lazy({ ...connectionOptions, address: temporal.address });
}

/** Connections that the system keeps until they are taken: after a restart, all clients come in one moment. Node's own 511 are few. */
const backlog = 4_096;

/** What stops an API process gives it ten seconds (docs/operations.md). Each ms below counts from the signal. */
const endsWithinMs = 10_000;
const answeredByMs = 8_000;
const loggedOutByMs = 9_000;
const closedByMs = 9_500;

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const giveUp = setTimeout(() => server.closeAllConnections(), answeredByMs);
  await closed;
  clearTimeout(giveUp);
}

/** Runs as a process: alone, or as a child that hears from its parent when to end, and of its parent's death by the closed channel. */
async function main(): Promise<void> {
  const api = await startServer(loadConfig(process.env));
  process.send?.({ type: "ready", port: api.port });
  const end = () => {
    void api.drain().then(() => process.exit(0));
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, end);
  process.once("disconnect", end);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main().catch((error: unknown) => {
    console.error(startFailure(error));
    process.exit(1);
  });
}

function startFailure(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") {
    return `The API cannot listen: ${error.message}. Stop what uses the port, or set EVERPOST_API_PORT.`;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
