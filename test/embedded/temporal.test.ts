import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { afterAll, expect, test } from "vitest";
import { freePort } from "../../embedded/ports.ts";
import { isAlive } from "../../embedded/processes.ts";
import { serverArguments, startTemporal as start } from "../../embedded/temporal.ts";
import { findTemporalBinary } from "../../embedded/temporal-binary.ts";
import { prepareNamespace } from "../../embedded/temporal-namespace.ts";
import { searchAttributes } from "../../workflows/names.ts";
import { startTemporal } from "../helpers/own-parts.ts";
import { temporalAddress } from "../helpers/temporal.ts";
import { sweep, testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";

const dir = testDirectory("temporal-test");
afterAll(() => sweep(dir));

async function options(name: string) {
  const binary = await findTemporalBinary(process.env, () => {});
  return { binary, dbFile: join(dir, name, "temporal.db"), logFile: join(dir, `${name}.log`), port: await freePort(), namespace: "mail" };
}

async function withClient<T>(address: string, work: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  return work(new Client({ connection, namespace: "mail" })).finally(() => connection.close());
}

test("keeps started workflows through a SIGKILL, on the same port", async () => {
  const temporal = await startTemporal();
  const start = (client: Client) => client.workflow.start("anything", { taskQueue: "nobody", workflowId: "kept" });
  await withClient(temporal.now.address, start);
  await temporal.kill();
  await temporal.restart();
  const status = await until(
    () => withClient(temporal.now.address, async (client) => (await client.workflow.getHandle("kept").describe()).status.name),
    "the workflow",
  );
  expect(status).toBe("RUNNING");
});

test("stops the server of a parent that was killed and starts its own on the same file", async () => {
  const settings = await options("leftover");
  const first = await start(settings);
  const second = await start(settings);
  expect(isAlive(first.pid)).toBe(false);
  await second.stop();
  expect(isAlive(second.pid)).toBe(false);
});

test("says in one line that its port is taken", async () => {
  const settings = await options("busy");
  const first = await start(settings);
  const error = await start({ ...(await options("other")), port: settings.port }).catch((reason: Error) => reason);
  await first.stop();
  expect(error).toMatchObject({
    name: "StartError",
    message: `port ${settings.port}, which the Temporal server is to use, is taken by another process`,
  });
});

test("says in one line that the server ended at once, and with which words", async () => {
  const settings = await options("rubbish");
  mkdirSync(dirname(settings.dbFile), { recursive: true });
  writeFileSync(settings.dbFile, "this is no SQLite file, however long one looks at it".repeat(100));
  const error = await start(settings).catch((reason: Error) => reason);
  expect(error).toMatchObject({ name: "StartError", message: expect.stringMatching(/^the Temporal server ended at once .*; its log is /) });
});

test("refuses a file that another version made instead of failing later without a cause", async () => {
  const settings = await options("version");
  await (await start(settings)).stop();
  writeFileSync(`${settings.dbFile}.version`, "1.0.0");
  await expect(start(settings)).rejects.toThrow("was made by Temporal CLI 1.0.0");
});

test("every development server gets the poll rates, the SQLite pragmas and every search attribute", () => {
  const line = serverArguments({ dbFile: "x.db", port: 1, namespace: "mail" }).join(" ");
  for (const setting of [
    "transferProcessorMaxPollRPS=2000",
    "timerProcessorMaxPollRPS=2000",
    "visibilityProcessorMaxPollRPS=500",
    "journal_mode=wal",
    "synchronous=normal",
  ]) {
    expect(line).toContain(setting);
  }
  for (const { name } of Object.values(searchAttributes)) expect(line).toContain(`--search-attribute ${name}=`);
});

test("gives an existing cluster the namespace and search attributes it lacks, once", async () => {
  const connection = await Connection.connect({ address: temporalAddress() });
  try {
    const namespace = `prepared-${process.pid}`;
    expect(await prepareNamespace(connection, namespace)).toContain(`namespace ${namespace}`);
    expect(await prepareNamespace(connection, namespace)).toEqual([]);
  } finally {
    await connection.close();
  }
});
