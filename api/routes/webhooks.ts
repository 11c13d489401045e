import { z } from "zod";
import { claimSleepingEndpoints, recordEvents } from "../../db/events.ts";
import { findMailbox } from "../../db/mailboxes.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { inTransaction } from "../../db/transaction.ts";
import { listDeliveries, queueForEndpoint, replayRange, type WebhookDeliveryRow } from "../../db/webhook-deliveries.ts";
import {
  createWebhookEndpoint,
  deleteWebhookEndpoint,
  enableWebhookEndpoint,
  findWebhookEndpoint,
  listWebhookEndpoints,
  lockWebhookEndpoint,
  openEndpointSecrets,
  setEndpointSecrets,
  updateWebhookEndpoint,
  type WebhookEndpointRow,
} from "../../db/webhook-endpoints.ts";
import { MailError } from "../../domain/errors.ts";
import { eventTypes } from "../../domain/events.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../../domain/ids.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { findUrlFault } from "../../webhooks/check-url.ts";
import { newSigningSecret, rotateSecrets } from "../../webhooks/sign.ts";
import type { ApiDeps } from "../deps.ts";
import { ApiError, invalid, MemberRefused, notFound } from "../errors.ts";
import { Reply, route } from "../route.ts";
import { idParams, idSchema, instantOut, instantSchema, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const endpointSchema = z
  .strictObject({
    id: idSchema("webhookEndpoint"),
    url: z.string(),
    description: z.string(),
    eventTypes: z.array(z.enum(eventTypes)).nullable().describe("Null for every type."),
    mailboxIds: z.array(idSchema("mailbox")).nullable().describe("Null for every mailbox."),
    includesText: z.boolean().describe("Whether `message.created` carries the message's text."),
    isEnabled: z.boolean(),
    disabledReason: z.string().nullable().describe("Why deliveries stopped, and how to start them again."),
    failingSince: instantOut.nullable().describe("Since when nothing has arrived; null while things do."),
    createdAt: instantOut,
    updatedAt: instantOut,
  })
  .meta({ id: "WebhookEndpoint" });

const secretSchema = z.string().describe("The signing secret (Standard Webhooks). It is shown this once and can never be had again.");
const newEndpointSchema = endpointSchema.extend({ secret: secretSchema }).meta({ id: "NewWebhookEndpoint" });

const settingsIn = {
  url: z.string().trim().min(1).max(2_000).describe("https, and a public host unless the operator has allowed its network."),
  description: z.string().trim().max(500),
  eventTypes: z.array(z.enum(eventTypes)).min(1).max(eventTypes.length).nullable(),
  mailboxIds: z.array(idSchema("mailbox")).min(1).max(1_000).nullable(),
  includesText: z.boolean(),
};

const deliverySchema = z
  .strictObject({
    id: idSchema("webhookDelivery"),
    eventId: idSchema("event").describe("Also the `webhook-id` of each attempt."),
    eventType: z.enum(eventTypes),
    mailboxId: idSchema("mailbox").nullable(),
    state: z.enum(["pending", "delivered", "failed"]),
    isReplay: z.boolean(),
    attempts: z.array(
      z.strictObject({ at: instantOut, durationMs: z.number().int(), status: z.number().int().nullable(), error: z.string().nullable() }),
    ),
    nextAttemptAt: instantOut.nullable().describe("Null once it is delivered or given up."),
    deliveredAt: instantOut.nullable(),
    createdAt: instantOut,
  })
  .meta({ id: "WebhookDelivery" });

const tags = ["Webhooks"];
const params = idParams("webhookEndpoint");
const read = { scope: "webhooks:read" } as const;
const write = { scope: "webhooks:write" } as const;

/** One replay queues no more than this; a longer time is replayed in parts. */
const replayMax = 50_000;
const day = 24 * 3_600_000;

export const webhookRoutes = [
  route(
    {
      method: "post",
      path: "/v1/webhook-endpoints",
      operationId: "createWebhookEndpoint",
      mailProblems: ["private_address_refused"],
      summary: "Subscribe a URL to events",
      description:
        "Events are posted signed by Standard Webhooks, in order per mailbox, and retried for three days. An answer of 410, or three days without any success, " +
        "disables the endpoint: the event `webhook.disabled` says so. Events from the moment of creation on are sent; `replay` sends older ones.",
      tags,
      auth: write,
      status: 201,
      body: z.strictObject({
        url: settingsIn.url,
        description: settingsIn.description.default(""),
        eventTypes: settingsIn.eventTypes.default(null),
        mailboxIds: settingsIn.mailboxIds.default(null),
        includesText: settingsIn.includesText.default(false),
      }),
      example: { url: "https://hooks.example.com/everpost", eventTypes: ["message.created"] },
      response: newEndpointSchema,
    },
    async ({ body, db, scope, deps, audit, keep }) => {
      await checkUrl(deps, body.url);
      await checkMailboxes(db, body.mailboxIds);
      const secret = newSigningSecret();
      return inTransaction(db, async (trx) => {
        const created = await createWebhookEndpoint(trx, deps.config.keyRing, scope.customerId, body, [{ secret, expiresAt: null }]);
        await audit(trx, { action: "webhook_endpoint.created", target: created.id, details: auditable(body) });
        return keep(trx, new Reply(201, { ...toBody(created), secret }, { Location: `/v1/webhook-endpoints/${created.id}` }));
      });
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/webhook-endpoints",
      operationId: "listWebhookEndpoints",
      summary: "List webhook endpoints",
      tags,
      auth: read,
      query: z.strictObject(pageQuery),
      response: pageOf(endpointSchema),
    },
    async ({ query, db }) => toPageBody("webhook-endpoints", await listWebhookEndpoints(db, toPageRequest("webhook-endpoints", query)), toBody),
  ),

  route(
    {
      method: "get",
      path: "/v1/webhook-endpoints/{id}",
      operationId: "getWebhookEndpoint",
      summary: "Show a webhook endpoint",
      tags,
      auth: read,
      params,
      response: endpointSchema,
    },
    async ({ params, db }) => toBody(found(await findWebhookEndpoint(db, params.id))),
  ),

  route(
    {
      method: "patch",
      path: "/v1/webhook-endpoints/{id}",
      operationId: "updateWebhookEndpoint",
      mailProblems: ["private_address_refused"],
      summary: "Change a webhook endpoint",
      description: "What is pending is sent to the new URL. A changed filter is for events from now on.",
      tags,
      auth: write,
      params,
      body: z.strictObject(settingsIn).partial(),
      response: endpointSchema,
    },
    async ({ params, body, db, deps, audit }) => {
      if (body.url !== undefined) await checkUrl(deps, body.url);
      await checkMailboxes(db, body.mailboxIds ?? null);
      return inTransaction(db, async (trx) => {
        const row = found(await updateWebhookEndpoint(trx, params.id, body));
        await audit(trx, { action: "webhook_endpoint.updated", target: row.id, details: auditable(body) });
        return toBody(row);
      });
    },
  ),

  route(
    {
      method: "delete",
      path: "/v1/webhook-endpoints/{id}",
      operationId: "deleteWebhookEndpoint",
      summary: "Remove a webhook endpoint",
      description: "Nothing is sent any more; what is pending is dropped, and the delivery log with it.",
      tags,
      auth: write,
      params,
    },
    async ({ params, db, deps, audit }) => {
      await inTransaction(db, async (trx) => {
        if (!(await deleteWebhookEndpoint(trx, params.id))) throw notFound("webhook endpoint");
        await audit(trx, { action: "webhook_endpoint.deleted", target: params.id });
      });
      await wake(deps, [params.id]);
      return undefined;
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/webhook-endpoints/{id}/rotate-secret",
      operationId: "rotateWebhookSecret",
      summary: "Replace the signing secret",
      description:
        "Until the old secret ends, each delivery carries a signature by both. With `oldValidForHours` 0 it ends at once, as after a leak.",
      tags,
      auth: write,
      params,
      body: z.strictObject({ oldValidForHours: z.number().min(0).max(168).default(24) }),
      response: z.strictObject({ secret: secretSchema, oldExpiresAt: instantOut }),
    },
    async ({ params, body, db, deps, audit, keep }) => {
      const secret = newSigningSecret();
      const now = new Date();
      const oldExpiresAt = new Date(now.getTime() + body.oldValidForHours * 3_600_000);
      return inTransaction(db, async (trx) => {
        const row = found(await lockWebhookEndpoint(trx, params.id));
        const secrets = rotateSecrets(openEndpointSecrets(deps.config.keyRing, row), secret, oldExpiresAt, now);
        await setEndpointSecrets(trx, deps.config.keyRing, row.id, secrets);
        await audit(trx, { action: "webhook_endpoint.secret_rotated", target: row.id, details: { oldExpiresAt: oldExpiresAt.toISOString() } });
        return keep(trx, new Reply(200, { secret, oldExpiresAt: oldExpiresAt.toISOString() }));
      });
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/webhook-endpoints/{id}/test",
      operationId: "testWebhookEndpoint",
      summary: "Send a test event",
      description: "Queues `webhook.test` for this endpoint alone, whatever its filter says; the delivery log tells what became of it.",
      tags,
      auth: write,
      status: 202,
      params,
      problems: ["conflict"],
      response: z.strictObject({ eventId: idSchema("event") }),
    },
    async ({ params, db, scope, deps, audit, keep }) => {
      const reply = await inTransaction(db, async (trx) => {
        const { id } = enabled(await findWebhookEndpoint(trx, params.id));
        const source = { customerId: scope.customerId, mailboxId: null };
        const [event] = await recordEvents(trx, source, [{ type: "webhook.test", endpointId: id }]);
        if (event === undefined) throw new Error("an event was recorded and has no id");
        await queueForEndpoint(trx, { id, customerId: scope.customerId }, { id: event, mailboxId: null }, { isReplay: false });
        await audit(trx, { action: "webhook_endpoint.tested", target: id });
        return keep(trx, new Reply(202, { eventId: event }));
      });
      await wakeSleeping(deps, scope.customerId);
      return reply;
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/webhook-endpoints/{id}/deliveries",
      operationId: "listWebhookDeliveries",
      summary: "List what was sent, newest first",
      tags,
      auth: read,
      params,
      query: z.strictObject({ ...pageQuery, state: z.enum(["pending", "delivered", "failed"]).optional(), eventId: idSchema("event").optional() }),
      response: pageOf(deliverySchema),
    },
    async ({ params, query, db }) => {
      found(await findWebhookEndpoint(db, params.id));
      const before = query.cursor === undefined ? undefined : decodePosition(query.cursor);
      const { rows, next } = await listDeliveries(db, params.id, query, { limit: query.limit, before });
      return { data: rows.map(toDelivery), nextCursor: next === undefined ? null : encodePosition(next) };
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/webhook-endpoints/{id}/replay",
      operationId: "replayWebhookEvents",
      summary: "Send past events once more",
      description:
        "One event by its id, or every event of a time that the endpoint's filter wants, in their order, behind what is pending. The webhook-id is the " +
        `event's id as before, so a receiver that remembers ids takes it once. At most ${replayMax} events at a time.`,
      tags,
      auth: write,
      status: 202,
      params,
      problems: ["conflict"],
      body: z.union([z.strictObject({ eventId: idSchema("event") }), z.strictObject({ from: instantSchema, to: instantSchema.optional() })]),
      response: z.strictObject({ queued: z.number().int() }),
    },
    async ({ params, body, db, scope, deps, audit, keep }) => {
      const reply = await inTransaction(db, async (trx) => {
        const endpoint = enabled(await findWebhookEndpoint(trx, params.id));
        await audit(trx, { action: "webhook_endpoint.replayed", target: endpoint.id, details: body });
        const queued = await ("eventId" in body ? replayOne(trx, endpoint, body.eventId) : replayTime(trx, endpoint, body));
        return keep(trx, new Reply(202, { queued }));
      });
      await wakeSleeping(deps, scope.customerId);
      return reply;
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/webhook-endpoints/{id}/enable",
      operationId: "enableWebhookEndpoint",
      summary: "Start deliveries again",
      description:
        "What was pending when the endpoint was disabled is sent at once, with a new retry schedule. What happened while it was disabled is not queued: " +
        "`replay` that time to have it sent.",
      tags,
      auth: write,
      params,
      response: endpointSchema,
    },
    async ({ params, db, scope, deps, audit }) => {
      const row = await inTransaction(db, async (trx) => {
        const before = found(await lockWebhookEndpoint(trx, params.id));
        await audit(trx, { action: "webhook_endpoint.enabled", target: params.id, details: { wasEnabled: before.is_enabled } });
        return found(await enableWebhookEndpoint(trx, params.id));
      });
      await wakeSleeping(deps, scope.customerId);
      return toBody(row);
    },
  ),
];

function found(row: WebhookEndpointRow | undefined): WebhookEndpointRow {
  if (row === undefined) throw notFound("webhook endpoint");
  return row;
}

function enabled(row: WebhookEndpointRow | undefined): WebhookEndpointRow {
  const endpoint = found(row);
  if (!endpoint.is_enabled) throw new ApiError("conflict", { detail: `The endpoint is disabled. ${endpoint.disabled_reason ?? ""}`.trim() });
  return endpoint;
}

async function checkUrl({ config }: ApiDeps, url: string): Promise<void> {
  const resolveHost = createHostResolver({ allowPrivateNetworks: config.allowPrivateNetworks });
  const resolvePublicHost = createHostResolver({ allowPrivateNetworks: [] });
  const detail = await findUrlFault(url, { resolveHost, resolvePublicHost }).catch((error: unknown) => {
    throw error instanceof MailError ? new MemberRefused("#/url", error) : error;
  });
  if (detail !== undefined) throw invalid({ in: "body", pointer: "#/url", detail });
}

async function checkMailboxes(db: ScopedConnection, ids: readonly MailboxId[] | null): Promise<void> {
  for (const [index, id] of (ids ?? []).entries()) {
    if ((await findMailbox(db, id)) === undefined)
      throw invalid({ in: "body", pointer: `#/mailboxIds/${index}`, detail: "there is no such mailbox" });
  }
}

async function replayOne(trx: ScopedConnection, endpoint: WebhookEndpointRow, eventId: `evt_${string}`): Promise<number> {
  const event = await trx.selectFrom("events").select(["id", "mailbox_id"]).where("id", "=", eventId).executeTakeFirst();
  if (event === undefined) throw notFound("event");
  const target = { id: endpoint.id, customerId: endpoint.customer_id };
  await queueForEndpoint(trx, target, { id: event.id, mailboxId: event.mailbox_id }, { isReplay: true });
  return 1;
}

async function replayTime(trx: ScopedConnection, endpoint: WebhookEndpointRow, time: { readonly from: string; readonly to?: string | undefined }) {
  const [from, to] = [new Date(time.from), time.to === undefined ? new Date(Date.now() + day) : new Date(time.to)];
  if (to <= from) throw invalid({ in: "body", pointer: "#/to", detail: "must lie after `from`" });
  const queued = await replayRange(trx, endpoint, { from, to, max: replayMax });
  if (queued === -1) throw invalid({ in: "body", pointer: "#/from", detail: `more than ${replayMax} events; replay a shorter time` });
  return queued;
}

async function wakeSleeping(deps: ApiDeps, customerId: CustomerId): Promise<void> {
  await wake(deps, await claimSleepingEndpoints(deps.db, customerId));
}

/** What was asked for is committed: a relay that cannot be reached now is woken by the housekeeping, within minutes. */
async function wake({ commands, log }: ApiDeps, ids: readonly WebhookEndpointId[]): Promise<void> {
  for (const id of ids) {
    await commands.wakeRelay(id).catch((err: unknown) => log.warn({ err, endpointId: id }, "a webhook relay could not be woken"));
  }
}

/** The URL's path and query may hold a token of the receiver's: the audit log keeps its origin. */
function auditable({ url, ...settings }: { readonly url?: string | undefined; readonly [name: string]: unknown }): Record<string, unknown> {
  return url === undefined ? settings : { ...settings, url: new URL(url).origin };
}

function encodePosition(position: number): string {
  return Buffer.from(`deliveries.${position}`).toString("base64url");
}

function decodePosition(cursor: string): number {
  const position = /^deliveries\.(\d{1,15})$/.exec(Buffer.from(cursor, "base64url").toString())?.[1];
  if (position === undefined) throw invalid({ in: "query", pointer: "#/cursor", detail: "not a cursor of this listing; leave it out to begin anew" });
  return Number(position);
}

function toBody(row: WebhookEndpointRow): z.input<typeof endpointSchema> {
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    eventTypes: row.event_types === null ? null : eventTypes.filter((type) => row.event_types?.includes(type)),
    mailboxIds: row.mailbox_ids as MailboxId[] | null,
    includesText: row.includes_text,
    isEnabled: row.is_enabled,
    disabledReason: row.disabled_reason,
    failingSince: row.failing_since?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function toDelivery(row: WebhookDeliveryRow): z.input<typeof deliverySchema> {
  return {
    id: row.id,
    eventId: row.event_id,
    eventType: row.event_type,
    mailboxId: row.mailbox_id,
    state: row.state,
    isReplay: row.is_replay,
    attempts: [...row.attempts],
    nextAttemptAt: row.state === "pending" ? row.next_attempt_at.toISOString() : null,
    deliveredAt: row.delivered_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
  };
}
