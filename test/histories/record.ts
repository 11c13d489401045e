import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Client, Connection, WithStartWorkflowOperation } from "@temporalio/client";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { createTransport } from "nodemailer";
import { createCommands } from "../../api/temporal-commands.ts";
import { saveCredentials } from "../../db/credentials.ts";
import { type Database, openDatabase } from "../../db/database.ts";
import { newId } from "../../db/ids.ts";
import { insertMessageAction } from "../../db/message-actions.ts";
import { migrate } from "../../db/migrate.ts";
import { scopedTo } from "../../db/scope.ts";
import { createWebhookEndpoint } from "../../db/webhook-endpoints.ts";
import type { CustomerId, MailboxId } from "../../domain/ids.ts";
import { defaultSyncSettings, type SyncSettings } from "../../domain/sync-settings.ts";
import { readyMessage, spawnEntryPoint } from "../../embedded/entry-point.ts";
import { freePort } from "../../embedded/ports.ts";
import { startPostgres } from "../../embedded/postgres.ts";
import { startTemporal } from "../../embedded/temporal.ts";
import { findTemporalBinary } from "../../embedded/temporal-binary.ts";
import { getProvider } from "../../providers/index.ts";
import { newSigningSecret } from "../../webhooks/sign.ts";
import {
  disconnectUpdate,
  mailbox,
  pauseUpdate,
  reconnectUpdate,
  resumeUpdate,
  resyncUpdate,
  settingsChangedSignal,
  syncUpdate,
  wakeSignal,
} from "../../workflows/mailbox.ts";
import { workflowIds } from "../../workflows/names.ts";
import { claimUser, startDovecot } from "../helpers/dovecot-server.ts";
import { sweep, testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";

// Records one history for each state a workflow can be in, from the real worker on a real mail server: `npm run histories`. Run it before a release
// and commit what it writes; test/workflows/replay.test.ts proves that later code still runs what this release began.

const root = join(import.meta.dirname, "../..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
const target = join(import.meta.dirname, version);

const dir = testDirectory("histories");
const endings: (() => unknown)[] = [];
const key = { name: "test", bytes: Buffer.alloc(32, 7) };

try {
  await record();
} finally {
  for (const end of endings.reverse()) await end();
  sweep(dir);
}

async function record(): Promise<void> {
  const [postgres, temporal, imap] = await Promise.all([
    startPostgres({ dataDir: join(dir, "postgres"), logFile: join(dir, "postgres.log"), port: await freePort(), password: "recorder" }),
    startTemporal({
      binary: await findTemporalBinary(process.env, console.log),
      dbFile: join(dir, "temporal.db"),
      logFile: join(dir, "temporal.log"),
      port: await freePort(),
      namespace: "mail",
    }),
    startDovecot(join(dir, "dovecot")),
  ]);
  endings.push(() => Promise.all([postgres.stop(), temporal.stop(), imap.stop()]));
  const db = openDatabase({ url: postgres.url, poolMax: 4 });
  endings.push(() => db.destroy());
  await migrate(db);
  const connection = await Connection.connect({ address: temporal.address });
  endings.push(() => connection.close());
  const client = new Client({ connection, namespace: temporal.namespace, identity: "recorder" });
  const env = {
    DATABASE_URL: postgres.url,
    EVERPOST_ENCRYPTION_KEYS: `${key.name}:${key.bytes.toString("base64")}`,
    EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    EVERPOST_STATUS_POLL_SECONDS: "1",
    EVERPOST_BLOB_DIR: join(dir, "blobs"),
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
  };
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });

  const customerId = newId("customer");
  await db.insertInto("customers").values({ id: customerId, name: "Example" }).execute();
  const endpointId = await addEndpoint(db, customerId);
  const silent = await listenSilently();
  const add = (options: Partial<NewMailbox> = {}) => addMailbox(db, customerId, { port: imap.ports.imap, ...claimUser(imap.dir), ...options });
  const deliver = (email: string, count: number) => deliverMail(imap.ports.lmtp, email, count);
  const tools = { client, save: (name: string, id: string, runId?: string) => save(client, name, id, runId) };

  await startWorker({ ...env, EVERPOST_WORKER_ROLES: "mail,providers,webhooks" });
  const stopIdle = await startWorker({ ...env, EVERPOST_WORKER_ROLES: "idle" });

  // More than is listed while a mailbox is opened; and nobody serves the queue of first syncs yet: it stays where it is while its history is read.
  const large = claimUser(imap.dir);
  await deliver(large.email, 1_001);
  const importing = await add(large);
  await start(client, importing);
  await untilScheduled(client, importing, "importHistory");
  await tools.save("mailbox-importing", workflowIds.mailbox(importing));
  await startWorker({ ...env, EVERPOST_WORKER_ROLES: "bulk" });
  await untilState(client, importing, "LIVE");

  const user = claimUser(imap.dir);
  await deliver(user.email, 5);
  const live = await add(user);
  await start(client, live);
  await untilState(client, live, "LIVE");

  for (let round = 0; round < 3; round += 1) {
    await deliver(user.email, 2);
    await untilTold(client, live, (round + 1) * 2);
  }
  await update(client, live, syncUpdate);
  await tools.save("mailbox-live", workflowIds.mailbox(live));
  await update(client, live, pauseUpdate);
  await untilState(client, live, "PAUSED");
  await tools.save("mailbox-paused", workflowIds.mailbox(live));
  await update(client, live, resumeUpdate);
  await handleOf(client, live).signal(settingsChangedSignal);
  await update(client, live, resyncUpdate);
  await update(client, live, reconnectUpdate);
  await untilState(client, live, "LIVE");
  await deliver(user.email, 1);
  await untilTold(client, live, 7);
  await update(client, live, disconnectUpdate, { purge: true });
  await handleOf(client, live).result();
  await tools.save("mailbox-disconnected", workflowIds.mailbox(live));
  await start(client, live);
  await handleOf(client, live).result();
  await tools.save("mailbox-gone", workflowIds.mailbox(live));

  await recordSettings(db, tools, { add, deliver, imapDir: imap.dir, env });
  await recordRequests(db, tools, { add, deliver, imapDir: imap.dir, customerId });

  const connecting = await add({ port: silent });
  await start(client, connecting);
  await untilScheduled(client, connecting, "openMailbox");
  await tools.save("mailbox-connecting", workflowIds.mailbox(connecting));

  const waiting = await add({ password: "wrong" });
  await start(client, waiting);
  await untilState(client, waiting, "NEEDS_RECONNECT");
  await tools.save("mailbox-waits-for-owner", workflowIds.mailbox(waiting));

  const failing = await add({ port: await freePort() });
  await start(client, failing);
  await until(async () => ((await stateOf(client, failing)).failing?.count ?? 0) >= 2, "two failures", 60_000);
  await tools.save("mailbox-failing", workflowIds.mailbox(failing));

  const long = claimUser(imap.dir);
  const continued = await add(long);
  await start(client, continued, { historyLengthMax: 60 });
  await untilState(client, continued, "LIVE");
  const { runId } = await handleOf(client, continued).describe();
  let told = 0;
  await until(
    async () => {
      await deliver(long.email, 1);
      await untilTold(client, continued, ++told);
      return (await handleOf(client, continued).describe()).runId !== runId;
    },
    "the next run",
    60_000,
  );
  await deliver(long.email, 1);
  await untilTold(client, continued, ++told);
  await tools.save("mailbox-continues-as-new", workflowIds.mailbox(continued), runId);
  await tools.save("mailbox-continued", workflowIds.mailbox(continued));

  await tools.save("webhook-relay", workflowIds.webhookRelay(endpointId));
  const shard = client.workflow.getHandle(workflowIds.idleShard("", 0));
  const { runId: firstShardRun } = await shard.describe();
  await tools.save("idle-shard", workflowIds.idleShard("", 0));
  // A worker that drains hands its shards on: the run continues as new.
  await stopIdle();
  await until(async () => (await shard.describe()).runId !== firstShardRun, "the shard's next run", 60_000);
  await tools.save("idle-shard-continues-as-new", workflowIds.idleShard("", 0), firstShardRun);

  await client.workflow.execute("housekeeping", { workflowId: "housekeeping-recorded", taskQueue: "mail" });
  await tools.save("housekeeping", "housekeeping-recorded");
}

interface Tools {
  readonly client: Client;
  readonly save: (name: string, id: string, runId?: string) => Promise<void>;
}

interface Mail {
  readonly add: (options?: Partial<NewMailbox>) => Promise<MailboxId>;
  readonly deliver: (email: string, count: number) => Promise<void>;
  readonly imapDir: string;
}

/** Settings that change while the mailbox runs, are carried out, and end its being listened for; contents that are kept. */
async function recordSettings(db: Database, { client, save }: Tools, { add, deliver, imapDir, env }: Mail & { readonly env: Readonly<Record<string, string>> }): Promise<void> {
  const user = claimUser(imapDir);
  await deliver(user.email, 3);
  const id = await add(user);
  await start(client, id);
  await untilState(client, id, "LIVE");
  await changeSync(db, client, id, { direction: "outbound" });
  await changeSync(db, client, id, { direction: "both", excludePaths: ["Archive"] });
  await save("mailbox-settled", workflowIds.mailbox(id));
  await changeSync(db, client, id, { frequency: "hourly" });
  await update(client, id, syncUpdate);
  await until(async () => (await mailboxRow(db, id)).idle_shard === null, "nobody to listen", 60_000);
  await save("mailbox-not-realtime", workflowIds.mailbox(id));

  await startWorker({ ...env, EVERPOST_WORKER_ROLES: "content" });
  await changeSync(db, client, id, { frequency: "realtime", content: "full" });
  await deliver(user.email, 2);
  await until(
    async () => (await db.selectFrom("message_blobs").select("message_id").where("mailbox_id", "=", id).execute()).length >= 2,
    "contents to be kept",
    60_000,
  );
  await client.workflow.getHandle(workflowIds.keepContent(id)).result();
  await save("keep-content", workflowIds.keepContent(id));
}

/** What the API has done for requests that wait. */
async function recordRequests(
  db: Database,
  { client, save }: Tools,
  { add, deliver, imapDir, customerId }: Mail & { readonly customerId: CustomerId },
): Promise<void> {
  const commands = createCommands({ client, taskQueuePrefix: "" });
  const user = claimUser(imapDir);
  await deliver(user.email, 2);
  const id = await add(user);
  await start(client, id);
  await untilState(client, id, "LIVE");
  const target = { id, customerId, provider: "imap" };
  const messages = await db.selectFrom("messages").select("id").where("mailbox_id", "=", id).execute();
  const items = messages.map((row) => ({ messageId: row.id, mailboxId: id, state: "queued" as const, problem: null }));
  for (const action of [{ type: "setFlags", add: ["seen"], remove: [] }, { type: "move", to: { role: "archive" } }] as const) {
    await insertMessageAction(scopedTo(db, { customerId, mailboxId: null }), { id: newId("messageAction"), customerId, mailboxId: id, action, whenAway: "queue" }, items);
    await commands.carryOutActions([target]);
  }
  await client.workflow.getHandle(workflowIds.messageActions(id)).result();
  await save("message-actions", workflowIds.messageActions(id));

  await commands.changeFolder(id, { type: "create", path: "Example" }, "recorded");
  await save("folder-change", "folder-change/recorded");
  const folders = await db.selectFrom("folders").select("id").where("mailbox_id", "=", id).execute();
  const counted = { mailboxId: id, folderIds: folders.map((folder) => folder.id), receivedFrom: Date.now() - 86_400_000 };
  await commands.countFolders(counted, "recorded");
  await save("folder-counts", "folder-counts/recorded");
  const [message] = messages;
  if (message === undefined) throw new Error("there is no message");
  await commands.fetchText(message.id);
  await save("message-text", workflowIds.messageText(message.id));
}

/** What a PATCH does, and waits until it was carried out. */
async function changeSync(db: Database, client: Client, id: MailboxId, sync: Partial<SyncSettings>): Promise<void> {
  const before = (await mailboxRow(db, id)).sync;
  const wanted = JSON.stringify({ ...before, ...sync });
  await db.updateTable("mailboxes").set({ sync: wanted, updated_at: new Date() }).where("id", "=", id).execute();
  await handleOf(client, id).signal(settingsChangedSignal);
  const isCarriedOut = async () => {
    const row = await mailboxRow(db, id);
    return JSON.stringify(row.settled_sync) === JSON.stringify(row.sync);
  };
  await until(isCarriedOut, "settings to be carried out", 60_000);
}

async function mailboxRow(db: Database, id: MailboxId) {
  return db.selectFrom("mailboxes").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
}

interface NewMailbox {
  readonly email: string;
  readonly password: string;
  readonly port: number;
}

async function addMailbox(db: Database, customerId: CustomerId, { email, password, port }: NewMailbox): Promise<MailboxId> {
  const id = newId("mailbox");
  const imap = getProvider("imap");
  const parsed = imap.connectSchema.parse({ imap: { host: "127.0.0.1", port, security: "none", allowInsecure: true }, password });
  const { settings, credentials } = imap.split(parsed, email);
  await db
    .insertInto("mailboxes")
    .values({ id, customer_id: customerId, email, provider: "imap", settings: JSON.stringify(settings), sync: JSON.stringify(defaultSyncSettings) })
    .execute();
  await saveCredentials(db, [key], { id, customerId }, credentials);
  return id;
}

async function addEndpoint(db: Database, customerId: CustomerId) {
  // What is taken at once never gets as far as the relay; what is refused has to be tried again by it.
  let isRefused = true;
  const server = createHttpServer((_request, response) => {
    response.writeHead(isRefused ? 503 : 204).end();
    isRefused = false;
  }).listen(0, "127.0.0.1");
  endings.push(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const settings = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    description: "",
    eventTypes: null,
    mailboxIds: null,
    includesText: false,
  };
  return (await createWebhookEndpoint(db, [key], customerId, settings, [{ secret: newSigningSecret(), expiresAt: null }])).id;
}

/** A server that takes connections and never says a word. */
async function listenSilently(): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => void sockets.add(socket.on("error", () => {}))).listen(0, "127.0.0.1");
  endings.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return (server.address() as AddressInfo).port;
}

async function deliverMail(port: number, email: string, count: number): Promise<void> {
  const transport = createTransport({ host: "127.0.0.1", port, lmtp: true, ignoreTLS: true, secure: false });
  for (let n = 0; n < count; n += 1) {
    const raw = `From: ann@example.test\r\nTo: ${email}\r\nSubject: Hello\r\nMessage-ID: <${newId("message")}@example.test>\r\n\r\nText.\r\n`;
    await transport.sendMail({ envelope: { from: "ann@example.test", to: [email] }, raw });
  }
  transport.close();
}

async function startWorker(env: Readonly<Record<string, string>>): Promise<() => Promise<void>> {
  const child = spawnEntryPoint("workers/worker.ts", { env: { ...process.env, ...env }, output: 2 });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = () => {
    child.kill("SIGTERM");
    return exited;
  };
  endings.push(stop);
  await new Promise<void>((resolve) => child.on("message", (message) => readyMessage(message) !== undefined && resolve()));
  return stop;
}

function handleOf(client: Client, id: MailboxId) {
  return client.workflow.getHandle<typeof mailbox>(workflowIds.mailbox(id));
}

async function start(client: Client, mailboxId: MailboxId, pace: { readonly historyLengthMax?: number } = {}): Promise<void> {
  await client.workflow.signalWithStart(mailbox, {
    workflowId: workflowIds.mailbox(mailboxId),
    taskQueue: "mail",
    args: [{ mailboxId, pace }],
    signal: wakeSignal,
    signalArgs: [{ paths: [] }],
  });
}

async function update(
  client: Client,
  mailboxId: MailboxId,
  definition: typeof syncUpdate | typeof disconnectUpdate,
  ...args: unknown[]
): Promise<void> {
  await client.workflow.executeUpdateWithStart(definition as typeof disconnectUpdate, {
    args: args as [{ purge: boolean }],
    startWorkflowOperation: new WithStartWorkflowOperation(mailbox, {
      workflowId: workflowIds.mailbox(mailboxId),
      taskQueue: "mail",
      args: [{ mailboxId }],
      workflowIdConflictPolicy: "USE_EXISTING",
    }),
  });
}

function stateOf(client: Client, id: MailboxId) {
  return handleOf(client, id).query<{ readonly told: number; readonly failing: { readonly count: number } | null }>("state");
}

async function untilTold(client: Client, id: MailboxId, told: number): Promise<void> {
  await until(async () => (await stateOf(client, id)).told >= told, `${told} events of ${id}`, 60_000);
}

async function untilState(client: Client, id: MailboxId, name: string): Promise<void> {
  const details = async () => (await handleOf(client, id).query<{ readonly currentDetails: string }>("__temporal_workflow_metadata")).currentDetails;
  await until(async () => (await details()).startsWith(`**${name}**`), `${id} to be ${name}`, 60_000);
}

async function untilScheduled(client: Client, id: MailboxId, activity: string): Promise<void> {
  await until(
    async () => (await handleOf(client, id).describe()).raw.pendingActivities?.some((pending) => pending.activityType?.name === activity),
    `${activity} of ${id}`,
    60_000,
  );
}

async function save(client: Client, name: string, workflowId: string, runId?: string): Promise<void> {
  const history = JSON.parse(historyToJSON(await client.workflow.getHandle(workflowId, runId).fetchHistory())) as {
    readonly events: readonly unknown[];
  };
  writeFileSync(join(target, `${name}.json`), `${JSON.stringify(withoutMachine(history), null, 1)}\n`);
  console.log(`${name}: ${history.events.length} events`);
}

/** Without what tells of the machine that recorded: who polled, and where its files lay. Replay looks at neither. */
function withoutMachine(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutMachine);
  if (typeof value !== "object" || value === null) return typeof value === "string" ? value.replaceAll(root, "") : value;
  const kept = Object.entries(value).filter(([name]) => name !== "stackTrace");
  return Object.fromEntries(kept.map(([name, member]) => [name, name === "identity" ? "recorder" : withoutMachine(member)]));
}
