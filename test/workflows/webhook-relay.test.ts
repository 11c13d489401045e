import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker, type WorkflowBundleWithSourceMap } from "@temporalio/worker";
import pino from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { webhookActivities } from "../../activities/webhooks.ts";
import { claimSleepingEndpoints } from "../../db/events.ts";
import { enableWebhookEndpoint } from "../../db/webhook-endpoints.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../../domain/ids.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { taskQueueName, workflowIds } from "../../workflows/names.ts";
import { type WebhookRelayInput, wakeSignal, webhookRelay } from "../../workflows/webhook-relay.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { connectTemporal, type TemporalConnection, temporalAddress, temporalNamespace, workflowCache } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";
import { createCustomer, createEndpoint, createMailboxes, keyRing, tell } from "../webhooks/outbox.ts";
import { hang, startReceiver } from "../webhooks/receiver.ts";

const resolveHost = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] });
const deliverer = createDeliverer({ resolveHost, timeoutMs: 3_000 });
const log = pino({ level: "silent" });
const prefix = `relay-${randomBytes(4).toString("hex")}`;

let database: TestDatabase;
let temporal: TemporalConnection;
let connection: NativeConnection;
let workflowBundle: WorkflowBundleWithSourceMap;
let workers: RunningWorker[];
let customerId: CustomerId;
let mailboxIds: readonly MailboxId[];
let pace: NonNullable<WebhookRelayInput["pace"]>;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  database = await createTestDatabase();
  temporal = await connectTemporal();
  connection = await NativeConnection.connect({ address: temporalAddress() });
  workflowBundle = await bundleWorkflowCode({ workflowsPath: fileURLToPath(new URL("../../workflows/webhook-relay.ts", import.meta.url)) });
  workers = [await startWorker("mail"), await startWorker("webhooks")];
});
afterAll(async () => {
  await Promise.all(workers.map(({ stop }) => stop()));
  await connection.close();
  await temporal.close();
  await deliverer.close();
  await database.drop();
});
beforeEach(async () => {
  customerId = await createCustomer(database.db);
  mailboxIds = await createMailboxes(database.db, customerId, 2);
  pace = {};
});

interface RunningWorker {
  stop(): Promise<void>;
}

async function startWorker(queue: "mail" | "webhooks"): Promise<RunningWorker> {
  const signals = {
    wakeMailbox: async () => {},
    startShard: async () => {},
    keepContent: async () => {},
    wakeActions: async () => {},
    wakeRelay: wake,
  };
  const worker = await Worker.create({
    connection,
    namespace: temporalNamespace(),
    taskQueue: taskQueueName(prefix, queue),
    ...(queue === "mail"
      ? { workflowBundle, ...workflowCache() }
      : {
          activities: webhookActivities({
            db: database.db,
            keyRing,
            log,
            signals,
            draining: new AbortController().signal,
            deliverer,
            schedule: [20, 20, 20],
            random: () => 0.5,
          }),
        }),
  });
  const running = worker.run();
  return {
    async stop() {
      if (worker.getState() === "RUNNING") worker.shutdown();
      await running;
    },
  };
}

async function wake(endpointId: WebhookEndpointId): Promise<void> {
  await temporal.client.workflow.signalWithStart(webhookRelay, {
    workflowId: workflowIds.webhookRelay(endpointId),
    taskQueue: taskQueueName(prefix, "mail"),
    args: [{ endpointId, pace }],
    signal: wakeSignal,
  });
}

/** What a mailbox's workflow does: tells, commits, and wakes whoever sleeps. */
async function tellAndWake(mailboxId: MailboxId, count = 1): Promise<void> {
  await tell(database.db, customerId, mailboxId, count);
  for (const id of await claimSleepingEndpoints(database.db, customerId)) await wake(id);
}

const mailbox = (index: number): MailboxId => mailboxIds[index] as MailboxId;
const describeRelay = (id: WebhookEndpointId) => temporal.client.workflow.getHandle(workflowIds.webhookRelay(id)).describe();
const terminate = (id: WebhookEndpointId) =>
  temporal.client.workflow
    .getHandle(workflowIds.webhookRelay(id))
    .terminate("the test is over")
    .catch(() => {});

test("delivers within a second of the commit, sleeps, and is woken again, with few events for many deliveries", async () => {
  await using receiver = await startReceiver();
  const { id } = await createEndpoint(database.db, customerId, receiver.url);
  await tellAndWake(mailbox(0));
  await until(() => receiver.received.length === 1, "the first delivery");
  const latencies: number[] = [];
  for (let i = 2; i <= 5; i++) {
    const toldAt = Date.now();
    await tellAndWake(mailbox(0));
    await until(() => receiver.received.length === i, "a delivery");
    latencies.push((receiver.received.at(-1)?.at ?? 0) - toldAt);
  }
  expect(Math.min(...latencies)).toBeLessThan(1_000);
  await tellAndWake(mailbox(1), 500);
  await until(() => receiver.received.length === 505, "the flood");
  const { historyLength, typedSearchAttributes, status } = await describeRelay(id);
  expect(status.name).toBe("RUNNING");
  expect(historyLength).toBeLessThan(100);
  expect(JSON.stringify(typedSearchAttributes)).toContain(customerId);
  await terminate(id);
});

test("tries again by itself when the pause is over", async () => {
  let failures = 2;
  await using receiver = await startReceiver((_got, response) => void (failures-- > 0 && response.writeHead(500).end()));
  const { id } = await createEndpoint(database.db, customerId, receiver.url);
  await tellAndWake(mailbox(0), 2);
  await until(() => receiver.received.length === 4, "two failures and two successes");
  expect(receiver.received.map(({ body }) => JSON.parse(body).sequence)).toEqual([1, 1, 1, 2]);
  await terminate(id);
});

test("ends when nothing is pending, and the next event starts it again", async () => {
  await using receiver = await startReceiver();
  const { id } = await createEndpoint(database.db, customerId, receiver.url);
  pace = { idleMs: 50 };
  await tellAndWake(mailbox(0));
  await until(async () => (await describeRelay(id)).status.name === "COMPLETED", "the relay to end");
  expect(receiver.received).toHaveLength(1);
  await tellAndWake(mailbox(0));
  await until(() => receiver.received.length === 2, "the delivery by the relay's second life");
});

test("continues as new while it is woken again and again, and delivers everything once and in order", async () => {
  await using receiver = await startReceiver();
  const { id } = await createEndpoint(database.db, customerId, receiver.url);
  pace = { historyLengthMax: 15 };
  let told = 0;
  const tell = async () => {
    await tellAndWake(mailbox(0));
    told += 1;
  };
  // One drain may take many events: they are told until the history was cut, and once more.
  await until(async () => {
    await tell();
    const { raw } = await describeRelay(id);
    return raw.workflowExecutionInfo?.firstRunId !== raw.workflowExecutionInfo?.execution?.runId;
  }, "the relay to continue as new");
  await tell();
  await until(() => receiver.received.length >= told, "all deliveries");
  expect(receiver.received.map(({ body }) => JSON.parse(body).sequence)).toEqual(Array.from({ length: told }, (_, i) => i + 1));
  expect((await describeRelay(id)).status.name).toBe("RUNNING");
  await terminate(id);
});

test("ends for a disabled endpoint and is revived by enabling it, with what was pending", async () => {
  let isGone = true;
  await using receiver = await startReceiver((_got, response) => void response.writeHead(isGone ? 410 : 200).end());
  const { id } = await createEndpoint(database.db, customerId, receiver.url);
  await tellAndWake(mailbox(0), 3);
  await until(async () => (await describeRelay(id)).status.name === "COMPLETED", "the relay to end");
  isGone = false;
  await database.db.transaction().execute((trx) => enableWebhookEndpoint(trx, id));
  for (const sleeping of await claimSleepingEndpoints(database.db, customerId)) await wake(sleeping);
  await until(() => receiver.received.length === 4, "what was pending");
  expect(receiver.received.map(({ body }) => JSON.parse(body).sequence)).toEqual([1, 1, 2, 3]);
  await terminate(id);
});

test("keeps a good endpoint quick beside one that hangs", async () => {
  await using hanging = await startReceiver((_got, response) => hang(response));
  await using good = await startReceiver();
  const slow = await createEndpoint(database.db, customerId, hanging.url);
  const quick = await createEndpoint(database.db, customerId, good.url);
  await tellAndWake(mailbox(0), 20);
  await until(() => good.received.length === 20, "the good endpoint's events", 2_500);
  // One request a lane, whenever its relay's turn came: what follows in the lane waits behind it.
  await until(() => hanging.received.length > 0, "the request that hangs");
  expect(hanging.received.map(({ body }) => JSON.parse(body).sequence)).toEqual([1]);
  await Promise.all([terminate(slow.id), terminate(quick.id)]);
});

test("hands what a stopped worker had under way to the next one, and loses nothing", async () => {
  let isHanging = true;
  await using receiver = await startReceiver((_got, response) => {
    if (isHanging && receiver.received.length === 5) hang(response);
  });
  const { id } = await createEndpoint(database.db, customerId, receiver.url);
  await tellAndWake(mailbox(0), 10);
  await until(() => receiver.received.length === 5, "the delivery that hangs");
  const [, worker] = workers;
  await worker?.stop();
  isHanging = false;
  workers[1] = await startWorker("webhooks");
  await until(() => receiver.received.length >= 11, "the rest");
  const sequences = receiver.received.map(({ body }) => JSON.parse(body).sequence);
  expect(sequences).toEqual([1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10]);
  expect(receiver.received[4]?.headers["webhook-id"]).toBe(receiver.received[5]?.headers["webhook-id"]);
  await terminate(id);
});
