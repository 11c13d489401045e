import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Commands } from "../../api/commands.ts";
import { webhookRoutes } from "../../api/routes/webhooks.ts";
import { disableWebhookEndpoint, findWebhookEndpoint, openEndpointSecrets } from "../../db/webhook-endpoints.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../../domain/ids.ts";
import { liveSecrets } from "../../webhooks/sign.ts";
import { createMailboxes, tell } from "../webhooks/outbox.ts";
import { type Api, startApi } from "./api.ts";

let api: Api;
let customer: { readonly id: CustomerId; readonly key: string };
let mailboxIds: readonly MailboxId[];
const woken: WebhookEndpointId[] = [];
let isTemporalAway = false;

/** The one command that these routes give; whether it arrives is what some tests are about. */
const commands = {
  async wakeRelay(id: WebhookEndpointId) {
    if (isTemporalAway) throw new Error("Temporal is away");
    woken.push(id);
  },
} as Partial<Commands> as Commands;

beforeAll(async () => {
  api = await startApi({ routes: webhookRoutes, commands: () => commands });
});
afterAll(() => api[Symbol.asyncDispose]());
beforeEach(async () => {
  customer = await api.newCustomer();
  mailboxIds = await createMailboxes(api.db, customer.id, 2);
  woken.length = 0;
  isTemporalAway = false;
});

const call = (method: string, path: string, body?: unknown, key = customer.key) => api.call(method, `/v1/webhook-endpoints${path}`, { key, body });
const url = "http://127.0.0.1:9/hook";

async function create(settings: Record<string, unknown> = {}): Promise<{ readonly id: WebhookEndpointId; readonly secret: string }> {
  const answer = await call("POST", "", { url, ...settings });
  expect(answer.status).toBe(201);
  return answer.body;
}

const row = async (id: WebhookEndpointId) => {
  const found = await findWebhookEndpoint(api.db, id);
  if (found === undefined) throw new Error(`no endpoint ${id}`);
  return found;
};
const pending = (id: WebhookEndpointId) =>
  api.db.selectFrom("webhook_deliveries").selectAll().where("endpoint_id", "=", id).where("state", "=", "pending").orderBy("position").execute();

describe("POST /v1/webhook-endpoints", () => {
  it("creates an endpoint, shows its secret once and keeps it sealed", async () => {
    const { id, secret } = await create({ eventTypes: ["message.created"], mailboxIds: [mailboxIds[0]], description: "CRM" });
    expect(secret).toMatch(/^whsec_/);
    const shown = await call("GET", `/${id}`);
    expect(shown.body).toMatchObject({ id, url, description: "CRM", eventTypes: ["message.created"], mailboxIds: [mailboxIds[0]], isEnabled: true });
    expect(JSON.stringify(shown.body)).not.toContain("whsec_");
    expect(JSON.stringify(await row(id))).not.toContain(secret.slice(6));
    expect((await call("GET", "")).body.data).toEqual([shown.body]);
  });

  it.each([
    ["no URL", "hooks", 400, "validation_failed"],
    ["another scheme", "ftp://127.0.0.1/", 400, "validation_failed"],
    ["http on a public host", "http://93.184.215.14/", 400, "validation_failed"],
    ["http on a host that does not exist", "http://no-such-host.invalid/", 400, "validation_failed"],
    ["a user name and password", "https://user:secret@example.com/", 400, "validation_failed"],
    ["a fragment", "https://93.184.215.14/#a", 400, "validation_failed"],
    ["a private address", "https://10.0.0.1/", 422, "private_address_refused"],
    ["a private address in decimal", "http://167772161/", 422, "private_address_refused"],
    ["the cloud's metadata", "http://169.254.169.254/latest/meta-data", 422, "private_address_refused"],
    ["a loopback address that is not allowed", "https://[::1]/", 422, "private_address_refused"],
  ])("refuses %s", async (_what, target, status, code) => {
    const answer = await call("POST", "", { url: target });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(JSON.stringify(answer.body)).not.toContain("secret");
  });

  it("takes https on a public host, and on a name that does not exist yet", async () => {
    for (const target of ["https://93.184.215.14/hook", "https://no-such-host.invalid/hook"]) {
      expect((await call("POST", "", { url: target })).status).toBe(201);
    }
  });

  it("refuses unknown types, unknown members, and mailboxes of other customers", async () => {
    const other = await api.newCustomer();
    const [foreign] = await createMailboxes(api.db, other.id, 1);
    for (const wrong of [{ eventTypes: ["message.burned"] }, { eventTypes: [] }, { secret: "whsec_mine" }, { mailboxIds: [foreign] }]) {
      expect((await call("POST", "", { url, ...wrong })).status).toBe(400);
    }
  });
});

it("changes settings, and checks a new URL as at creation", async () => {
  const { id } = await create();
  const changed = await call("PATCH", `/${id}`, { eventTypes: ["message.deleted"], includesText: true });
  expect(changed.body).toMatchObject({ id, url, eventTypes: ["message.deleted"], includesText: true });
  expect((await call("PATCH", `/${id}`, { eventTypes: null })).body.eventTypes).toBeNull();
  expect((await call("PATCH", `/${id}`, { url: "https://10.0.0.1/" })).status).toBe(422);
  expect((await row(id)).url).toBe(url);
});

it("removes an endpoint, wakes its relay to clean up, and knows it no longer", async () => {
  const { id } = await create();
  expect((await call("DELETE", `/${id}`)).status).toBe(204);
  expect(woken).toEqual([id]);
  expect((await call("GET", `/${id}`)).status).toBe(404);
  expect((await call("DELETE", `/${id}`)).status).toBe(404);
});

it("rotates the secret: both sign for a day, or the new one alone after a leak", async () => {
  const { id, secret } = await create();
  const rotated = await call("POST", `/${id}/rotate-secret`);
  expect(rotated.status).toBe(200);
  expect(Date.parse(rotated.body.oldExpiresAt) - Date.now()).toBeGreaterThan(23.9 * 3_600_000);
  const live = async () => liveSecrets(openEndpointSecrets(api.config.keyRing, await row(id)), new Date());
  expect(await live()).toEqual([rotated.body.secret, secret]);
  const leaked = await call("POST", `/${id}/rotate-secret`, { oldValidForHours: 0 });
  expect(await live()).toEqual([leaked.body.secret]);
});

it("queues a test event for this endpoint alone, whatever its filter says", async () => {
  const { id } = await create({ eventTypes: ["message.created"] });
  const other = await create();
  const answer = await call("POST", `/${id}/test`);
  expect(answer.status).toBe(202);
  expect((await pending(id)).map((delivery) => delivery.event_id)).toEqual([answer.body.eventId]);
  expect(await pending(other.id)).toEqual([]);
  expect(woken).toEqual([id]);
});

it("lists deliveries with their attempts, newest first, page by page", async () => {
  const { id } = await create();
  await tell(api.db, customer.id, mailboxIds[0] as MailboxId, 5);
  const [head] = await pending(id);
  if (head === undefined) throw new Error("nothing is pending");
  const attempts = [{ at: "2026-01-01T00:00:00.000Z", durationMs: 12, status: 500, error: "answered 500" }];
  await api.db
    .updateTable("webhook_deliveries")
    .set({ attempts: JSON.stringify(attempts), state: "failed" })
    .where("id", "=", head.id)
    .execute();
  const first = await call("GET", `/${id}/deliveries?limit=3`);
  const second = await call("GET", `/${id}/deliveries?limit=3&cursor=${first.body.nextCursor}`);
  const all = [...first.body.data, ...second.body.data];
  expect(all).toHaveLength(5);
  expect(second.body.nextCursor).toBeNull();
  expect(all.at(-1)).toMatchObject({ id: head.id, eventType: "mailbox.recovered", state: "failed", attempts, nextAttemptAt: null });
  expect((await call("GET", `/${id}/deliveries?state=failed`)).body.data).toHaveLength(1);
  expect((await call("GET", `/${id}/deliveries?cursor=rubbish`)).status).toBe(400);
});

describe("replay", () => {
  it("queues one event by its id, behind what is pending, and marks it", async () => {
    const { id } = await create();
    await tell(api.db, customer.id, mailboxIds[0] as MailboxId, 2);
    const [first] = await pending(id);
    const answer = await call("POST", `/${id}/replay`, { eventId: first?.event_id });
    expect([answer.status, answer.body]).toEqual([202, { queued: 1 }]);
    const queued = await pending(id);
    expect(queued.map(({ event_id, is_replay }) => [event_id, is_replay]).at(-1)).toEqual([first?.event_id, true]);
    expect(queued.at(-1)?.lane).toBe(mailboxIds[0]);
  });

  it("queues the events of a time that the filter wants, in their order", async () => {
    for (const id of mailboxIds) await tell(api.db, customer.id, id, 3);
    const { id } = await create({ mailboxIds: [mailboxIds[1]] });
    const from = new Date(Date.now() - 60_000).toISOString();
    expect((await call("POST", `/${id}/replay`, { from })).body).toEqual({ queued: 3 });
    const queued = await pending(id);
    const sequences = await Promise.all(
      queued.map(({ event_id }) => api.db.selectFrom("events").select("sequence").where("id", "=", event_id).executeTakeFirstOrThrow()),
    );
    expect(sequences.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect((await call("POST", `/${id}/replay`, { from: "2020-01-01T00:00:00Z", to: "2020-01-02T00:00:00Z" })).body).toEqual({ queued: 0 });
  });

  it("refuses a time that runs backwards, both forms at once, and events of others", async () => {
    const { id } = await create();
    const other = await api.newCustomer();
    const [mailboxId] = await createMailboxes(api.db, other.id, 1);
    await tell(api.db, other.id, mailboxId as MailboxId, 1);
    const foreign = await api.db.selectFrom("events").select("id").where("customer_id", "=", other.id).executeTakeFirstOrThrow();
    expect((await call("POST", `/${id}/replay`, { from: "2026-01-02T00:00:00Z", to: "2026-01-01T00:00:00Z" })).status).toBe(400);
    expect((await call("POST", `/${id}/replay`, { from: "2026-01-02T00:00:00Z", eventId: foreign.id })).status).toBe(400);
    expect((await call("POST", `/${id}/replay`, {})).status).toBe(400);
    expect((await call("POST", `/${id}/replay`, { eventId: foreign.id })).status).toBe(404);
  });
});

it("says why an endpoint is disabled, refuses test and replay until it is enabled, and then goes on", async () => {
  const { id } = await create();
  await tell(api.db, customer.id, mailboxIds[0] as MailboxId, 1);
  await api.db.transaction().execute((trx) => disableWebhookEndpoint(trx, { id, customer_id: customer.id }, "It answered 410 Gone."));
  expect((await call("GET", `/${id}`)).body).toMatchObject({ isEnabled: false, disabledReason: "It answered 410 Gone." });
  const refused = await call("POST", `/${id}/test`);
  expect([refused.status, refused.body.code]).toEqual([409, "conflict"]);
  expect(refused.body.detail).toContain("410");
  const enabled = await call("POST", `/${id}/enable`);
  expect(enabled.body).toMatchObject({ isEnabled: true, disabledReason: null });
  expect(woken).toEqual([id]);
  expect(await pending(id)).toHaveLength(1);
});

it("keeps what was asked for when Temporal is away, and says so in the log", async () => {
  const { id } = await create();
  isTemporalAway = true;
  expect((await call("POST", `/${id}/test`)).status).toBe(202);
  expect(await pending(id)).toHaveLength(1);
  expect(api.logLines.some((line) => line.includes(id) && line.includes("could not be woken"))).toBe(true);
});

it("shows and changes nothing of another customer's, and nothing at all to keys without the scope", async () => {
  const { id } = await create();
  const other = await api.newCustomer();
  const reader = await api.newKey({ customerId: customer.id, scopes: ["webhooks:read"] });
  const attempts: [string, string, unknown?][] = [
    ["GET", `/${id}`],
    ["PATCH", `/${id}`, { description: "mine" }],
    ["DELETE", `/${id}`],
    ["POST", `/${id}/rotate-secret`],
    ["POST", `/${id}/test`],
    ["POST", `/${id}/enable`],
    ["GET", `/${id}/deliveries`],
    ["POST", `/${id}/replay`, { from: "2026-01-01T00:00:00Z" }],
  ];
  for (const [method, path, body] of attempts) {
    expect([path, (await call(method, path, body, other.key)).status]).toEqual([path, 404]);
    if (method !== "GET") expect([path, (await call(method, path, body, reader)).status]).toEqual([path, 403]);
  }
  expect(await row(id)).toMatchObject({ description: "", is_enabled: true });
});
