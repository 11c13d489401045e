import { Connection } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { StartError } from "../embedded/processes.ts";
import { prepareNamespace } from "../embedded/temporal-namespace.ts";

/** Gives a cluster the namespace and the search attributes that it lacks. Reads Temporal's own environment configuration; safe to run again. */
const { connectionOptions, namespace = "mail" } = loadClientConnectConfig();
const connection = await Connection.connect({ ...connectionOptions, connectTimeout: 30_000 });
try {
  const wanted = namespace === "default" ? "mail" : namespace;
  const made = await prepareNamespace(connection, wanted);
  console.log(made.length === 0 ? `Namespace ${wanted} has everything.` : `Made ${made.join(", ")}.`);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await connection.close();
}
