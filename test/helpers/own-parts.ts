import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll } from "vitest";
import { openDatabase } from "../../db/database.ts";
import { migrate } from "../../db/migrate.ts";
import { freePort } from "../../embedded/ports.ts";
import { type RunningPostgres, startPostgres as start } from "../../embedded/postgres.ts";
import { endProcess, type RunningPart } from "../../embedded/processes.ts";
import { type RunningTemporal, startTemporal as startServer } from "../../embedded/temporal.ts";
import { findTemporalBinary } from "../../embedded/temporal-binary.ts";
import { claimUser, type RunningDovecot, startDovecot as startImap } from "./dovecot-server.ts";
import { smallDisk } from "./small-disk.ts";
import { endWithTests, sweep, testDirectory } from "./test-run.ts";

/** A server of a test's own, to be killed and started again on the same ports and data. Stopped when the file ends. */
export interface OwnPart<T extends RunningPart> {
  /** The process that runs now; another one after `restart`. */
  readonly now: T;
  /** SIGKILL, and wait until it is gone. */
  kill(): Promise<void>;
  /** Starts it on the same ports and data; kills it first when it still runs. */
  restart(): Promise<T>;
}

/** `dataDir` is on a disk of its own if its size is given, to be filled. A PostgreSQL cluster with a migrated database `everpost`, durable as in production (fsync on), since it is there to be killed. */
export async function startPostgres({
  diskSize,
  settings = {},
}: {
  readonly diskSize?: string;
  readonly settings?: Readonly<Record<string, string>>;
} = {}): Promise<OwnPart<RunningPostgres> & { readonly dataDir: string; readonly logFile: string }> {
  const dir = testDirectory("postgres");
  const disk = join(dir, "disk");
  if (diskSize !== undefined) smallDisk(disk, diskSize);
  const options = { dataDir: join(disk, "data"), logFile: join(dir, "log"), port: await freePort(), password: randomBytes(12).toString("hex") };
  const part = await ownPart(dir, "SIGINT", () => start({ ...options, settings: { max_connections: "200", scram_iterations: "1", ...settings } }));
  const db = openDatabase({ url: part.now.url, poolMax: 2 });
  await migrate(db).finally(() => db.destroy());
  return Object.defineProperties({ dataDir: disk, logFile: options.logFile } as never, Object.getOwnPropertyDescriptors(part));
}

/** A Temporal development server with the namespace `mail` on a file of its own. */
export async function startTemporal(): Promise<OwnPart<RunningTemporal> & { readonly logFile: string }> {
  const dir = testDirectory("temporal");
  const binary = await findTemporalBinary(process.env, (line) => console.log(line));
  const options = { binary, dbFile: join(dir, "temporal.db"), logFile: join(dir, "log"), port: await freePort(), namespace: "mail" };
  const part = await ownPart(dir, "SIGTERM", () => startServer(options));
  return Object.defineProperties({ logFile: options.logFile } as never, Object.getOwnPropertyDescriptors(part));
}

/** A Dovecot with users and mail of its own. */
export async function startDovecot(): Promise<OwnPart<RunningDovecot> & { createMailUser(): { readonly email: string; readonly password: string } }> {
  const dir = testDirectory("dovecot");
  const ports = { imap: await freePort(), imaps: await freePort(), lmtp: await freePort() };
  const part = await ownPart(dir, "SIGTERM", () => startImap(dir, ports));
  return Object.assign(part, { createMailUser: () => claimUser(dir) });
}

const endings: (() => Promise<void>)[] = [];
afterAll(async () => {
  await Promise.all(endings.map((end) => end()));
});

export async function ownPart<T extends RunningPart>(dir: string, ask: NodeJS.Signals, begin: () => Promise<T>): Promise<OwnPart<T>> {
  let now = await begin();
  endWithTests(dir, now.pid, ask);
  const kill = async () => {
    await endProcess(now.pid, "SIGKILL", 5_000);
    // Dead is not yet waited for: until then its number is taken.
    await now.exited;
  };
  endings.push(async () => {
    await now.stop();
    sweep(dir);
  });
  return {
    get now() {
      return now;
    },
    kill,
    restart: async () => {
      await kill();
      now = await begin();
      endWithTests(dir, now.pid, ask);
      return now;
    },
  };
}
