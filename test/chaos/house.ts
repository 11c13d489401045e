import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.ts";
import { startDovecot, startPostgres, startTemporal } from "../helpers/own-parts.ts";
import { type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { smallDisk } from "../helpers/small-disk.ts";
import { startProxy, type TcpProxy } from "../helpers/tcp-proxy.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { type CommitProxy, startCommitProxy } from "./commit-proxy.ts";
import { clockErrorMaxS, type WrongClock, wrongClock } from "./wrong-clock.ts";

export interface HouseOptions {
  readonly workers: number;
  /** API processes besides the first. */
  readonly moreApis?: number;
  /** Disks that can be filled. */
  readonly smallDisks?: boolean;
  /** Workers whose clocks can be set wrong, but for the first. */
  readonly wrongClocks?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
}

/** An installation whose every part can be killed, cut off, stalled, filled or lied to. */
export interface House {
  readonly installation: Installation;
  readonly mailServer: { readonly imapPort: number; readonly lmtpPort: number };
  readonly postgres: Awaited<ReturnType<typeof startPostgres>>;
  readonly temporal: Awaited<ReturnType<typeof startTemporal>>;
  readonly dovecot: Awaited<ReturnType<typeof startDovecot>>;
  readonly ways: { readonly postgres: CommitProxy; readonly temporal: TcpProxy; readonly imap: TcpProxy };
  readonly workers: SpawnedProcess[];
  readonly startWorker: () => Promise<SpawnedProcess>;
  readonly clock: WrongClock | undefined;
  readonly disks: { readonly postgres: string; readonly blobs: string } | undefined;
}

/** PostgreSQL needs about 60 MB for an empty cluster and 80 for its log. */
const postgresDisk = "400m";
const blobDisk = "16m";

export async function buildHouse(options: HouseOptions): Promise<House> {
  const dir = testDirectory("storm");
  const hasSmallDisks = options.smallDisks === true;
  const blobs = join(dir, "blobs");
  if (hasSmallDisks) smallDisk(blobs, blobDisk);
  const [postgres, temporal, dovecot] = await Promise.all([
    startPostgres(hasSmallDisks ? { diskSize: postgresDisk } : {}),
    startTemporal(),
    startDovecot(),
  ]);
  const { imap, lmtp } = dovecot.now.ports;
  const [toPostgres, toTemporal, toImap] = await Promise.all([
    startCommitProxy(Number(new URL(postgres.now.url).port)),
    startProxy(Number(temporal.now.address.split(":")[1])),
    startProxy(imap),
  ]);
  const databaseUrl = new URL(postgres.now.url);
  databaseUrl.port = String(toPostgres.port);
  const mailServer = { imapPort: imap, lmtpPort: lmtp };
  const installation = await startInstallation(
    {
      databaseUrl: databaseUrl.href,
      temporalAddress: `127.0.0.1:${toTemporal.port}`,
      mailServer,
      imapPort: toImap.port,
      ...(options.wrongClocks === true ? { clockErrorMaxS: clockErrorMaxS + 300 } : {}),
    },
    { EVERPOST_PAGE_SIZE: "100", EVERPOST_BLOB_DIR: blobs, ...options.settings },
  );
  const clock = options.wrongClocks === true ? wrongClock(dir) : undefined;
  const startWorker = () => spawnWorker({ ...installation.env, ...clock?.env });
  const workers = [installation.worker, ...(await Promise.all(Array.from({ length: options.workers - 1 }, startWorker)))];
  const apis = await Promise.all(Array.from({ length: options.moreApis ?? 0 }, () => spawnApi(installation.env)));
  onTestFinished(async () => {
    await Promise.all([...workers, ...apis].map((one) => one.kill("SIGTERM")));
    await installation[Symbol.asyncDispose]();
    await Promise.all([toPostgres.close(), toTemporal.close(), toImap.close()]);
  });
  const ways = { postgres: toPostgres, temporal: toTemporal, imap: toImap };
  const disks = hasSmallDisks ? { postgres: postgres.dataDir, blobs } : undefined;
  return { installation, mailServer, postgres, temporal, dovecot, ways, workers, startWorker, clock, disks };
}
