import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Connection } from "@temporalio/client";
import { searchAttributes } from "../workflows/names.ts";
import { endLeftover, keepPid } from "./pid-file.ts";
import { requirePort } from "./ports.ts";
import { type RunningPart, runningPart, StartError } from "./processes.ts";
import { type TemporalBinary, temporalCliVersion, versionOf } from "./temporal-binary.ts";

export interface TemporalOptions {
  readonly binary: TemporalBinary;
  /** The SQLite file: everything the server remembers. */
  readonly dbFile: string;
  readonly logFile: string;
  readonly port: number;
  /** Without one there is no web UI. */
  readonly uiPort?: number;
  /** Where the server's own metrics are served, in Prometheus' form; some free port otherwise. */
  readonly metricsPort?: number;
  /** The settings to name when a port is taken. */
  readonly portSettings?: { readonly port: string; readonly uiPort: string };
  readonly namespace: string;
}

export interface RunningTemporal extends RunningPart {
  readonly address: string;
  readonly namespace: string;
}

/**
 * Starts a Temporal development server on the loopback address and waits until its namespace answers. A server that a killed parent left
 * behind on the same file is stopped first.
 */
export async function startTemporal(options: TemporalOptions): Promise<RunningTemporal> {
  const dbFile = resolve(options.dbFile);
  mkdirSync(dirname(dbFile), { recursive: true });
  const pidFile = `${dbFile}.pid`;
  await endLeftover(pidFile, dbFile, "SIGTERM", 10_000);
  await refuseOtherVersion(options.binary, dbFile);
  await requirePort(options.port, "the Temporal server", options.portSettings?.port);
  if (options.uiPort !== undefined) await requirePort(options.uiPort, "the Temporal UI", options.portSettings?.uiPort);
  const log = openSync(options.logFile, "a");
  const child = spawn(options.binary.path, serverArguments({ ...options, dbFile }), {
    env: serverEnvironment(),
    stdio: ["ignore", log, log],
    // A group of its own: Ctrl-C in the terminal must reach the supervisor only, which stops the parts in order.
    detached: true,
  });
  closeSync(log);
  const part = runningPart(child, "SIGTERM", 10_000);
  keepPid(pidFile, part);
  const address = `127.0.0.1:${options.port}`;
  try {
    await untilAnswers(part, address, options);
  } catch (error) {
    await part.stop();
    throw error;
  }
  return { ...part, address, namespace: options.namespace };
}

/** The flags of every development server that this project starts. */
export function serverArguments(options: Omit<TemporalOptions, "binary" | "logFile">): readonly string[] {
  const attributes = Object.values(searchAttributes).flatMap(({ name, type }) => ["--search-attribute", `${name}=${searchAttributeKinds[type]}`]);
  return [
    ...["server", "start-dev", "--ip", "127.0.0.1", "--port", String(options.port), "--namespace", options.namespace],
    ...(options.uiPort === undefined ? ["--headless"] : ["--ui-port", String(options.uiPort), "--ui-ip", "127.0.0.1"]),
    ...(options.metricsPort === undefined ? [] : ["--metrics-port", String(options.metricsPort)]),
    ...["--ui-disable-news-fetch", "--db-filename", options.dbFile, "--log-level", "warn"],
    ...["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"],
    ...Object.entries(dynamicConfig).flatMap(([key, value]) => ["--dynamic-config-value", `${key}=${value}`]),
    ...attributes,
  ];
}

/** Temporal's own names for the kinds of search attribute that we use. */
export const searchAttributeKinds: Readonly<Record<string, string>> = { KEYWORD: "Keyword", DATETIME: "Datetime" };

/** A development server has one history shard, whose queues are read 20 times a second unless told otherwise: 50 to 100 ms for each hop. */
const dynamicConfig = {
  "history.transferProcessorMaxPollRPS": 2000,
  "history.timerProcessorMaxPollRPS": 2000,
  "history.visibilityProcessorMaxPollRPS": 500,
  "matching.enableFairness": true,
} as const;

/** TEMPORAL_* variables of the caller are the CLI's settings too, and would point the server elsewhere. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TEMPORAL_")));
}

/** The CLI does not migrate a development server's file to another version; starting on it anyway ends in errors that name no cause. */
async function refuseOtherVersion(binary: TemporalBinary, dbFile: string): Promise<void> {
  const note = `${dbFile}.version`;
  const version = (await versionOf(binary.path)) ?? temporalCliVersion;
  if (existsSync(dbFile) && existsSync(note)) {
    const made = readFileSync(note, "utf8").trim();
    if (made !== version) {
      throw new StartError(
        `${dbFile} was made by Temporal CLI ${made}, but ${binary.path} (from ${binary.source}) is ${version}, which cannot read it: set EVERPOST_TEMPORAL_CLI to ${made}, or delete the file to begin anew`,
      );
    }
  }
  writeFileSync(note, version);
}

async function untilAnswers(part: RunningPart, address: string, options: TemporalOptions): Promise<void> {
  let ended: string | undefined;
  void part.exited.then(({ code, signal }) => {
    ended = signal ?? `exit ${code}`;
  });
  const deadline = performance.now() + 60_000;
  while (ended === undefined && performance.now() < deadline) {
    if (await isServing(address, options.namespace)) return;
    await delay(50);
  }
  const lines = readFileSync(options.logFile, "utf8").trim().split("\n");
  const said = (lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? "it said nothing").slice(0, 300);
  throw new StartError(
    ended === undefined
      ? `the Temporal server on port ${options.port} does not answer within a minute: ${said}; its log is ${options.logFile}`
      : `the Temporal server ended at once (${ended}): ${said}; its log is ${options.logFile}`,
  );
}

async function isServing(address: string, namespace: string): Promise<boolean> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.connect({ address, connectTimeout: 1_000 });
    await connection.withDeadline(Date.now() + 2_000, () => connection?.workflowService.describeNamespace({ namespace }) ?? Promise.reject());
    return true;
  } catch {
    return false;
  } finally {
    await connection?.close();
  }
}
