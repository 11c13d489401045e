import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventRoutes } from "../../api/routes/events.ts";
import { recordEvents } from "../../db/events.ts";
import type { CustomerId, MailboxId } from "../../domain/ids.ts";
import { until } from "../helpers/wait.ts";
import { createMailboxes, tell } from "../webhooks/outbox.ts";
import { type Api, startApi } from "./api.ts";

let api: Api;
let customer: { readonly id: CustomerId; readonly key: string };
let mailboxIds: readonly MailboxId[];

beforeAll(async () => {
  api = await startApi({ routes: eventRoutes });
});
afterAll(() => api[Symbol.asyncDispose]());
beforeEach(async () => {
  customer = await api.newCustomer();
  mailboxIds = await createMailboxes(api.db, customer.id, 2);
});

const mailbox = (index: number): MailboxId => mailboxIds[index] as MailboxId;
const list = async (query: string, key = customer.key) => (await api.call("GET", `/v1/events${query}`, { key })).body;

/** Every page from the start, or from a cursor. */
async function readAll(
  query: string,
  after = "",
): Promise<{ readonly events: { id: string; mailboxId: string; sequence: number }[]; readonly cursor: string }> {
  const events = [];
  for (let cursor = after; ; ) {
    const page = await list(`?${query}${cursor === "" ? "" : `&after=${cursor}`}`);
    events.push(...page.data);
    cursor = page.nextCursor;
    if (!page.hasMore) return { events, cursor };
  }
}

describe("GET /v1/events", () => {
  it("gives every event once, oldest first, whatever the size of the page", async () => {
    for (const id of mailboxIds) await tell(api.db, customer.id, id, 7);
    await tell(api.db, customer.id, null, 1);
    const whole = await until(async () => {
      const { data } = await list("?limit=500");
      return data.length === 15 && data;
    }, "all events to be readable");
    expect((await readAll("limit=2")).events).toEqual(whole);
    expect(
      whole.filter((event: { mailboxId: string }) => event.mailboxId === mailbox(0)).map((event: { sequence: number }) => event.sequence),
    ).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(whole[0]).toMatchObject({ type: "mailbox.recovered", mailboxId: mailbox(0), account: "agent-0", data: {} });
  });

  it("never passes an event that commits late", async () => {
    const late = await api.db.startTransaction().execute();
    await recordEvents(late, { customerId: customer.id, mailboxId: mailbox(0) }, [{ type: "mailbox.disconnected" }]);
    await tell(api.db, customer.id, mailbox(1), 3);
    const before = await readAll("limit=2");
    expect(before.events).toEqual([]);
    await late.commit().execute();
    const after = await until(async () => {
      const read = await readAll("limit=2", before.cursor);
      return read.events.length > 0 && read;
    }, "the late event");
    expect(after.events.map((event) => [event.mailboxId, event.sequence])).toEqual([
      [mailbox(0), 1],
      [mailbox(1), 1],
      [mailbox(1), 2],
      [mailbox(1), 3],
    ]);
    expect((await readAll("limit=2", after.cursor)).events).toEqual([]);
  });

  it("loses and repeats nothing while many write and one follows", async () => {
    let isWriting = true;
    const writing = Promise.all(
      mailboxIds.flatMap((id) =>
        [1, 2].map(async () => {
          for (let i = 0; i < 40; i++) await tell(api.db, customer.id, id, 1);
        }),
      ),
    ).finally(() => {
      isWriting = false;
    });
    const seen: string[] = [];
    let cursor = "";
    await until(async () => {
      const read = await readAll("limit=7", cursor);
      seen.push(...read.events.map((event) => event.id));
      cursor = read.cursor;
      return !isWriting && seen.length >= 160;
    }, "160 events");
    await writing;
    expect(seen).toHaveLength(160);
    expect(new Set(seen).size).toBe(160);
  });

  it("filters by type and mailbox, and goes past what it left out", async () => {
    await tell(api.db, customer.id, mailbox(0), 4);
    await tell(api.db, customer.id, mailbox(1), 2);
    await until(async () => (await list("")).data.length === 6, "all events to be readable");
    expect((await list(`?mailboxId=${mailbox(1)}`)).data).toHaveLength(2);
    expect((await list("?types=mailbox.recovered,mailbox.error&limit=1")).hasMore).toBe(true);
    const none = await list("?types=message.created");
    expect(none.data).toEqual([]);
    expect((await list(`?after=${none.nextCursor}`)).data).toEqual([]);
    for (const wrong of ["?types=message.burned", "?types=", "?limit=0", "?limit=501", "?after=rubbish", "?afer=x", "?mailboxId=1"]) {
      expect([wrong, (await api.call("GET", `/v1/events${wrong}`, { key: customer.key })).status]).toEqual([wrong, 400]);
    }
    const huge = Buffer.from(`${2n ** 64n}.1`).toString("base64url");
    expect((await api.call("GET", `/v1/events?after=${huge}`, { key: customer.key })).status).toBe(400);
  });

  it("shows nobody else's events, and a mailbox's key those of its mailbox", async () => {
    await tell(api.db, customer.id, mailbox(0), 1);
    await tell(api.db, customer.id, mailbox(1), 1);
    const [event] = await until(async () => {
      const { data } = await list("");
      return data.length === 2 && data;
    }, "all events to be readable");
    const other = await api.newCustomer();
    expect((await list("", other.key)).data).toEqual([]);
    expect((await api.call("GET", `/v1/events/${event.id}`, { key: customer.key })).body).toEqual(event);
    expect((await api.call("GET", `/v1/events/${event.id}`, { key: other.key })).status).toBe(404);
    const bound = await api.newKey({ customerId: customer.id, mailboxId: mailbox(1) });
    expect((await list("", bound)).data.map((seen: { mailboxId: string }) => seen.mailboxId)).toEqual([mailbox(1)]);
    expect((await api.call("GET", "/v1/events", { key: await api.newKey({ customerId: customer.id, scopes: ["messages:read"] }) })).status).toBe(403);
  });
});

interface Streamed {
  readonly id: string;
  readonly event: string;
  readonly data: { readonly id: string; readonly mailboxId: string; readonly sequence: number };
}

/** A follower of the stream, parsed by the rules of Server-Sent Events. */
async function follow(options: { readonly lastEventId?: string; readonly query?: string; readonly key?: string } = {}) {
  const stop = new AbortController();
  const response = await fetch(`${api.url}/v1/events/stream${options.query ?? ""}`, {
    signal: stop.signal,
    headers: {
      Authorization: `Bearer ${options.key ?? customer.key}`,
      ...(options.lastEventId === undefined ? {} : { "Last-Event-ID": options.lastEventId }),
    },
  });
  const events: Streamed[] = [];
  const state = { ended: false };
  const reading = (async () => {
    let rest = "";
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (rest + chunk).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
        if (fields.data !== undefined) events.push({ id: fields.id ?? "", event: fields.event ?? "", data: JSON.parse(fields.data) });
      }
    }
  })()
    .catch(() => {})
    .finally(() => {
      state.ended = true;
    });
  const close = async () => {
    stop.abort();
    await reading;
  };
  return { response, events, state, close };
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("GET /v1/events/stream", () => {
  it("tells what happens from now on, soon after it was committed", async () => {
    await tell(api.db, customer.id, mailbox(0), 2);
    await until(async () => (await list("")).data.length === 2, "the events of before to be readable");
    const follower = await follow();
    expect(follower.response.headers.get("Content-Type")).toMatch(/^text\/event-stream/);
    // Told only once the stream stands: without Last-Event-ID it begins when it is opened.
    await until(async () => {
      await tell(api.db, customer.id, mailbox(0), 1);
      return follower.events.length > 0;
    }, "the first event of the stream");
    const toldAt = Date.now();
    await tell(api.db, customer.id, mailbox(1), 1);
    await until(() => follower.events.some(({ data }) => data.mailboxId === mailbox(1)), "the new event");
    expect(Date.now() - toldAt).toBeLessThan(2_000);
    expect(follower.events[0]).toMatchObject({ event: "mailbox.recovered", data: { mailboxId: mailbox(0) } });
    expect(follower.events.every(({ data }) => data.mailboxId === mailbox(1) || data.sequence > 2)).toBe(true);
    await follower.close();
  });

  it("goes on after a reconnect where it stopped, without gap or repeat, while others write and follow", async () => {
    const start = (await list("")).nextCursor;
    const steady = await follow({ lastEventId: start });
    let last = start;
    const seen: number[] = [];
    let isWriting = true;
    const writing = (async () => {
      for (let i = 0; i < 300; i++) await tell(api.db, customer.id, mailbox(0), 1);
    })().finally(() => {
      isWriting = false;
    });
    while (isWriting || seen.length < 300) {
      const follower = await follow({ lastEventId: last });
      const wanted = Math.min(300, seen.length + 40);
      await until(() => seen.length + follower.events.length >= wanted, "some more events");
      await follower.close();
      seen.push(...follower.events.map(({ data }) => data.sequence));
      last = follower.events.at(-1)?.id ?? last;
    }
    await writing;
    expect(seen).toEqual(upTo(300));
    await until(() => steady.events.length >= 300, "the steady follower to have everything");
    expect(steady.events.map(({ data }) => data.sequence)).toEqual(upTo(300));
    await steady.close();
  });

  it("catches up over many pages and then follows live", async () => {
    const { nextCursor } = await list("");
    await tell(api.db, customer.id, mailbox(0), 1_100);
    const follower = await follow({ query: `?after=${nextCursor}&mailboxId=${mailbox(0)}` });
    await until(() => follower.events.length === 1_100, "the backlog");
    await tell(api.db, customer.id, mailbox(1), 1);
    await tell(api.db, customer.id, mailbox(0), 1);
    await until(() => follower.events.length === 1_101, "the live event");
    expect(follower.events.map(({ data }) => data.sequence)).toEqual(upTo(1_101));
    await follower.close();
  });

  it("tells a mailbox's key its mailbox only, and another customer nothing", async () => {
    const { nextCursor } = await list("");
    const bound = await follow({ lastEventId: nextCursor, key: await api.newKey({ customerId: customer.id, mailboxId: mailbox(1) }) });
    const other = await follow({ lastEventId: nextCursor, key: (await api.newCustomer()).key });
    await tell(api.db, customer.id, mailbox(0), 2);
    await tell(api.db, customer.id, mailbox(1), 2);
    await until(() => bound.events.length === 2, "the mailbox's events");
    expect(bound.events.map(({ data }) => data.mailboxId)).toEqual([mailbox(1), mailbox(1)]);
    expect(other.events).toEqual([]);
    await bound.close();
    await other.close();
  });

  it("refuses an eleventh stream of one key, and takes it when another one ends", async () => {
    const open = await Promise.all(upTo(10).map(() => follow()));
    const refused = await follow();
    expect(refused.response.status).toBe(429);
    expect(refused.response.headers.get("Retry-After")).toBe("15");
    await open[0]?.close();
    await until(async () => {
      const again = await follow();
      await again.close();
      return again.response.status === 200;
    }, "the place to be free");
    await Promise.all(open.map(({ close }) => close()));
  });

  it("answers HEAD at once and holds nothing open for it", async () => {
    const answers = await Promise.all(
      upTo(20).map(() => fetch(`${api.url}/v1/events/stream`, { method: "HEAD", headers: { Authorization: `Bearer ${customer.key}` } })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(answers[0]?.headers.get("Content-Type")).toContain("text/event-stream");
  });

  it("refuses a Last-Event-ID that it never gave", async () => {
    expect((await follow({ lastEventId: "rubbish" })).response.status).toBe(400);
  });

  it("ends every stream when the server drains", async () => {
    const own = await startApi({ routes: eventRoutes });
    try {
      const { key } = await own.newCustomer();
      const response = await fetch(`${own.url}/v1/events/stream`, { headers: { Authorization: `Bearer ${key}` } });
      own.closing.abort();
      expect(await response.text()).toContain("retry:");
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });
});
