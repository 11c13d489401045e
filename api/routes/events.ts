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
import { toldEvent } from "../../webhooks/payload.ts";
import { invalid, notFound } from "../errors.ts";
import { eventStreamsOf } from "../event-streams.ts";
import { answered, route } from "../route.ts";
import { idParams, idSchema, instantOut, namesSchema, pageLimit } from "../schemas.ts";

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

const filterQuery = {
  types: namesSchema(eventTypes).optional().describe("Event types, separated by commas; all if left out."),
  mailboxId: idSchema("mailbox").optional(),
};
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
        limit: pageLimit(500, 100),
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
        "Last-Event-ID goes on where it stopped and misses nothing; without it, the stream begins now. Whoever takes nothing for 30 seconds is cut and goes on the same way.",
      tags,
      auth,
      query: z.strictObject({ ...filterQuery, after: after.describe("Like Last-Event-ID, for clients that cannot set it the first time.") }),
      contentType: "text/event-stream",
      problems: ["rate_limited", "service_unavailable"],
    },
    async ({ query, scope, caller, deps, request, response }): Promise<typeof answered> => {
      const after = toCursor(request.get("Last-Event-ID") ?? query.after);
      await eventStreamsOf(deps).serve(response, { keyId: caller.keyId, scope, after, isWanted: (event) => isWanted(event, query) });
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
