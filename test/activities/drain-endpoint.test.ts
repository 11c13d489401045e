import { CancelledFailure } from "@temporalio/common";
import { MockActivityEnvironment } from "@temporalio/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type DrainDependencies, type DrainResult, webhookActivities } from "../../activities/webhooks.ts";
import { claimSleepingEndpoints, recordEvents } from "../../db/events.ts";
import { newId } from "../../db/ids.ts";
import { saveMessageTexts } from "../../db/message-texts.ts";
import { listStaleAwakeEndpoints } from "../../db/webhook-deliveries.ts";
import { deleteWebhookEndpoint, disableWebhookEndpoint, enableWebhookEndpoint } from "../../db/webhook-endpoints.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../../domain/ids.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { createDeliverer, type Deliverer } from "../../webhooks/deliver.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/wait.ts";
import { createCustomer, createEndpoint, createMailboxes, tell } from "../webhooks/outbox.ts";
import { hang, isSignedBy, type Received, startReceiver } from "../webhooks/receiver.ts";
import { createDrains, type TestDrains } from "./drains.ts";

let test: TestDatabase;
let customerId: CustomerId;
let mailboxIds: readonly MailboxId[];
let drains: TestDrains;

beforeAll(async () => {
  test = await createTestDatabase();
  drains = createDrains(test.db, [5, 5]);
});
afterAll(async () => {
  await drains.close();
  await test.drop();
});
beforeEach(async () => {
  customerId = await createCustomer(test.db);
  mailboxIds = await createMailboxes(test.db, customerId, 3);
  drains.woken.length = 0;
});

function drain(id: WebhookEndpointId, options: Partial<DrainDependencies> = {}, env = new MockActivityEnvironment()): Promise<DrainResult> {
  const { drainEndpoint } = webhookActivities({ ...drains, random: () => 0.5, ...options });
  return env.run(drainEndpoint, { endpointId: id });
}

const mailbox = (index: number): MailboxId => mailboxIds[index] as MailboxId;
const parsed = (received: readonly Received[]) =>
  received.map(({ body }) => JSON.parse(body) as { id: string; mailboxId: string; sequence: number; account: string });
const sequencesOf = (received: readonly Received[], id: MailboxId) =>
  parsed(received)
    .filter((got) => got.mailboxId === id)
    .map((got) => got.sequence);
const endpointRow = (id: WebhookEndpointId) => test.db.selectFrom("webhook_endpoints").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
const deliveriesOf = (id: WebhookEndpointId) =>
  test.db.selectFrom("webhook_deliveries").selectAll().where("endpoint_id", "=", id).orderBy("position").execute();
const makeDue = (id: WebhookEndpointId) =>
  test.db
    .updateTable("webhook_deliveries")
    .set({ next_attempt_at: new Date() })
    .where("endpoint_id", "=", id)
    .where("state", "=", "pending")
    .execute();
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("drainEndpoint", () => {
  it("delivers everything once, signed, in order within each mailbox", async () => {
    await using receiver = await startReceiver();
    const { id, secret } = await createEndpoint(test.db, customerId, receiver.url);
    for (const mailboxId of mailboxIds) await tell(test.db, customerId, mailboxId, 150);
    await tell(test.db, customerId, null, 3);
    expect(await drain(id)).toMatchObject({ state: "asleep", customerId, delivered: 453, failed: 0, nextDueAt: null });
    for (const mailboxId of mailboxIds) expect(sequencesOf(receiver.received, mailboxId)).toEqual(upTo(150));
    expect(new Set(receiver.received.map((got) => got.headers["webhook-id"])).size).toBe(453);
    expect(receiver.received.every((got) => isSignedBy(secret, got) && got.headers["webhook-id"] === JSON.parse(got.body).id)).toBe(true);
    expect((await endpointRow(id)).is_awake).toBe(false);
    expect((await deliveriesOf(id)).every((row) => row.state === "delivered" && row.attempts.length === 1)).toBe(true);
  });

  it("sends a stable body: the same members in the same order, the account's own name among them", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(1), 1);
    await drain(id);
    const [body] = receiver.received.map((got) => JSON.parse(got.body));
    expect(Object.keys(body)).toEqual(["id", "type", "timestamp", "mailboxId", "account", "sequence", "data"]);
    expect(body).toMatchObject({ type: "mailbox.recovered", mailboxId: mailbox(1), account: "agent-1", sequence: 1, data: {} });
  });

  it("repeats a failed head after its pause, before what follows in its lane, while other lanes go on [row 107]", async () => {
    let failures = 2;
    await using receiver = await startReceiver((got, response) => {
      if (JSON.parse(got.body).mailboxId === mailbox(0) && failures-- > 0) response.writeHead(503).end();
    });
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 3);
    await tell(test.db, customerId, mailbox(1), 3);
    const first = await drain(id, { schedule: [60_000, 5] });
    expect(first).toMatchObject({ state: "asleep", delivered: 3, failed: 1 });
    expect(first.nextDueAt).toBeGreaterThan(Date.now() + 50_000);
    expect(sequencesOf(receiver.received, mailbox(0))).toEqual([1]);
    await makeDue(id);
    await until(async () => (await drain(id, { schedule: [60_000, 5] })).nextDueAt === null, "the lane to empty");
    expect(sequencesOf(receiver.received, mailbox(0))).toEqual([1, 1, 1, 2, 3]);
    const [head] = await deliveriesOf(id);
    expect(head?.attempts.map(({ status, error }) => [status, error])).toEqual([
      [503, "answered 503"],
      [503, "answered 503"],
      [204, null],
    ]);
    expect((await endpointRow(id)).failing_since).toBeNull();
  });

  it("waits as long as Retry-After says", async () => {
    await using receiver = await startReceiver((_got, response) => void response.writeHead(429, { "retry-after": "600" }).end());
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 1);
    const { nextDueAt } = await drain(id);
    expect(nextDueAt).toBeGreaterThan(Date.now() + 590_000);
  });

  it("lets a hanging receiver hold its lane's slot only, and sees what comes meanwhile", async () => {
    await using receiver = await startReceiver((got, response) => {
      if (JSON.parse(got.body).mailboxId === mailbox(0)) hang(response);
    });
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 1);
    const draining = drain(id, { schedule: [60_000] });
    await until(() => receiver.received.length === 1, "the request that hangs");
    const toldAt = Date.now();
    await tell(test.db, customerId, mailbox(1), 5);
    await until(() => sequencesOf(receiver.received, mailbox(1)).length === 5, "the other mailbox's events");
    expect(Date.now() - toldAt).toBeLessThan(900);
    expect(await draining).toMatchObject({ delivered: 5, failed: 1 });
  });

  it("delivers again, under the same webhook-id and in order, what a killed run had not written down [row 107]", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 3);
    // A process that dies between the answer and the record: the post is made, and nothing of this run reaches the database.
    let posts = 0;
    const dying = {
      ...drains.deliverer,
      deliver: async (post: Parameters<Deliverer["deliver"]>[0]) => {
        const outcome = await drains.deliverer.deliver(post);
        posts++;
        if (posts === 2) throw new Error("killed");
        return outcome;
      },
    };
    await expect(drain(id, { deliverer: dying })).rejects.toThrow("killed");
    expect((await endpointRow(id)).is_awake).toBe(true);
    await drain(id);
    expect(sequencesOf(receiver.received, mailbox(0))).toEqual([1, 2, 2, 3]);
    const ids = receiver.received.map((got) => got.headers["webhook-id"]);
    expect(ids[1]).toBe(ids[2]);
    expect(new Set(ids).size).toBe(3);
  });

  it("stops when it is cancelled, keeps what was delivered, and leaves the rest to the next run", async () => {
    await using receiver = await startReceiver((_got, response) => (receiver.received.length > 2 ? hang(response) : undefined));
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 5);
    const env = new MockActivityEnvironment();
    const draining = drain(id, {}, env);
    draining.catch(() => {});
    await until(() => receiver.received.length === 3, "the request that hangs");
    env.cancel("WORKER_SHUTDOWN");
    await expect(draining).rejects.toBeInstanceOf(CancelledFailure);
    expect((await deliveriesOf(id)).map(({ state, attempts }) => [state, attempts.length])).toEqual([
      ["delivered", 1],
      ["delivered", 1],
      ["pending", 0],
      ["pending", 0],
      ["pending", 0],
    ]);
  });

  it("disables an endpoint that answers 410 at once, tells the others, and keeps what is pending", async () => {
    await using receiver = await startReceiver((_got, response) => void response.writeHead(410).end());
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 3);
    const other = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/", { eventTypes: ["webhook.disabled"] });
    expect(await drain(id)).toMatchObject({ state: "ended", delivered: 0, failed: 1 });
    const row = await endpointRow(id);
    expect(row).toMatchObject({ is_enabled: false, is_awake: false });
    expect(row.disabled_reason).toContain("410");
    expect(row.disabled_reason).toContain(`/v1/webhook-endpoints/${id}/enable`);
    expect(drains.woken).toEqual([other.id]);
    const told = await test.db
      .selectFrom("events")
      .selectAll()
      .where("customer_id", "=", customerId)
      .where("type", "=", "webhook.disabled")
      .execute();
    expect(told.map(({ data }) => data)).toEqual([{ endpointId: id, reason: row.disabled_reason }]);
    expect((await deliveriesOf(id)).map(({ state }) => state)).toEqual(["pending", "pending", "pending"]);
    expect(await drain(id)).toMatchObject({ state: "ended", delivered: 0 });
  });

  it("disables an endpoint whose schedule is used up without any success, and goes on where it stopped once enabled", async () => {
    let isBroken = true;
    await using receiver = await startReceiver((_got, response) => void response.writeHead(isBroken ? 500 : 204).end());
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 2);
    await until(async () => (await drain(id)).state === "ended", "the endpoint to be disabled");
    expect(sequencesOf(receiver.received, mailbox(0))).toEqual([1, 1, 1]);
    expect((await endpointRow(id)).disabled_reason).toMatch(/^Nothing arrived since .*answered 500/);
    await tell(test.db, customerId, mailbox(0), 1);
    isBroken = false;
    await test.db.transaction().execute((trx) => enableWebhookEndpoint(trx, id));
    await tell(test.db, customerId, mailbox(0), 1);
    expect(await drain(id)).toMatchObject({ state: "asleep", delivered: 3 });
    // The third event happened while the endpoint was disabled: it is not queued, a replay brings it.
    expect(sequencesOf(receiver.received, mailbox(0)).slice(3)).toEqual([1, 2, 4]);
  });

  it("gives up one event that only it fails, and goes on with its lane", async () => {
    await using receiver = await startReceiver((got, response) => {
      const { mailboxId, sequence } = JSON.parse(got.body);
      if (mailboxId === mailbox(0) && sequence === 1) response.writeHead(400).end();
    });
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 2);
    await drain(id, { schedule: [60_000, 5] });
    await tell(test.db, customerId, mailbox(1), 1);
    await drain(id);
    await makeDue(id);
    await until(async () => (await drain(id)).nextDueAt === null, "the lane to empty");
    expect((await deliveriesOf(id)).map(({ state }) => state)).toEqual(["failed", "delivered", "delivered"]);
    expect(await endpointRow(id)).toMatchObject({ is_enabled: true, failing_since: null });
  });

  it("counts a refused private address as a failed attempt and says why", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 1);
    const closed = createDeliverer({ resolveHost: createHostResolver({ allowPrivateNetworks: [] }) });
    expect(await drain(id, { deliverer: closed, schedule: [60_000] })).toMatchObject({ delivered: 0, failed: 1 });
    await closed.close();
    expect((await deliveriesOf(id))[0]?.attempts).toMatchObject([{ status: null, error: "the host's address is not allowed" }]);
    expect(receiver.received).toHaveLength(0);
  });

  it("sends text only to endpoints that ask for it", async () => {
    await using receiver = await startReceiver();
    const plain = await createEndpoint(test.db, customerId, `${receiver.url}/plain`);
    const full = await createEndpoint(test.db, customerId, `${receiver.url}/full`, { includesText: true });
    const messageId = newId("message");
    await saveMessageTexts(test.db, { customerId, mailboxId: mailbox(0) }, [{ messageId, text: "Dear all", isTruncated: false }]);
    const created = { type: "message.created", message: { id: messageId, subject: "Hello" } } as never;
    await test.db.transaction().execute((trx) => recordEvents(trx, { customerId, mailboxId: mailbox(0) }, [created]));
    await drain(plain.id);
    await drain(full.id);
    expect(receiver.received.map((got) => [got.path, JSON.parse(got.body).data.message])).toEqual([
      ["/hook/plain", { id: messageId, subject: "Hello" }],
      ["/hook/full", { id: messageId, subject: "Hello", text: "Dear all" }],
    ]);
  });

  it("comes back for more when its time is up, without losing its place", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 1_500);
    let runs = 0;
    await until(async () => {
      runs++;
      return (await drain(id, { runMsMax: 100 })).state === "asleep";
    }, "the backlog to be drained");
    expect(runs).toBeGreaterThan(1);
    expect(sequencesOf(receiver.received, mailbox(0))).toEqual(upTo(1_500));
  });

  it("removes what is left of a deleted endpoint, and ends for one that is gone", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 3);
    await deleteWebhookEndpoint(test.db, id);
    expect(await drain(id)).toMatchObject({ state: "ended" });
    expect(await deliveriesOf(id)).toEqual([]);
    expect(await drain(id)).toMatchObject({ state: "ended", customerId: null });
    expect(receiver.received).toHaveLength(0);
  });
});

describe("claimSleepingEndpoints", () => {
  it("gives each sleeping endpoint with something due to one caller only", async () => {
    const { id } = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    expect(await claimSleepingEndpoints(test.db, customerId)).toEqual([]);
    await tell(test.db, customerId, mailbox(0), 2);
    const claims = await Promise.all(Array.from({ length: 8 }, () => claimSleepingEndpoints(test.db, customerId)));
    expect(claims.flat()).toEqual([id]);
  });

  it("lets what waits behind a failed delivery sleep, and wakes for another lane", async () => {
    const gone = await startReceiver();
    await gone.close();
    const { id } = await createEndpoint(test.db, customerId, gone.url);
    await tell(test.db, customerId, mailbox(0), 1);
    await drain(id, { schedule: [60_000] });
    await tell(test.db, customerId, mailbox(0), 1);
    expect(await claimSleepingEndpoints(test.db, customerId)).toEqual([]);
    await tell(test.db, customerId, mailbox(1), 1);
    expect(await claimSleepingEndpoints(test.db, customerId)).toEqual([id]);
  });

  it("leaves no event behind while relay and tellers race", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    let isTelling = true;
    const claims: WebhookEndpointId[] = [];
    const telling = Promise.all(
      mailboxIds.map(async (mailboxId) => {
        for (let i = 0; i < 60; i++) {
          await tell(test.db, customerId, mailboxId, 1);
          claims.push(...(await claimSleepingEndpoints(test.db, customerId)));
        }
      }),
    ).finally(() => {
      isTelling = false;
    });
    // Drains exactly as often as it is claimed, as the workflow does.
    for (let served = 0; isTelling || served < claims.length; ) {
      if (served < claims.length) {
        served++;
        await drain(id);
      } else await new Promise((resolve) => setImmediate(resolve));
    }
    await telling;
    expect(receiver.received).toHaveLength(180);
    for (const mailboxId of mailboxIds) expect(sequencesOf(receiver.received, mailboxId)).toEqual(upTo(60));
  });
});

describe("listStaleAwakeEndpoints", () => {
  it("names an endpoint that was claimed by somebody who died before the signal, and no other", async () => {
    const { id } = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    const disabled = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    const idle = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/", { eventTypes: [] });
    await tell(test.db, customerId, mailbox(0), 1);
    await claimSleepingEndpoints(test.db, customerId);
    await disableWebhookEndpoint(test.db, { id: disabled.id, customer_id: customerId }, "test");
    expect(await listStaleAwakeEndpoints(test.db)).not.toContain(id);
    const stale = await until(async () => {
      const found = await listStaleAwakeEndpoints(test.db, 1);
      return found.includes(id) && found;
    }, "the endpoint to be stale");
    expect(stale).not.toContain(disabled.id);
    expect(stale).not.toContain(idle.id);
  });
});
