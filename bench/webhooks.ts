import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { MockActivityEnvironment } from "@temporalio/testing";
import { sql } from "kysely";
import pino from "pino";
import { type DrainResult, webhookActivities } from "../activities/webhooks.ts";
import type { Database } from "../db/database.ts";
import { claimSleepingEndpoints, recordEvents } from "../db/events.ts";
import { newId } from "../db/ids.ts";
import { listDueDeliveries } from "../db/webhook-deliveries.ts";
import { createWebhookEndpoint } from "../db/webhook-endpoints.ts";
import type { CustomerId, WebhookEndpointId } from "../domain/ids.ts";
import { createHostResolver } from "../network/resolve-host.ts";
import { createDeliverer, type Deliverer } from "../webhooks/deliver.ts";
import { newSigningSecret } from "../webhooks/sign.ts";
import type { BenchContext, Benchmark } from "./harness.ts";

/** To a receiver on this machine, beside the same posts from a plain loop. */
const eventsAtScale1 = 5_000;
const lanesTried = [1, 16, 1_000];
const keyRing = [{ name: "bench", bytes: Buffer.alloc(32, 1) }];

/** How fast a relay drains, and what a look for work costs, by lanes. */
export const benchmark: Benchmark = { name: "webhooks", targets: {}, run };

async function run({ db, progress, scale }: BenchContext): Promise<Readonly<Record<string, number>>> {
  const eventsMax = Math.max(100, Math.round(eventsAtScale1 * scale));
  const resolveHost = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] });
  const deliverer = createDeliverer({ resolveHost });
  const receiver = createServer((request, response) => request.resume().on("end", () => response.writeHead(204).end()));
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;

  try {
    const body = JSON.stringify({ id: newId("event"), type: "mailbox.recovered", data: {} });
    const figures: Record<string, number> = {};
    figures.plainLoop = await perSecond(eventsMax, async () => {
      for (let i = 0; i < eventsMax; i++) await (await fetch(url, { method: "POST", body })).arrayBuffer();
    });
    figures.plainLoop16 = await perSecond(eventsMax, async () => {
      let left = eventsMax;
      const loop = async () => {
        while (left-- > 0) await (await fetch(url, { method: "POST", body })).arrayBuffer();
      };
      await Promise.all(Array.from({ length: 16 }, loop));
    });
    for (const lanes of lanesTried) {
      progress(`${lanes} lanes`);
      const { endpointId, told } = await fill(db, url, lanes, eventsMax);
      figures[`relay, ${lanes} lanes`] = await perSecond(told, async () => {
        const { delivered } = await drain(db, deliverer, endpointId);
        if (delivered !== told) throw new Error(`${delivered} of ${told} events were delivered`);
      });
    }
    for (const [lanes, pending] of [
      [1_000, eventsMax * 20],
      [1, eventsMax * 20],
    ] as const) {
      const { customerId, endpointId } = await fill(db, url, lanes, pending);
      await sql`analyze webhook_deliveries`.execute(db);
      const look = { afterLane: "", busyLanes: [], lanesMax: 64, perLaneMax: 32, deliveriesMax: 400 };
      figures[`ms a look, ${lanes} lanes`] = await milliseconds(() => listDueDeliveries(db, endpointId, look));
      await db
        .updateTable("webhook_deliveries")
        .set({ next_attempt_at: sql<Date>`now() + interval '1 hour'` })
        .where("endpoint_id", "=", endpointId)
        .execute();
      await sql`vacuum analyze webhook_deliveries`.execute(db);
      figures[`ms a look, nothing due, ${lanes} lanes`] = await milliseconds(() => listDueDeliveries(db, endpointId, look));
      figures[`ms a claim, nothing due, ${lanes} lanes`] = await milliseconds(() => claimSleepingEndpoints(db, customerId));
    }
    return figures;
  } finally {
    await deliverer.close();
    receiver.closeAllConnections();
    receiver.close();
  }
}

interface Filled {
  readonly customerId: CustomerId;
  readonly endpointId: WebhookEndpointId;
  /** The count, rounded up to the same number for each lane. */
  readonly told: number;
}

async function fill(db: Database, url: string, lanes: number, count: number): Promise<Filled> {
  const customerId = newId("customer");
  await db.insertInto("customers").values({ id: customerId, name: "Bench" }).execute();
  const mailboxIds = Array.from({ length: lanes }, () => newId("mailbox"));
  const rows = mailboxIds.map((id) => ({ id, customer_id: customerId, email: `${id}@example.test`, provider: "memory", settings: "{}", sync: "{}" }));
  await db.insertInto("mailboxes").values(rows).execute();
  const settings = { url, description: "", eventTypes: null, mailboxIds: null, includesText: false };
  const endpoint = await createWebhookEndpoint(db, keyRing, customerId, settings, [{ secret: newSigningSecret(), expiresAt: null }]);
  const perLane = Math.ceil(count / lanes);
  for (const mailboxId of mailboxIds) {
    for (let told = 0; told < perLane; told += 1_000) {
      const events = Array.from({ length: Math.min(1_000, perLane - told) }, () => ({ type: "mailbox.recovered" as const }));
      await db.transaction().execute((trx) => recordEvents(trx, { customerId, mailboxId }, events));
    }
  }
  return { customerId, endpointId: endpoint.id, told: perLane * lanes };
}

function drain(db: Database, deliverer: Deliverer, endpointId: WebhookEndpointId): Promise<DrainResult> {
  const signals = {
    wakeMailbox: async () => {},
    wakeActions: async () => {},
    startShard: async () => {},
    keepContent: async () => {},
    wakeRelay: async () => {},
  };
  const { drainEndpoint } = webhookActivities({
    db,
    keyRing,
    log: pino({ level: "silent" }),
    signals,
    draining: new AbortController().signal,
    deliverer,
  });
  return new MockActivityEnvironment().run(drainEndpoint, { endpointId }) as Promise<DrainResult>;
}

async function perSecond(count: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return Math.round((count / (performance.now() - started)) * 1_000);
}

/** The median of ten. */
async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const started = performance.now();
    await work();
    times.push(performance.now() - started);
  }
  return Math.round((times.sort((a, b) => a - b)[5] ?? 0) * 10) / 10;
}
