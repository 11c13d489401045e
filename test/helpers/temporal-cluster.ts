import { execFile, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { buildWithGo, cacheDir, madeOnce } from "../../embedded/go-build.ts";
import { type RunningPart, runningPart, StartError } from "../../embedded/processes.ts";
import { root } from "../architecture/import-graph.ts";
import { type Compose, serviceOf } from "./compose.ts";
import { type OwnPart, ownPart } from "./own-parts.ts";
import { tail, testDirectory } from "./test-run.ts";

/** What tools/temporal-server pins. */
const version = "1.31.2";

/** The programs of Temporal's images, in a folder to be put on PATH. */
async function findServerPrograms(): Promise<string> {
  const dir = join(cacheDir(process.env), `server-${version}`);
  if (existsSync(dir)) return dir;
  const what = "Temporal's production server";
  const say = (line: string) => console.log(line);
  const make = async () => {
    if (existsSync(dir)) return dir;
    const work = `${dir}.${process.pid}`;
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work, { recursive: true });
    const packages = ["go.temporal.io/server/cmd/server", "go.temporal.io/server/cmd/tools/sql"];
    await buildWithGo({ module: "tools/temporal-server", what, packages, outDir: work }, process.env, say).catch((error: Error) => {
      throw new StartError(
        `The real Temporal server is built from tools/temporal-server, and that failed: ${error.message}. It takes Go 1.26 (https://go.dev/dl) and a way to the Go module proxy`,
      );
    });
    // The names that they have in the images.
    renameSync(join(work, "server"), join(work, "temporal-server"));
    renameSync(join(work, "sql"), join(work, "temporal-sql-tool"));
    renameSync(work, dir);
    return dir;
  };
  return madeOnce(process.env, say, make, what);
}

export interface RunningCluster extends RunningPart {
  readonly address: string;
}

/**
 * The Temporal server of temporal-docker-compose.yml, without its container: the same version, schema script, environment and dynamic configuration,
 * on a loopback address of its own instead of a network of its own. The namespace is made as there, by tools/prepare-temporal.ts.
 */
export async function startTemporalCluster(compose: Compose, databaseUrl: string): Promise<OwnPart<RunningCluster> & { readonly logFile: string }> {
  const programs = await findServerPrograms();
  const dir = testDirectory("temporal-cluster");
  const { hostname, port, username, password } = new URL(databaseUrl);
  const host = await freeAddress();
  const path = { PATH: `${programs}:${process.env.PATH}` };
  const schema = serviceOf(compose, "temporal-schema");
  const script = mounted(schema.volumes, "/temporal-schema.sh");
  const whereItIs = { SQL_HOST: hostname, SQL_PORT: port, SQL_USER: username, SQL_PASSWORD: decodeURIComponent(password) };
  const prepareSchema = () => execute("/bin/sh", [script], { ...schema.environment, ...whereItIs, ...path });
  await prepareSchema();
  // An installation that is started again runs it again.
  await prepareSchema();

  const server = serviceOf(compose, "temporal");
  const { DYNAMIC_CONFIG_FILE_PATH = "", PROMETHEUS_ENDPOINT = "" } = server.environment;
  const dynamicConfig = mounted(server.volumes, DYNAMIC_CONFIG_FILE_PATH);
  const judged = await execute("temporal-server", ["validate-dynamic-config", dynamicConfig], path);
  if (/error|warning/.test(judged)) throw new StartError(`Temporal's server does not take its dynamic configuration as it is: ${judged}`);
  const env = {
    ...path,
    ...server.environment,
    LOG_LEVEL: "warn",
    POSTGRES_SEEDS: hostname,
    DB_PORT: port,
    POSTGRES_USER: username,
    POSTGRES_PWD: decodeURIComponent(password),
    BIND_ON_IP: host,
    PROMETHEUS_ENDPOINT: PROMETHEUS_ENDPOINT.replace("0.0.0.0", host),
    DYNAMIC_CONFIG_FILE_PATH: dynamicConfig,
  };
  const logFile = join(dir, "log");
  const part = await ownPart(dir, "SIGTERM", async () => {
    const log = openSync(logFile, "a");
    // The folder in its arguments is what marks it as ours when a killed run is swept up.
    const child = spawn(join(programs, "temporal-server"), ["--root", dir, "start"], { env, stdio: ["ignore", log, log] });
    closeSync(log);
    const running = runningPart(child, "SIGTERM", 20_000);
    await untilListening(host, running, logFile);
    return { ...running, address: `${host}:${frontendPort}` };
  });
  await prepareNamespace({ ...process.env, TEMPORAL_ADDRESS: part.now.address, TEMPORAL_NAMESPACE: "mail" });
  return Object.defineProperties({ logFile } as never, Object.getOwnPropertyDescriptors(part));
}

const frontendPort = 7233;

/** On a host of its own a server has its usual ports; on loopback it has an address of its own. Tests of other runs have others. */
async function freeAddress(): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const host = `127.${1 + Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250)}.${1 + Math.floor(Math.random() * 250)}`;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(frontendPort, host, () => resolve(true));
    });
    await new Promise((resolve) => server.close(resolve));
    if (isFree) return host;
  }
  throw new StartError("no loopback address of its own for the Temporal server: this needs Linux, where all of 127.0.0.0/8 is there");
}

function mounted(volumes: readonly { readonly source: string; readonly target: string }[], target: string): string {
  const source = volumes.find((volume) => volume.target === target)?.source;
  if (source === undefined) throw new StartError(`nothing is mounted at ${target}`);
  return join(root, source);
}

/** What the service's health check asks: does the port answer. */
async function untilListening(host: string, part: RunningPart, logFile: string): Promise<void> {
  let ended = false;
  void part.exited.then(() => {
    ended = true;
  });
  for (const deadline = performance.now() + 180_000; !(await isOpen(host)); await delay(200)) {
    if (!ended && performance.now() < deadline) continue;
    await part.stop();
    throw new StartError(`the Temporal server ${ended ? "ended at once" : "does not answer within three minutes"}:\n${tail(logFile)}`);
  }
}

function isOpen(host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: frontendPort });
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** As Compose does it: the service is started when the server's port answers, and again if it fails, up to ten times. */
async function prepareNamespace(env: NodeJS.ProcessEnv): Promise<void> {
  for (let failed = 0; ; failed += 1) {
    try {
      await execute(process.execPath, [join(root, "tools/prepare-temporal.ts")], env);
      return;
    } catch (error) {
      if (failed === 10) throw error;
      await delay(1_000);
    }
  }
}

async function execute(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(file, args, { env, timeout: 180_000 });
    return stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new StartError(`${file} ${args.join(" ")} failed:\n${`${stdout}${stderr}`.slice(-2_000)}`);
  }
}
