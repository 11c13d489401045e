import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { bundleWorkflowCode, DefaultLogger, Worker } from "@temporalio/worker";
import { expect } from "vitest";
import { workflowIds } from "../../workflows/names.ts";
import { type ConnectedMailbox, type Installation, startInstallation } from "../e2e/installation.ts";
import { deliverNew } from "../e2e/mail.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { endAll, type SpawnedProcess, spawnReady } from "../helpers/processes.ts";
import { makeRelease } from "../helpers/release.ts";
import { temporalAddress } from "../helpers/temporal.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";

export interface RollingDeployOptions {
  readonly mailboxes: number;
  /** Between two deliveries, in ms. */
  readonly deliverEveryMs: number;
  /** Workflows that a worker keeps in memory; with fewer than there are, a workflow's next task may be any worker's, who replays the whole history. */
  readonly cachedWorkflows: number;
  /** In two rounds, as docs/operations.md says; or at once, back to the old release, which cannot follow, and forward again. */
  readonly course: "two rounds" | "there and back";
}

export interface RollingDeployReport {
  readonly delivered: number;
  readonly faults: readonly string[];
  /** Histories that know the change: before the last workers came, and in the end. */
  readonly changedEarly: number;
  readonly changed: number;
  /** Tasks that a worker could not run. */
  readonly tasksFailed: number;
  /** Histories that the workflows of either release cannot run any further. */
  readonly refusedByOld: number;
  readonly refusedByNew: number;
}

const patience = 240_000;
const patchId = "a-further-step";

/** The next release: each look at a mailbox has one more step. It stands in a loop that runs for as long as the mailbox is connected. */
const changes = {
  "workflows/mailbox.ts": (source: string) =>
    source.replace(
      "const fetched = await fetch(",
      `if (patched("${patchId}")) await databaseActivities({ summary: "a further step" }).describeMailbox(ref);\n    const fetched = await fetch(`,
    ),
};

/** Two workers on one queue are replaced one by one by those of a release whose workflows do more, while mail comes in. */
export async function rollingDeploy(options: RollingDeployOptions): Promise<RollingDeployReport> {
  await using database = await createTestDatabase();
  const { imapPort, lmtpPort } = dovecot();
  const mailServer = { imapPort, lmtpPort };
  await using installation = await startInstallation(
    { databaseUrl: database.url, temporalAddress: temporalAddress(), mailServer },
    { EVERPOST_WORKER_CACHED_WORKFLOWS: String(options.cachedWorkflows) },
  );
  const release = join(testDirectory("release"), "next");
  makeRelease(release, changes);
  const start = (root: string, settings: Readonly<Record<string, string>> = {}) => spawnWorkerOf(root, { ...installation.env, ...settings });
  const old = join(import.meta.dirname, "../..");
  const silent = { EVERPOST_WORKER_ACTIVATE_PATCHES: "false" };
  const workers = [installation.worker, await start(old)];
  /** As an orchestrator does it: the new one is there before the old one is asked to go. */
  const replace = async (index: number, root: string, settings: Readonly<Record<string, string>> = {}) => {
    const next = await start(root, settings);
    await workers[index]?.kill("SIGTERM");
    workers[index] = next;
  };

  const users = await Promise.all(Array.from({ length: options.mailboxes }, () => createMailUser()));
  const mailboxes = await Promise.all(users.map((user) => installation.connect(user)));
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, patience)));
  const stop = new AbortController();
  const delivering = deliverWhile(stop.signal, installation, mailServer, users, options.deliverEveryMs);
  /** Every mailbox is worked on by the workers that run now. */
  const workOnAll = () => Promise.all(users.map(({ email }) => installation.deliverAndWait(email, patience)));

  const countChanged = async () => (await readHistories(installation, mailboxes)).filter(({ isChanged }) => isChanged).length;
  let changedEarly = 0;
  await workOnAll();
  if (options.course === "two rounds") {
    await replace(0, release, silent);
    await workOnAll();
    await replace(1, release, silent);
    await workOnAll();
    changedEarly = await countChanged();
    await replace(0, release);
    await workOnAll();
    await replace(1, release);
  } else {
    await replace(0, release);
    await replace(1, release);
    await workOnAll();
    changedEarly = await countChanged();
    await replace(0, old);
    await replace(1, old);
    const isStuck = async () => (await readHistories(installation, mailboxes)).every(({ tasksFailed }) => tasksFailed > 0);
    await until(isStuck, "the old workers to fail at every mailbox", patience);
    await replace(0, release);
    await replace(1, release);
  }
  await workOnAll();
  stop.abort();
  await delivering;
  await installation.untilAllTold(patience);
  await Promise.all(mailboxes.map(({ id }) => installation.untilLive(id, patience)));
  const faults: string[] = [];
  for (const mailbox of mailboxes) {
    expect(await installation.call("POST", `/v1/mailboxes/${mailbox.id}/sync`)).toMatchObject({ status: 200 });
    faults.push(...(await installation.faults(mailbox)).map((fault) => `${mailbox.email}: ${fault}`));
  }
  const histories = await readHistories(installation, mailboxes);
  await endAll(workers);
  return {
    delivered: installation.ledger.entries.length,
    faults,
    changedEarly,
    changed: histories.filter(({ isChanged }) => isChanged).length,
    tasksFailed: histories.reduce((sum, { tasksFailed }) => sum + tasksFailed, 0),
    refusedByOld: await countRefused(old, histories),
    refusedByNew: await countRefused(release, histories),
  };
}

async function spawnWorkerOf(root: string, env: Readonly<Record<string, string>>): Promise<SpawnedProcess> {
  return (await spawnReady(join(root, "workers/worker.ts"), env, 120_000)).process;
}

async function deliverWhile(
  stop: AbortSignal,
  { ledger }: Installation,
  mailServer: { readonly imapPort: number; readonly lmtpPort: number },
  users: readonly { readonly email: string }[],
  everyMs: number,
): Promise<void> {
  for (let turn = 0; !stop.aborted; turn += 1) {
    await deliverNew(mailServer, users[turn % users.length]?.email ?? "", ledger);
    await delay(everyMs);
  }
}

interface ReadHistory {
  readonly workflowId: string;
  readonly history: Awaited<ReturnType<ReturnType<Client["workflow"]["getHandle"]>["fetchHistory"]>>;
  readonly isChanged: boolean;
  readonly tasksFailed: number;
}

async function readHistories(installation: Installation, mailboxes: readonly ConnectedMailbox[]): Promise<readonly ReadHistory[]> {
  const connection = await Connection.connect({ address: temporalAddress() });
  try {
    const client = new Client({ connection, namespace: installation.env.TEMPORAL_NAMESPACE ?? "" });
    return await Promise.all(
      mailboxes.map(async ({ id }) => {
        const workflowId = workflowIds.mailbox(id as never);
        const history = await client.workflow.getHandle(workflowId).fetchHistory();
        const events = history.events ?? [];
        return {
          workflowId,
          history,
          isChanged: events.some(({ markerRecordedEventAttributes: marker }) => knowsPatch(marker?.details?.["patch-data"])),
          tasksFailed: events.filter(({ workflowTaskFailedEventAttributes: failed }) => failed != null).length,
        };
      }),
    );
  } finally {
    await connection.close();
  }
}

/** The SDK's marker of a patch carries its name. */
function knowsPatch(data: { readonly payloads?: readonly { readonly data?: Uint8Array | null }[] | null } | null | undefined): boolean {
  return data?.payloads?.some((payload) => Buffer.from(payload.data ?? []).includes(patchId)) ?? false;
}

/** How many histories the workflows of these sources cannot run any further. */
async function countRefused(root: string, histories: readonly ReadHistory[]): Promise<number> {
  const { code } = await bundleWorkflowCode({ workflowsPath: join(root, "workflows", "index.ts"), logger: new DefaultLogger("ERROR") });
  let refused = 0;
  for await (const { error } of Worker.runReplayHistories({ workflowBundle: { code } }, histories)) {
    if (error?.name === "DeterminismViolationError") refused += 1;
    else if (error !== undefined) throw error;
  }
  return refused;
}
