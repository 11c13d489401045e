import { once } from "node:events";
import type { Response } from "express";
import { z } from "zod";
import {
  decodeEventCursor,
  type EventCursor,
  encodeEventCursor,
  findEvent,
  readEvents,
  readHorizon,
  type StreamedEvent,
} from "../../db/event-stream.ts";
import { type EventType, eventTypes } from "../../domain/events.ts";
import type { AccessKeyId } from "../../domain/ids.ts";
import { toldEvent } from "../../webhooks/payload.ts";
import { authenticate } from "../auth.ts";
import type { ApiDeps } from "../deps.ts";
import { ApiError, invalid, notFound } from "../errors.ts";
import { createEventFeed, type EventFeed } from "../event-feed.ts";
import { answered, route } from "../route.ts";
import { idParams, idSchema, instantOut } from "../schemas.ts";

const eventSchema = z
  .strictObject({
    id: idSchema("event").describe("The same as `webhook-id`: whoever remembers it takes each event once."),
    type: z.enum(eventTypes),
    timestamp: instantOut,
    mailboxId: idSchema("mailbox").nullable(),
    account: z.string().nullable().describe("The mailbox's `externalId`."),
    sequence: z.number().int().nullable().describe("Counts the mailbox's events from 1 without gaps."),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Event" });

const typesSchema = z
  .string()
  .max(1_000)
  .transform((text) => text.split(","))
  .pipe(z.array(z.enum(eventTypes)))
  .describe("Event types, separated by commas; all if left out.");

const filterQuery = { types: typesSchema.optional(), mailboxId: idSchema("mailbox").optional() };
const after = z.string().max(100).optional();

const tags = ["Events"];
const auth = { scope: "events:read", openToMailboxKeys: true } as const;

export const eventRoutes = [
  route(
    {
      method: "get",
      path: "/v1/events",
      operationId: "listEvents",
      summary: "Read the stream of events, oldest first",
      description:
        "The pull form of webhooks: keep `nextCursor` and send it as `after`, for ever. The cursor never passes an event that becomes visible later, " +
        "so nothing is missed; within a mailbox, events come in the order of `sequence`. Without `after` it begins at the oldest event that is kept.",
      tags,
      auth,
      query: z.strictObject({
        ...filterQuery,
        after: after.describe("Where to go on: the last `nextCursor`."),
        limit: z.coerce.number().int().min(1).max(500).default(100),
      }),
      response: z.strictObject({
        data: z.array(eventSchema),
        nextCursor: z.string().describe("Always there, also when nothing is new."),
        hasMore: z.boolean().describe("Whether to ask again at once."),
      }),
    },
    async ({ query, db, deps }) => {
      // First the horizon and then the rows before it: with a filter, what lies between is passed without being read again.
      const horizon = await readHorizon(deps.db);
      const events = await readEvents(db, { ...query, after: toCursor(query.after), before: horizon, limit: query.limit + 1 });
      const shown = events.slice(0, query.limit);
      const hasMore = events.length > query.limit;
      const next = (hasMore ? shown.at(-1)?.cursor : undefined) ?? later(toCursor(query.after), horizon);
      return { data: shown.map((event) => toldEvent(event)), nextCursor: encodeEventCursor(next), hasMore };
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/events/stream",
      operationId: "streamEvents",
      summary: "Follow the stream of events live",
      description:
        "Server-Sent Events: each carries its place in the stream as `id`, its type as `event` and the event as `data`. A client that reconnects with " +
        "Last-Event-ID goes on where it stopped and misses nothing; without it, the stream begins now. Whoever reads too slowly is cut and goes on the same way.",
      tags,
      auth,
      query: z.strictObject({ ...filterQuery, after: after.describe("Like Last-Event-ID, for clients that cannot set it the first time.") }),
      contentType: "text/event-stream",
      problems: ["rate_limited", "service_unavailable"],
    },
    async ({ query, scope, caller, deps, request, response }): Promise<typeof answered> => {
      const from = toCursor(request.get("Last-Event-ID") ?? query.after);
      const streams = streamsOf(deps);
      const release = streams.admit(caller.keyId);
      try {
        const closed = openStream(response, deps.closing, () => authenticate(deps.db, request.get("Authorization"), Date.now()));
        await streams.feed.follow({
          scope,
          after: from,
          signal: closed,
          tell: (event) => {
            if (isWanted(event, query)) write(response, event);
          },
          ready: () => drained(response, closed),
        });
      } catch (err) {
        // The headers are out: all that can be said now is that the stream ends, and the client comes back with its cursor.
        deps.log.warn({ err }, "an event stream broke");
      } finally {
        release();
        response.end();
      }
      return answered;
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/events/{id}",
      operationId: "getEvent",
      summary: "Show an event",
      tags,
      auth,
      params: idParams("event"),
      response: eventSchema,
    },
    async ({ params, db }) => {
      const event = await findEvent(db, params.id);
      if (event === undefined) throw notFound("event");
      return toldEvent(event);
    },
  ),
];

/** Bounds what open streams may take: they hold a socket each for as long as they like. */
const streamsMax = 1_000;
const streamsPerKeyMax = 10;
/** What a client may leave unread before it is cut: more than one page of a catch-up, which waits for its reader after each. */
const unreadBytesMax = 8_000_000;
const drainMsMax = 30_000;
/** Also how long a revoked key goes on. */
const heartbeatMs = 15_000;

interface Streams {
  readonly feed: EventFeed;
  /** Takes a place, or throws; call the answer to give it back. */
  admit(keyId: AccessKeyId): () => void;
}

const streamsByApp = new WeakMap<ApiDeps, Streams>();

function streamsOf(deps: ApiDeps): Streams {
  const existing = streamsByApp.get(deps);
  if (existing !== undefined) return existing;
  const open = new Map<AccessKeyId, number>();
  let total = 0;
  const streams: Streams = {
    feed: createEventFeed(deps.db),
    admit(keyId) {
      const own = open.get(keyId) ?? 0;
      const headers = { "Retry-After": "15" };
      if (own >= streamsPerKeyMax) throw new ApiError("rate_limited", { detail: `A key may hold ${streamsPerKeyMax} streams open.`, headers });
      if (total >= streamsMax) throw new ApiError("service_unavailable", { detail: "This process holds as many streams as it may.", headers });
      open.set(keyId, own + 1);
      total++;
      return () => {
        const left = (open.get(keyId) ?? 1) - 1;
        if (left === 0) open.delete(keyId);
        else open.set(keyId, left);
        total--;
      };
    },
  };
  streamsByApp.set(deps, streams);
  return streams;
}

/** Begins the response; the signal aborts when the client is gone, the server drains, or the key is no longer good. */
function openStream(response: Response, draining: AbortSignal, stillMay: () => Promise<unknown>): AbortSignal {
  const closed = new AbortController();
  const close = () => closed.abort();
  const heartbeat = setInterval(() => {
    response.write(": alive\n\n");
    stillMay().catch((error: unknown) => {
      if (error instanceof ApiError) close();
    });
  }, heartbeatMs);
  draining.addEventListener("abort", close, { once: true });
  response.on("close", close);
  closed.signal.addEventListener("abort", () => {
    clearInterval(heartbeat);
    draining.removeEventListener("abort", close);
  });
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no" });
  // At once, so that the client knows that it is connected: an intermediary may hold back headers without a body.
  response.write("retry: 2000\n\n");
  if (draining.aborted) close();
  return closed.signal;
}

function write(response: Response, event: StreamedEvent): void {
  if (response.destroyed) return;
  response.write(`id: ${encodeEventCursor(event.cursor)}\nevent: ${event.type}\ndata: ${JSON.stringify(toldEvent(event))}\n\n`);
  // Its socket is full and it does not read: with its last id it can come back and go on.
  if (response.writableLength > unreadBytesMax) response.destroy();
}

/** A catch-up is paced by its reader, and given up when the reader takes nothing for long. */
async function drained(response: Response, closed: AbortSignal): Promise<void> {
  if (!response.writableNeedDrain || closed.aborted) return;
  const signal = AbortSignal.any([closed, AbortSignal.timeout(drainMsMax)]);
  await once(response, "drain", { signal }).catch(() => response.destroy());
}

function isWanted(
  event: StreamedEvent,
  filter: { readonly types?: readonly EventType[] | undefined; readonly mailboxId?: string | undefined },
): boolean {
  if (filter.types !== undefined && !filter.types.includes(event.type)) return false;
  return filter.mailboxId === undefined || filter.mailboxId === event.mailboxId;
}

function toCursor(text: string | undefined): EventCursor | undefined {
  if (text === undefined || text === "") return undefined;
  const cursor = decodeEventCursor(text);
  if (cursor === undefined)
    throw invalid({ in: "query", pointer: "#/after", detail: "not a cursor of this stream; leave it out to begin at the start" });
  return cursor;
}

/** A cursor that a client holds is never answered with an earlier one, whatever a restored database thinks. */
function later(held: EventCursor | undefined, horizon: EventCursor): EventCursor {
  return held !== undefined && BigInt(held.tx) > BigInt(horizon.tx) ? held : horizon;
}
