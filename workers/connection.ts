import { Client, Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import type { Config } from "../config.ts";

/** How to reach Temporal: the standard environment and TOML settings (TLS, API key), with our address and namespace over them. */
export function temporalOptions(config: Config["temporal"]) {
  const { connectionOptions } = loadClientConnectConfig();
  return { ...connectionOptions, address: config.address };
}

/** A client on a connection of its own; `close` ends it. */
export async function connectClient(config: Config["temporal"]): Promise<{ readonly client: Client; close(): Promise<void> }> {
  const connection = await Connection.connect(temporalOptions(config));
  return { client: new Client({ connection, namespace: config.namespace }), close: () => connection.close() };
}
