import { Client, Connection } from "@temporalio/client";
import { inject } from "vitest";

/** `host:port` of the development server that all tests share: use task queues and workflow ids of your own. */
export function temporalAddress(): string {
  return inject("temporalAddress");
}

export function temporalNamespace(): string {
  return inject("temporalNamespace");
}

/** How many workflows a test's worker keeps in memory: as many as the SDK thinks fit, or none in files that begin with uncached.ts. */
export function workflowCache(): { readonly maxCachedWorkflows?: number } {
  const wanted = process.env.EVERPOST_WORKER_CACHED_WORKFLOWS;
  return wanted === undefined ? {} : { maxCachedWorkflows: Number(wanted) };
}

export interface TemporalConnection {
  readonly connection: Connection;
  readonly client: Client;
  close(): Promise<void>;
}

export async function connectTemporal(): Promise<TemporalConnection> {
  const connection = await Connection.connect({ address: temporalAddress() });
  const client = new Client({ connection, namespace: temporalNamespace() });
  return { connection, client, close: () => connection.close() };
}
