import { Client } from "pg";
import { MailError } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import { type Listener, openListener } from "./listener.ts";
import { askWithin, breakWhenSilent, steadyLine } from "./silence.ts";

/** Counts the connections to mail servers over all processes, so that no account gets more of them than its server allows. */
export interface ConnectionSlots {
  /**
   * A place for one more connection, of `max` for the mailbox; returns what gives it back, which may be called twice. Waits for a moment, and asks the
   * others to give up what they do not use; throws `too_many_connections` if that does not help.
   */
  take(id: MailboxId, max: number, signal?: AbortSignal): Promise<() => void>;
  /** Called when another process needs a place that this one may be able to spare. */
  onWanted(listener: (id: MailboxId) => void): void;
  close(): Promise<void>;
}

const channel = "everpost_connection_wanted";
type PlaceState = "asked for" | "held";
type Places = Map<MailboxId, Map<number, PlaceState>>;

/** How long others have to hang up before the caller is told to come again. */
const patienceMs = 3_000;
const pauseMs = 100;
/** Told to everybody once a second at most while waiting. */
const askEveryMs = 1_000;
/** All its statements are small. A session that does not answer one of them is lost, and everybody behind it waits. */
const answerMs = 10_000;

/**
 * A place is an advisory lock of PostgreSQL, held by this process's own session: when the process dies, however it dies, its places are free. A session
 * may take its own lock again, so the places of this process are kept count of here as well.
 */
export async function openConnectionSlots(url: string, patience = { answerMs }): Promise<ConnectionSlots> {
  const own: Places = new Map();
  const session = lockSession(url, own, patience.answerMs);
  let wanted: (id: MailboxId) => void = () => {};
  const listener: Listener = await openListener(url, channel, (payload) => {
    if (payload !== "") wanted(payload as MailboxId);
  });

  async function tryTake(id: MailboxId, max: number): Promise<(() => void) | undefined> {
    const places = own.get(id) ?? new Map<number, PlaceState>();
    own.set(id, places);
    for (let place = 0; place < max; place += 1) {
      if (places.has(place)) continue;
      // Noted before it is asked for: two callers in this process must not both ask for it.
      places.set(place, "asked for");
      const isTaken = await session.lock(id, place).catch((error: unknown) => {
        forget(id, place);
        throw error;
      });
      if (isTaken) {
        places.set(place, "held");
        return once(() => void session.unlock(id, place).finally(() => forget(id, place)));
      }
      forget(id, place);
      own.set(id, places);
    }
    if (places.size === 0) own.delete(id);
    return undefined;
  }

  function forget(id: MailboxId, place: number): void {
    const places = own.get(id);
    places?.delete(place);
    if (places?.size === 0) own.delete(id);
  }

  return {
    async take(id, max, signal) {
      const endsAt = Date.now() + patienceMs;
      let askedAt = 0;
      for (;;) {
        signal?.throwIfAborted();
        const release = await tryTake(id, max);
        if (release !== undefined) return release;
        if (Date.now() > endsAt)
          throw new MailError("too_many_connections", { doing: `connecting ${id} once more: all of its ${max} places are taken` });
        if (Date.now() - askedAt > askEveryMs) {
          askedAt = Date.now();
          await session.ask(id);
        }
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    },
    onWanted(given) {
      wanted = given;
    },
    async close() {
      await listener.close();
      await session.close();
    },
  };
}

/**
 * The same, opened by the first connection that is to be counted, for a process that has to be up while PostgreSQL is not. An opening that fails is the
 * caller's failure, and tried again by the next.
 */
export function connectionSlotsOnDemand(url: string): ConnectionSlots {
  let opening: Promise<ConnectionSlots> | undefined;
  let wanted: (id: MailboxId) => void = () => {};
  const opened = async () => {
    opening ??= openConnectionSlots(url);
    try {
      const slots = await opening;
      slots.onWanted(wanted);
      return slots;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  };
  return {
    take: async (id, max, signal) => (await opened()).take(id, max, signal),
    onWanted(given) {
      wanted = given;
    },
    async close() {
      const slots = await opening?.catch(() => undefined);
      await slots?.close();
    },
  };
}

/** One PostgreSQL session that holds this process's locks, opened anew after it broke: what is held is then locked again, as far as it is still free. */
function lockSession(url: string, own: Places, answerWithinMs: number) {
  let opening: Promise<Client> | undefined;
  let current: Client | undefined;
  let isClosed = false;
  let tail: Promise<unknown> = Promise.resolve();

  /** One statement at a time, as `pg` wants it: what is asked for meanwhile waits here. */
  function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = tail.then(work);
    tail = turn.catch(() => {});
    return turn;
  }

  function client(): Promise<Client> {
    if (isClosed) throw new MailError("unavailable", { doing: "counting connections while the process ends" });
    opening ??= open().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  }

  async function open(): Promise<Client> {
    const fresh = new Client({ connectionString: url, application_name: "everpost connection slots", ...steadyLine });
    current = fresh;
    // A session says more than once that it is lost, the last time when its successor is there already.
    const drop = () => {
      if (current === fresh) opening = undefined;
    };
    fresh.on("error", drop);
    fresh.on("end", drop);
    await fresh.connect();
    breakWhenSilent(fresh);
    for (const [id, places] of own) {
      for (const [place, state] of places) if (state === "held") await askWithin(fresh, answerWithinMs, lockStatement, [id, place]);
    }
    return fresh;
  }

  return {
    lock: (id: MailboxId, place: number): Promise<boolean> =>
      inTurn(async () => {
        const { rows } = await askWithin<{ taken: boolean }>(await client(), answerWithinMs, lockStatement, [id, place]);
        return rows[0]?.taken === true;
      }),
    unlock: (id: MailboxId, place: number): Promise<void> =>
      inTurn(async () => {
        // A session that broke has given up its locks already.
        if (isClosed || opening === undefined) return;
        await askWithin(await opening, answerWithinMs, "select pg_advisory_unlock(hashtext($1), $2::int)", [id, place]).catch(() => {});
      }),
    ask: (id: MailboxId): Promise<void> =>
      inTurn(async () => {
        await askWithin(await client(), answerWithinMs, "select pg_notify($1, $2)", [channel, id]);
      }),
    async close(): Promise<void> {
      isClosed = true;
      const open = await opening?.catch(() => undefined);
      await open?.end().catch(() => {});
    },
  };
}

const lockStatement = "select pg_try_advisory_lock(hashtext($1), $2::int) as taken";

function once(work: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    work();
  };
}
