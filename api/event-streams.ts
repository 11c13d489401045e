import { once } from "node:events";
import type { Response } from "express";
import { findLiveAmong } from "../db/access-keys.ts";
import { type EventCursor, encodeEventCursor, type StreamedEvent } from "../db/event-stream.ts";
import type { Scope } from "../db/scope.ts";
import type { AccessKeyId } from "../domain/ids.ts";
import { toldEvent } from "../webhooks/payload.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";
import { createEventFeed } from "./event-feed.ts";

/** Who follows, from where, and what of it they want. */
export interface Subscription {
  readonly keyId: AccessKeyId;
  readonly scope: Scope;
  readonly after: EventCursor | undefined;
  readonly isWanted: (event: StreamedEvent) => boolean;
}

/** The streams that clients hold open at this process. */
export interface EventStreams {
  /** Streams into the response until its client is gone, its key is no longer good, or the server drains. Throws only before the first byte. */
  serve(response: Response, subscription: Subscription): Promise<void>;
}

const perKeyMax = 10;
/** A sign of life for each stream that often; also how long a revoked key goes on. */
const heartbeatMs = 15_000;
/** Streams have their heartbeats in so many turns, not all at once. */
const turns = 15;

interface OpenStream {
  readonly keyId: AccessKeyId;
  readonly response: Response;
  readonly turn: number;
  close(): void;
}

const streamsByApp = new WeakMap<ApiDeps, EventStreams>();

/** One for each app: what is bounded is bounded for all of its streams together. */
export function eventStreamsOf(deps: ApiDeps): EventStreams {
  const streams = streamsByApp.get(deps) ?? createEventStreams(deps);
  streamsByApp.set(deps, streams);
  return streams;
}

function createEventStreams({ db, log, config, closing }: ApiDeps): EventStreams {
  const { eventStreamsMax } = config.api;
  const feed = createEventFeed(db, log);
  const open = new Set<OpenStream>();
  const perKey = new Map<AccessKeyId, number>();
  let turn = 0;
  let clock: NodeJS.Timeout | undefined;

  closing.addEventListener("abort", () => {
    for (const stream of open) stream.close();
  });

  function admit(keyId: AccessKeyId): void {
    const own = perKey.get(keyId) ?? 0;
    const headers = { "Retry-After": "15" };
    if (own >= perKeyMax) throw new ApiError("rate_limited", { detail: `A key may hold ${perKeyMax} streams open.`, headers });
    if (open.size >= eventStreamsMax) {
      const detail = `This process holds ${eventStreamsMax} streams, as many as EVERPOST_API_EVENT_STREAMS_MAX allows.`;
      throw new ApiError("service_unavailable", { detail, headers });
    }
    perKey.set(keyId, own + 1);
  }

  function enter(stream: OpenStream): void {
    open.add(stream);
    clock ??= setInterval(() => void beat(), heartbeatMs / turns);
  }

  function leave(stream: OpenStream): void {
    open.delete(stream);
    const left = (perKey.get(stream.keyId) ?? 1) - 1;
    if (left === 0) perKey.delete(stream.keyId);
    else perKey.set(stream.keyId, left);
    if (open.size > 0) return;
    clearInterval(clock);
    clock = undefined;
  }

  async function beat(): Promise<void> {
    turn = (turn + 1) % turns;
    const due = [...open].filter((stream) => stream.turn === turn);
    if (due.length === 0) return;
    for (const { response } of due) if (!response.writableNeedDrain) response.write(": alive\n\n");
    // While the database is away, nobody can be told from anybody; they stay.
    const alive = await findLiveAmong(db, [...new Set(due.map(({ keyId }) => keyId))]).catch(() => undefined);
    if (alive !== undefined) for (const stream of due) if (!alive.has(stream.keyId)) stream.close();
  }

  return {
    async serve(response, { keyId, scope, after, isWanted }) {
      // What is written to the answer of a HEAD goes nowhere, the head included: its client would wait for it, and hold a stream, for ever.
      if (response.req.method === "HEAD") {
        response.writeHead(200, streamHeaders).end();
        return;
      }
      admit(keyId);
      const ended = new AbortController();
      const stream: OpenStream = { keyId, response, turn: (turn + open.size) % turns, close: () => ended.abort() };
      enter(stream);
      response.on("close", stream.close);
      try {
        begin(response);
        if (closing.aborted) return;
        await feed.follow({
          scope,
          after,
          signal: ended.signal,
          tell: (event) => {
            if (isWanted(event) && !response.destroyed) response.write(textOf(event));
          },
          isFull: () => response.writableNeedDrain,
          ready: (withinMs) => drained(response, ended.signal, withinMs),
          cut: () => {
            ended.abort();
            response.destroy();
          },
        });
      } catch (err) {
        // The headers are out: all that can be said now is that the stream ends, and the client comes back with its cursor.
        log.warn({ err }, "an event stream broke");
      } finally {
        leave(stream);
        response.end();
      }
    },
  };
}

const streamHeaders = { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no" };

function begin(response: Response): void {
  response.writeHead(200, streamHeaders);
  // At once, so that the client knows that it is connected: an intermediary may hold back headers without a body.
  response.write("retry: 2000\n\n");
}

const texts = new WeakMap<StreamedEvent, string>();

/** Written once for all who are told it. */
function textOf(event: StreamedEvent): string {
  const known = texts.get(event);
  if (known !== undefined) return known;
  const text = `id: ${encodeEventCursor(event.cursor)}\nevent: ${event.type}\ndata: ${JSON.stringify(toldEvent(event))}\n\n`;
  texts.set(event, text);
  return text;
}

async function drained(response: Response, ended: AbortSignal, withinMs: number): Promise<boolean> {
  if (!response.writableNeedDrain || ended.aborted) return !ended.aborted;
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), withinMs);
  const onEnd = () => waiting.abort();
  ended.addEventListener("abort", onEnd, { once: true });
  return once(response, "drain", { signal: waiting.signal })
    .then(
      () => true,
      () => false,
    )
    .finally(() => {
      clearTimeout(timer);
      ended.removeEventListener("abort", onEnd);
    });
}
