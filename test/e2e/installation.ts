import { randomBytes } from "node:crypto";
import { Client, Connection } from "@temporalio/client";
import { openBlobStore } from "../../blobs/index.ts";
import { loadConfig } from "../../config.ts";
import { createAccessKey } from "../../db/access-keys.ts";
import { createCustomer } from "../../db/customers.ts";
import { type Database, openDatabase } from "../../db/database.ts";
import { keyScopes } from "../../domain/access.ts";
import { type SpawnedApi, type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { until } from "../helpers/wait.ts";
import type { Trace } from "../security/traces.ts";
import { type Receiver, startReceiver } from "../webhooks/receiver.ts";
import { type Arrival, findFaults, type Keeping, type MailboxEvidence, type Shown } from "./checker.ts";
import { readKept, readStored, toArrival } from "./evidence.ts";
import { createLedger, deliverNew, type Ledger, listMail, type MailServer, type MailUser } from "./mail.ts";

export interface Places {
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  readonly mailServer: MailServer;
  /** Where mailboxes are connected to, if not at the mail server itself: a way to it that can be cut. */
  readonly imapPort?: number;
  /** By how much the clocks of its processes may be wrong, in seconds. */
  readonly clockErrorMaxS?: number;
}

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever members it expects; those that are missing fail it
  readonly body: any;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Another API process than the first. */
  readonly at?: { readonly url: string };
}

export interface ConnectedMailbox extends MailUser {
  readonly id: string;
  readonly keeping: Keeping;
}

/** What else a mailbox is connected with. */
export interface ConnectOptions {
  readonly sync?: { readonly content?: "metadata" | "text" | "full"; readonly attachments?: "skip" | "metadata" | "download" };
}

/** Everpost as its users have it: worker and API as processes, one customer, and a webhook receiver that has been there from the beginning. */
export interface Installation extends AsyncDisposable {
  readonly db: Database;
  /** What its processes are started with, for one more of them. */
  readonly env: Readonly<Record<string, string>>;
  readonly api: SpawnedApi;
  readonly worker: SpawnedProcess;
  readonly receiver: Receiver;
  readonly ledger: Ledger;
  /** What must be found nowhere, by what it is; passwords of mailboxes are with their users. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Every answer of the API that said no, as it came. */
  readonly refusals: readonly Trace[];
  /** The body that connects this user's mailbox. */
  connectBody(user: MailUser): Record<string, unknown>;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  connect(user: MailUser, more?: ConnectOptions, how?: Omit<CallOptions, "body">): Promise<ConnectedMailbox>;
  /** A mailbox that was connected otherwise, with the settings that it was connected with. */
  asConnected(user: MailUser, id: string, options?: ConnectOptions): ConnectedMailbox;
  show(id: string): Promise<Shown & { readonly watch: string }>;
  /** Resolves when the API shows the mailbox as connected and live, and somebody listens for changes. */
  untilLive(id: string, timeoutMs?: number): Promise<void>;
  /** Delivers a message and resolves, with the milliseconds it took, when the receiver has been told of it. */
  deliverAndWait(email: string, timeoutMs?: number): Promise<number>;
  /** Resolves when the receiver was told of everything that was delivered. */
  untilAllTold(timeoutMs?: number): Promise<void>;
  startWorker(): Promise<void>;
  /** Runs housekeeping now, by its own schedule, which otherwise fires every five minutes. */
  keepHouse(): Promise<void>;
  evidence(mailbox: ConnectedMailbox): Promise<MailboxEvidence>;
  /** What is still wrong after everything had time to settle. */
  faults(mailbox: ConnectedMailbox, patienceMs?: number): Promise<readonly string[]>;
}

const environment = {
  EVERPOST_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}`,
  EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
  EVERPOST_LOG_LEVEL: "warn",
  // What IDLE fails to tell is found by asking; in two minutes by default, which is longer than these tests wait.
  EVERPOST_STATUS_POLL_SECONDS: "3",
};

export async function startInstallation(places: Places, settings: Readonly<Record<string, string>> = {}): Promise<Installation> {
  const env = {
    ...environment,
    DATABASE_URL: places.databaseUrl,
    TEMPORAL_ADDRESS: places.temporalAddress,
    TEMPORAL_NAMESPACE: "mail",
    EVERPOST_TASK_QUEUE_PREFIX: `k${randomBytes(4).toString("hex")}`,
    ...settings,
  };
  const db = openDatabase({ url: places.databaseUrl, poolMax: 4 });
  const receiver = await startReceiver();
  const customer = await createCustomer(db, { name: "Kill Ltd" });
  const { key } = await createAccessKey(db, { customerId: customer.id, role: "customer", name: "test", scopes: keyScopes });
  const [api, firstWorker] = await Promise.all([spawnApi(env), until(() => spawnWorker(env), "a worker to come up", 30_000)]);
  let worker = firstWorker;
  const { mailServer } = places;
  const ledger = createLedger();
  const { keyRing, blobs } = loadConfig(env);
  const vault = { keyRing, blobs: openBlobStore(blobs) };

  const refusals: Trace[] = [];

  const call: Installation["call"] = async (method, path, { body, headers = {}, at = api } = {}) => {
    const response = await fetch(`${at.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok)
      refusals.push({ where: `answer ${response.status} to ${method} ${path}`, text: `${[...response.headers].join("\n")}\n${text}` });
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  };

  const endpoint = await call("POST", "/v1/webhook-endpoints", { body: { url: receiver.url } });
  if (endpoint.status !== 201) throw new Error(`no webhook endpoint: ${JSON.stringify(endpoint.body)}`);
  const secret = String(endpoint.body.secret);

  const toldIds = createToldIds(receiver);
  const arrivals = createArrivals(receiver, secret, places.clockErrorMaxS);

  const connectBody = (user: MailUser) => ({
    email: user.email,
    password: user.password,
    imap: { host: "127.0.0.1", port: places.imapPort ?? mailServer.imapPort, security: "none", allowInsecure: true },
  });

  const show: Installation["show"] = async (id) => {
    const { status, body } = await call("GET", `/v1/mailboxes/${id}`);
    if (status !== 200) throw new Error(`the mailbox is answered ${status}: ${JSON.stringify(body)}`);
    const { messages, unseen } = body.counts;
    return { status: body.status, flow: body.flow.state, problem: body.problem, messages, unseen, watch: body.watch };
  };

  const evidence: Installation["evidence"] = async (mailbox) => {
    const { watch: _, ...shown } = await show(mailbox.id);
    return {
      mailboxId: mailbox.id,
      delivered: ledger.of(mailbox.email),
      listed: await listMail(mailServer, mailbox, mailbox.keeping.sources),
      stored: await readStored(db, mailbox.id),
      shown,
      arrivals: arrivals().filter(({ mailboxId }) => mailboxId === mailbox.id),
      keeping: mailbox.keeping,
      kept: await readKept(db, vault, mailbox.id),
    };
  };

  return {
    db,
    env,
    api,
    get worker() {
      return worker;
    },
    receiver,
    ledger,
    secrets: {
      "the access key": key,
      "the webhook secret": secret,
      "the key ring": env.EVERPOST_ENCRYPTION_KEYS.split(":")[1] ?? "",
      "the database's password": new URL(places.databaseUrl).password,
    },
    refusals,
    connectBody,
    call,
    async connect(user, more = {}, how = {}) {
      const { status, body } = await call("POST", "/v1/mailboxes", { ...how, body: { ...connectBody(user), ...more } });
      if (status !== 201) throw new Error(`the mailbox was answered ${status}: ${JSON.stringify(body)}`);
      return asConnected(user, String(body.id), more);
    },
    asConnected,
    show,
    async untilLive(id, timeoutMs = 60_000) {
      await until(async () => isLive(await show(id)), `mailbox ${id} to be live`, timeoutMs);
    },
    async deliverAndWait(email, timeoutMs = 60_000) {
      const messageId = await deliverNew(mailServer, email, ledger);
      const startedAt = performance.now();
      await until(() => toldIds().has(messageId), `${messageId} to be told`, timeoutMs);
      return performance.now() - startedAt;
    },
    async untilAllTold(timeoutMs = 90_000) {
      const missing = () => ledger.entries.filter(({ isTold, messageId }) => isTold && !toldIds().has(messageId));
      await until(() => missing().length === 0, "everything that was delivered to be told", timeoutMs).catch((error: unknown) => {
        const list = missing().map(({ messageId }) => messageId);
        throw new Error(`${list.length} of ${ledger.entries.length} were not told: ${list.slice(0, 10).join(", ")}`, { cause: error });
      });
    },
    async startWorker() {
      worker = await spawnWorker(env);
    },
    async keepHouse() {
      const connection = await Connection.connect({ address: places.temporalAddress });
      try {
        const client = new Client({ connection, namespace: env.TEMPORAL_NAMESPACE });
        await client.schedule.getHandle(`${env.EVERPOST_TASK_QUEUE_PREFIX}-housekeeping`).trigger();
      } finally {
        await connection.close();
      }
    },
    evidence,
    async faults(mailbox, patienceMs = settlingMs) {
      let faults: readonly string[] = [];
      const isClean = async () => {
        faults = findFaults(await evidence(mailbox));
        return faults.length === 0;
      };
      await until(isClean, "a state without faults", patienceMs).catch(() => {});
      return faults;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([worker.kill("SIGTERM"), api.kill("SIGTERM")]);
      await receiver.close();
      await db.destroy();
    },
  };
}

function asConnected(user: MailUser, id: string, { sync = {} }: ConnectOptions = {}): ConnectedMailbox {
  const { content = "metadata", attachments } = sync;
  return { ...user, id, keeping: { texts: content !== "metadata", sources: content === "full", attachments: attachments === "download" } };
}

/**
 * What is told arrives a moment before it is written down that it did; if the worker dies in between, the relay's next run tells it again half a minute
 * later; what was claimed and never signalled is found within two minutes.
 */
const settlingMs = 120_000;

function isLive({ status, flow, watch }: { readonly status: string; readonly flow: string; readonly watch: string }): boolean {
  return status === "connected" && flow === "live" && watch === "watching";
}

/** What the receiver was sent so far, as a customer reads it; each request is read once. */
function createArrivals(receiver: Receiver, secret: string, clockErrorMaxS?: number): () => readonly Arrival[] {
  const arrivals: Arrival[] = [];
  return () => {
    for (const request of receiver.received.slice(arrivals.length)) arrivals.push(toArrival(secret, request, clockErrorMaxS));
    return arrivals;
  };
}

/** The Message-IDs that the receiver was told of so far; each request is read once. */
function createToldIds(receiver: Receiver): () => ReadonlySet<string> {
  const told = new Set<string>();
  let read = 0;
  return () => {
    for (; read < receiver.received.length; read++) {
      const { type, data } = JSON.parse(receiver.received[read]?.body ?? "{}") as { type?: string; data?: { message?: { messageId?: string } } };
      if (type === "message.created" && data?.message?.messageId !== undefined) told.add(data.message.messageId);
    }
    return told;
  };
}
