import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "../../embedded/ports.ts";
import { type Installation, startInstallation } from "../e2e/installation.ts";
import { startDovecot, startPostgres, startTemporal } from "../helpers/own-parts.ts";
import { endAll, type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { smallDisk } from "../helpers/small-disk.ts";
import { startProxy, type TcpProxy } from "../helpers/tcp-proxy.ts";
import { testDirectory } from "../helpers/test-run.ts";
import type { Trace } from "../security/traces.ts";
import { type CommitProxy, startCommitProxy } from "./commit-proxy.ts";
import { startSupervised } from "./patient.ts";
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
  /** Every process of ours that ever ran in it. */
  readonly spawned: readonly SpawnedProcess[];
  readonly startWorker: () => Promise<SpawnedProcess>;
  readonly clock: WrongClock | undefined;
  readonly disks: { readonly postgres: string; readonly blobs: string } | undefined;
  readonly blobs: string;
  /** What the workers that run say in numbers. */
  readonly readMetrics: () => Promise<readonly Trace[]>;
  /** Asks every process to end, and waits until it has; fails with who has not. */
  readonly stop: () => Promise<void>;
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
  const metricsAddress = `127.0.0.1:${await freePort()}`;
  const installation = await startInstallation(
    {
      databaseUrl: databaseUrl.href,
      temporalAddress: `127.0.0.1:${toTemporal.port}`,
      mailServer,
      imapPort: toImap.port,
      ...(options.wrongClocks === true ? { clockErrorMaxS: clockErrorMaxS + 300 } : {}),
    },
    { EVERPOST_PAGE_SIZE: "100", EVERPOST_BLOB_DIR: blobs, EVERPOST_METRICS_ADDRESS: metricsAddress, ...options.settings },
  );
  const clock = options.wrongClocks === true ? wrongClock(dir) : undefined;
  const spawned: SpawnedProcess[] = [installation.worker, installation.api];
  const metricsOf = new Map<SpawnedProcess, string>([[installation.worker, metricsAddress]]);
  const startWorker = async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const worker = await startSupervised(() => spawnWorker({ ...installation.env, EVERPOST_METRICS_ADDRESS: address, ...clock?.env }));
    spawned.push(worker);
    metricsOf.set(worker, address);
    return worker;
  };
  const workers = [installation.worker, ...(await Promise.all(Array.from({ length: options.workers - 1 }, startWorker)))];
  spawned.push(...(await Promise.all(Array.from({ length: options.moreApis ?? 0 }, () => spawnApi(installation.env)))));
  const readMetrics = () =>
    Promise.all(
      workers.map(async (worker) => {
        const response = await fetch(`http://${metricsOf.get(worker)}/metrics`);
        return { where: `metrics of worker ${worker.pid}`, text: await response.text() };
      }),
    );
  const stop = () => endAll(spawned);
  onTestFinished(async () => {
    await stop();
    await installation[Symbol.asyncDispose]();
    await Promise.all([toPostgres.close(), toTemporal.close(), toImap.close()]);
  });
  const ways = { postgres: toPostgres, temporal: toTemporal, imap: toImap };
  const disks = hasSmallDisks ? { postgres: postgres.dataDir, blobs } : undefined;
  return { installation, mailServer, postgres, temporal, dovecot, ways, workers, spawned, startWorker, clock, disks, blobs, readMetrics, stop };
}
