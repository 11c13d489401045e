import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Writable } from "node:stream";
import { createApp } from "../../api/app.ts";
import type { Commands } from "../../api/commands.ts";
import { createListener, type ListenerOptions } from "../../api/listener.ts";
import type { Route } from "../../api/route.ts";
import { routes as allRoutes } from "../../api/routes/index.ts";
import { createStreamGate } from "../../api/stream-gate.ts";
import { openBlobStore } from "../../blobs/index.ts";
import { type Config, loadConfig } from "../../config.ts";
import { createAccessKey, type NewAccessKey } from "../../db/access-keys.ts";
import { connectionSlotsOnDemand } from "../../db/connection-slots.ts";
import { createCustomer } from "../../db/customers.ts";
import { type Database, openDatabase } from "../../db/database.ts";
import { keyScopes } from "../../domain/access.ts";
import type { CustomerId } from "../../domain/ids.ts";
import { createLogger } from "../../logging.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { getProvider } from "../../providers/index.ts";
import { createSessions, type Sessions } from "../../sessions/sessions.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { testDirectory } from "../helpers/test-run.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever members it expects; those that are missing fail it
  readonly body: any;
}

export interface CallOptions {
  readonly key?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Api {
  readonly url: string;
  readonly db: Database;
  readonly config: Config;
  readonly adminKey: string;
  readonly logLines: string[];
  readonly server: Server;
  readonly sessions: Sessions;
  readonly closing: AbortController;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  newKey(wanted: Partial<NewAccessKey> & { readonly customerId: CustomerId }): Promise<string>;
  newCustomer(name?: string): Promise<{ readonly id: CustomerId; readonly key: string }>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ApiOptions {
  readonly routes?: readonly Route[];
  readonly env?: Readonly<Record<string, string>>;
  readonly commands?: (config: Config) => Commands;
  /** Serves from the DATABASE_URL of `env`, behind which nothing answers, while keys are still made in the real one. */
  readonly isDatabaseGone?: boolean;
  /** How long requests may take to arrive. */
  readonly patience?: Pick<ListenerOptions, "headersMs" | "requestMs">;
}

/** The API on a database of its own and a free port, strict about its own answers. Without commands, whatever needs Temporal is a 500. */
export async function startApi(options: ApiOptions = {}): Promise<Api> {
  const database = await createTestDatabase();
  const config = loadConfig({
    DATABASE_URL: database.url,
    EVERPOST_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}`,
    EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    EVERPOST_BLOB_DIR: testDirectory("blobs"),
    ...options.env,
  });
  const logLines: string[] = [];
  const closing = new AbortController();
  const log = createLogger(config.log, {}, lineSink(logLines));
  const commands = options.commands?.(config) ?? noCommands;
  const db = options.isDatabaseGone === true ? openDatabase(config.database) : database.db;
  const slots = connectionSlotsOnDemand(database.url);
  const resolveHost = createHostResolver({ allowPrivateNetworks: config.allowPrivateNetworks });
  const sessions = createSessions({ keyRing: config.keyRing, getProvider, resolveHost, slots });
  const streams = createStreamGate(config.api.streamsMax);
  const blobs = openBlobStore(config.blobs);
  const app = createApp(
    { config, db, commands, blobs, sessions, streams, log, closing: closing.signal, isStrict: true },
    options.routes ?? allRoutes,
  );
  // Here client and server are one process: what is slow is the test itself, not a stranger.
  const patience = { headersMs: 120_000, requestMs: 240_000, ...options.patience };
  const server = createListener(app, { connectionsMax: config.api.connectionsMax, ...patience });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4_096 });
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { key: adminKey } = await createAccessKey(database.db, { customerId: null, role: "administrator", name: "test", scopes: keyScopes });
  const newKey: Api["newKey"] = async (wanted) =>
    (await createAccessKey(database.db, { role: "customer", name: "test", scopes: keyScopes, ...wanted })).key;
  return {
    url,
    db: database.db,
    config,
    adminKey,
    logLines,
    server,
    sessions,
    closing,
    newKey,
    call: (method, path, callOptions) => call(url, method, path, callOptions),
    async newCustomer(name = "Example Ltd") {
      const { id } = await createCustomer(database.db, { name });
      return { id, key: await newKey({ customerId: id }) };
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await sessions.closeAll();
      await slots.close();
      if (db !== database.db) await db.destroy();
      await database.drop();
    },
  };
}

async function call(url: string, method: string, path: string, { key, body, headers }: CallOptions = {}): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method: method.toUpperCase(),
    redirect: "manual",
    headers: {
      ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /[/+]json/.test(response.headers.get("Content-Type") ?? "");
  return { status: response.status, headers: response.headers, body: isJson && text !== "" ? JSON.parse(text) : text };
}

function lineSink(lines: string[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      lines.push(...String(chunk).trim().split("\n"));
      done();
    },
  });
}

/** Loud: a test that reaches Temporal says so by passing its own. */
const noCommands = new Proxy({} as Commands, {
  get: (_target, name) => async () => {
    throw new Error(`this test gave the API no commands, yet ${String(name)} was called`);
  },
});
