import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { sql } from "kysely";
import { onTestFinished } from "vitest";
import { freePort } from "../../embedded/ports.ts";
import { type Answer, type ConnectedMailbox, type Installation, startInstallation } from "../e2e/installation.ts";
import { deliverNew, type MailServer, type MailUser } from "../e2e/mail.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { temporalAddress } from "../helpers/temporal.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";
import { patienceMs, startSupervised } from "./patient.ts";
import { chanceOf } from "./random.ts";

/** An installation whose processes die once at each crash point that they reach, and are started again. */
export interface Tour {
  readonly installation: Installation;
  readonly mailServer: MailServer;
  readonly createMailUser: () => Promise<MailUser>;
  readonly blobs: string;
  /** Asks until there is an answer that a repetition would not mend, as a careful client does: a POST each time with the same Idempotency-Key. */
  ask(method: string, path: string, body?: unknown): Promise<Answer>;
  /** Delivers one new message, after a pause that the seed chooses, so that mailboxes get theirs in another order each time. */
  deliver(email: string): Promise<string>;
  connect(more?: Parameters<Installation["connect"]>[1] & { readonly [member: string]: unknown }): Promise<ConnectedMailbox>;
  /** From now on processes die at crash points. */
  arm(): void;
  disarm(): void;
  /** The crash points at which a process died, in order. */
  died(): readonly string[];
  /** When the last of them did. */
  lastDeathAt(): number;
  /** Crash points that the seed let pass once, and that nobody came by again. */
  spared(): readonly string[];
  /** Everything of our code that was on the way to an effect. */
  reached(): ReadonlySet<string>;
  readonly spawned: readonly SpawnedProcess[];
  /** The mailboxes that were connected. */
  readonly visited: readonly ConnectedMailbox[];
}

export async function startTour(seed: number): Promise<Tour> {
  const chance = chanceOf(seed);
  const dir = testDirectory("tour");
  const [log, armed, blobs] = [join(dir, "died"), join(dir, "armed"), join(dir, "blobs")];
  const database = await createTestDatabase();
  const { imapPort, lmtpPort } = dovecot();
  const mailServer = { imapPort, lmtpPort };
  const places = { databaseUrl: database.url, temporalAddress: temporalAddress(), mailServer };
  const installation = await startInstallation(places, {
    EVERPOST_PAGE_SIZE: "50",
    EVERPOST_BLOB_DIR: blobs,
    EVERPOST_API_PORT: String(await freePort()),
    NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, "crash-points.ts"))}`,
    CRASH_LOG: log,
    CRASH_ARMED: armed,
    CRASH_SEED: String(seed),
  });
  const spawned: SpawnedProcess[] = [];
  const visited: ConnectedMailbox[] = [];
  // Two, so that one is at work while the other comes up.
  const startWorker = () => spawnWorker(installation.env);
  const workers = [installation.worker, await startSupervised(startWorker)].map((worker) => keepAlive(worker, startWorker, spawned));
  const api = keepAlive(
    installation.api,
    async () => {
      // What the dead process had under way counts as abandoned after a minute; nobody waits for that here.
      await sql`update idempotency_keys set created_at = created_at - interval '61 seconds' where status is null`.execute(installation.db);
      return spawnApi(installation.env);
    },
    spawned,
  );
  onTestFinished(async () => {
    await Promise.all([...workers, api].map((one) => one.stop()));
    await installation[Symbol.asyncDispose]();
    await database.drop();
  });

  const ask: Tour["ask"] = (method, path, body) => {
    const headers = method === "POST" ? { "Idempotency-Key": randomUUID() } : {};
    return until(
      async () => {
        const answer = await installation.call(method, path, { body, headers });
        const mayMend = answer.status >= 500 || answer.status === 429 || answer.body?.code === "idempotency_in_flight";
        return mayMend ? undefined : answer;
      },
      `an answer to ${method} ${path}`,
      patienceMs,
    );
  };
  return {
    installation,
    mailServer,
    createMailUser,
    blobs,
    ask,
    async deliver(email) {
      await delay(chance.between(0, 1_000));
      return deliverNew(mailServer, email, installation.ledger);
    },
    async connect(more = {}) {
      const user = await createMailUser();
      const { status, body } = await ask("POST", "/v1/mailboxes", { ...installation.connectBody(user), ...more });
      if (status !== 201) throw new Error(`the mailbox was answered ${status}: ${JSON.stringify(body)}`);
      const mailbox = installation.asConnected(user, String(body.id), more);
      visited.push(mailbox);
      return mailbox;
    },
    arm: () => writeFileSync(armed, ""),
    disarm: () => rmSync(armed, { force: true }),
    died: () => linesOf(log),
    lastDeathAt: () => (existsSync(log) ? statSync(log).mtimeMs : 0),
    spared() {
      const died = new Set(linesOf(log));
      return linesOf(`${log}.spared`).filter((point) => !died.has(point));
    },
    reached: () => new Set(linesOf(`${log}.reached`)),
    spawned,
    visited,
  };
}

function linesOf(file: string): readonly string[] {
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
}

/** Starts a process again whenever it has died, as any supervisor does; one that dies on its way up is tried again. */
function keepAlive(first: SpawnedProcess, spawn: () => Promise<SpawnedProcess>, spawned: SpawnedProcess[]): { stop(): Promise<void> } {
  let current = first;
  let isStopping = false;
  const watching = (async () => {
    for (;;) {
      spawned.push(current);
      await current.exited;
      for (let next: SpawnedProcess | undefined; next === undefined; ) {
        if (isStopping) return;
        next = await spawn().catch(() => undefined);
        if (next !== undefined) current = next;
      }
    }
  })();
  return {
    async stop() {
      isStopping = true;
      await current.kill("SIGTERM");
      await watching;
    },
  };
}
