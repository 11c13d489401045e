import { MockActivityEnvironment } from "@temporalio/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Relays } from "../../activities/dependencies.ts";
import { createRelays, type RelayOptions } from "../../activities/relays.ts";
import { type DrainResult, webhookActivities } from "../../activities/webhooks.ts";
import { claimSleepingEndpoints } from "../../db/events.ts";
import { listAbandonedEndpoints } from "../../db/relay.ts";
import { listStaleAwakeEndpoints } from "../../db/webhook-deliveries.ts";
import { deleteWebhookEndpoint } from "../../db/webhook-endpoints.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../../domain/ids.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/wait.ts";
import { createCustomer, createEndpoint, createMailboxes, tell } from "../webhooks/outbox.ts";
import { type Answer, startReceiver } from "../webhooks/receiver.ts";
import { createDrains, type TestDrains } from "./drains.ts";

let test: TestDatabase;
let customerId: CustomerId;
let mailboxIds: readonly MailboxId[];
let drains: TestDrains;

beforeAll(async () => {
  test = await createTestDatabase();
  drains = createDrains(test.db, [60_000, 60_000]);
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

/** A process that tells events. */
const startTeller = (options: Partial<RelayOptions> = {}, draining = drains.draining): Relays =>
  createRelays({ ...drains, draining }, { drainsItself: true, ...options });
/** What the endpoint's workflow runs when it is woken. */
const runRelay = (endpointId: WebhookEndpointId): Promise<DrainResult> =>
  new MockActivityEnvironment().run(webhookActivities(drains).drainEndpoint, { endpointId });
const mailbox = (index: number): MailboxId => mailboxIds[index] as MailboxId;
const endpointRow = (id: WebhookEndpointId) => test.db.selectFrom("webhook_endpoints").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
/** The time of whoever holds the endpoint is up, and it has not let go: it is dead. */
const endHold = (id: WebhookEndpointId) =>
  test.db
    .updateTable("webhook_endpoints")
    .set({ drained_until: new Date(Date.now() - 1) })
    .where("id", "=", id)
    .execute();

describe("who has told events", () => {
  it("delivers them itself where it may, again and again, and wakes no relay", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    const teller = startTeller();
    for (const expected of [1, 2, 3]) {
      await tell(test.db, customerId, mailbox(0), 1);
      expect(await teller.wake(customerId)).toBe(1);
      await teller.settled();
      expect(receiver.received).toHaveLength(expected);
    }
    expect(drains.woken).toEqual([]);
    expect(await endpointRow(id)).toMatchObject({ is_awake: false, drained_until: null });
  });

  it("wakes the relay where it delivers nothing itself", async () => {
    const { id } = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    await tell(test.db, customerId, mailbox(0), 1);
    expect(await startTeller({ drainsItself: false }).wake(customerId)).toBe(1);
    expect(drains.woken).toEqual([id]);
    expect(await endpointRow(id)).toMatchObject({ is_awake: true, drained_until: null });
  });

  it("keeps the relay away while it delivers, so that nothing is posted twice", async () => {
    const { answer, release } = holdingAnswer();
    await using receiver = await startReceiver(answer);
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    const teller = startTeller();
    await tell(test.db, customerId, mailbox(0), 1);
    await teller.wake(customerId);
    await until(() => receiver.received.length === 1, "the post");
    const turnedAway = await runRelay(id);
    expect(turnedAway).toMatchObject({ state: "asleep", delivered: 0 });
    // It comes again when the teller, had it died, would hold the endpoint no more.
    expect(turnedAway.nextDueAt).toBeGreaterThan(Date.now());
    expect(turnedAway.nextDueAt).toBeLessThanOrEqual(Date.now() + 30_000);
    release();
    await teller.settled();
    expect(await runRelay(id)).toMatchObject({ state: "asleep", delivered: 0, nextDueAt: null });
    expect(receiver.received).toHaveLength(1);
  });

  it("takes over from one that died with the endpoint in its hand, as soon as that one's time is up", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 1);
    expect(await claimSleepingEndpoints(test.db, customerId, { holdMs: 30_000 })).toEqual([id]);
    const teller = startTeller();
    expect(await teller.wake(customerId)).toBe(0);
    await endHold(id);
    expect(await teller.wake(customerId)).toBe(1);
    await teller.settled();
    expect(receiver.received).toHaveLength(1);
    expect(await endpointRow(id)).toMatchObject({ is_awake: false, drained_until: null });
  });

  it("has the relay take over from one that died, where nobody tells anything more", async () => {
    const { id } = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    await tell(test.db, customerId, mailbox(0), 1);
    await claimSleepingEndpoints(test.db, customerId, { holdMs: 30_000 });
    await endHold(id);
    startTeller();
    await until(() => drains.woken.includes(id), "the relay to be signalled");
    await runRelay(id);
    expect(await listAbandonedEndpoints(test.db)).not.toContain(id);
  });

  it("has the relay signalled of an endpoint that somebody claimed and never signalled, and of one that was deleted so", async () => {
    const claimed = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    await tell(test.db, customerId, mailbox(0), 1);
    await claimSleepingEndpoints(test.db, customerId);
    const deleted = await createEndpoint(test.db, customerId, "http://127.0.0.1:1/");
    await deleteWebhookEndpoint(test.db, deleted.id);
    const longAgo = new Date(Date.now() - 61_000);
    await test.db.updateTable("webhook_deliveries").set({ next_attempt_at: longAgo }).where("endpoint_id", "=", claimed.id).execute();
    await test.db.updateTable("webhook_endpoints").set({ deleted_at: longAgo }).where("id", "=", deleted.id).execute();
    const ending = new AbortController();
    startTeller({ lookForStaleMs: 50 }, ending.signal);
    await until(() => [claimed.id, deleted.id].every((id) => drains.woken.includes(id)), "their relays to be signalled");
    ending.abort();
    await runRelay(deleted.id);
    expect(await listStaleAwakeEndpoints(test.db)).not.toContain(deleted.id);
  });

  it("leaves an endpoint alone whose relay has taken over from one that died", async () => {
    const { answer, release } = holdingAnswer();
    await using receiver = await startReceiver(answer);
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    await tell(test.db, customerId, mailbox(0), 1);
    await claimSleepingEndpoints(test.db, customerId, { holdMs: 30_000 });
    await endHold(id);
    const relay = runRelay(id);
    await until(() => receiver.received.length === 1, "the relay's post");
    expect(await startTeller().wake(customerId)).toBe(0);
    release();
    expect(await relay).toMatchObject({ state: "asleep", delivered: 1 });
    expect(receiver.received).toHaveLength(1);
  });

  it("leaves what it could not deliver to the relay, which tries again when it is due", async () => {
    await using receiver = await startReceiver((_got, response) => void response.writeHead(503).end());
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    const teller = startTeller();
    await tell(test.db, customerId, mailbox(0), 2);
    await teller.wake(customerId);
    await teller.settled();
    expect(drains.woken).toEqual([id]);
    const slept = await runRelay(id);
    expect(slept).toMatchObject({ state: "asleep", delivered: 0, failed: 0 });
    expect(slept.nextDueAt).toBeGreaterThan(Date.now());
    expect(receiver.received).toHaveLength(1);
  });

  it("hands a backlog over to the relay when its time is up, which goes on at once", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    const teller = startTeller({ drainMsMax: 50 });
    await tell(test.db, customerId, mailbox(0), 1_500);
    await teller.wake(customerId);
    await teller.settled();
    expect(drains.woken).toEqual([id]);
    expect(receiver.received.length).toBeLessThan(1_500);
    expect(await endpointRow(id)).toMatchObject({ is_awake: true, drained_until: null });
    expect(await runRelay(id)).toMatchObject({ state: "asleep", nextDueAt: null });
    expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"])).size).toBe(1_500);
    expect(receiver.received).toHaveLength(1_500);
  });

  it("posts everything once while tellers in several processes and the relay meet", async () => {
    await using receiver = await startReceiver();
    const { id } = await createEndpoint(test.db, customerId, receiver.url);
    const tellers = mailboxIds.map(() => startTeller());
    let isTelling = true;
    const relay = (async () => {
      while (isTelling) await runRelay(id);
    })();
    await Promise.all(
      tellers.map(async (teller, index) => {
        for (let told = 0; told < 40; told += 1) {
          await tell(test.db, customerId, mailbox(index), 1);
          await teller.wake(customerId);
        }
      }),
    );
    await until(() => receiver.received.length >= 120, "all posts");
    isTelling = false;
    await relay;
    await Promise.all(tellers.map((teller) => teller.settled()));
    expect(receiver.received).toHaveLength(120);
    for (const mailboxId of mailboxIds) {
      const bodies = receiver.received.map(({ body }) => JSON.parse(body) as { readonly mailboxId: string; readonly sequence: number });
      const sequences = bodies.filter((body) => body.mailboxId === mailboxId).map(({ sequence }) => sequence);
      expect(sequences).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    }
  });
});

/** A receiver that answers when it is let. */
function holdingAnswer(): { readonly answer: Answer; readonly release: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { answer: () => promise, release: resolve };
}
