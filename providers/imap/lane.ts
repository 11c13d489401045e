import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import { type Account, connect, patienceOf, reasonOf } from "./connection.ts";

/** What a call on a lane does. */
export interface Call {
  /** For errors: without addresses or content. */
  readonly doing: string;
  readonly signal?: AbortSignal | undefined;
  /** Changes something: never repeated blindly, because nobody knows how far the first attempt came. */
  readonly isWrite?: boolean;
}

/**
 * One connection with a queue before it: opened by the first call, opened anew after it broke. Calls run one after another, because an IMAP connection
 * has one selected folder.
 */
export interface Lane {
  run<T>(call: Call, work: (client: ImapFlow) => Promise<T>): Promise<T>;
  /** Calls that run or wait: which of two lanes is freer. */
  pending(): number;
  /** Hangs up, unless a call runs or waits; the next one connects anew. */
  rest(): Promise<void>;
  /** True once a server with this capability was signed in to. */
  offers(capability: string): boolean;
  /** False once the connection broke or the lane was closed. */
  isUsable(): boolean;
  close(): Promise<void>;
}

/** A LOGOUT that is not answered by then is not waited for. */
const logoutTimeoutMs = 2_000;

export function createLane(account: Account): Lane {
  let client: ImapFlow | undefined;
  let hasBroken = false;
  let isClosed = false;
  let pending = 0;
  let tail: Promise<void> = Promise.resolve();
  let offered: ReadonlySet<string> = new Set();

  async function openedClient(call: Call): Promise<ImapFlow> {
    if (isClosed) throw new MailError("unavailable", { doing: `${call.doing} on a closed connection` });
    if (client?.usable) return client;
    const opened = await connect(account, call.doing, call.signal);
    if (isClosed) {
      opened.close();
      throw new MailError("unavailable", { doing: `${call.doing} on a closed connection` });
    }
    opened.once("close", () => {
      if (client === opened) hasBroken = true;
    });
    client = opened;
    offered = new Set(opened.capabilities.keys());
    hasBroken = false;
    return opened;
  }

  /** A connection that was left alone is asked for a sign of life before it is trusted with what cannot be repeated. */
  async function provenClient(call: Call): Promise<ImapFlow> {
    const known = await openedClient(call);
    try {
      await guarded(known, call, account, (client) => client.noop());
    } catch (error) {
      if (!isLost(error)) throw error;
    }
    return openedClient(call);
  }

  return {
    async run(call, work) {
      const turn = tail;
      const { promise: done, resolve: release } = Promise.withResolvers<void>();
      tail = turn.then(() => done);
      pending += 1;
      try {
        await abortable(turn, call.signal);
        const isReused = client?.usable === true;
        const opened = call.isWrite === true && isReused ? await provenClient(call) : await openedClient(call);
        try {
          return await guarded(opened, call, account, work);
        } catch (error) {
          // A connection that was left alone may be gone without our knowing, or its folder deleted under it (Dovecot says BYE then). What only
          // reads, a fresh connection may simply do again.
          if (call.isWrite === true || !isReused || opened.usable || isClosed || !isLost(error)) throw error;
          return await guarded(await openedClient(call), call, account, work);
        }
      } finally {
        pending -= 1;
        release();
      }
    },
    pending: () => pending,
    async rest() {
      const unused = pending === 0 ? client : undefined;
      if (unused === undefined) return;
      client = undefined;
      await logout(unused);
    },
    offers: (capability) => offered.has(capability),
    isUsable: () => !isClosed && !hasBroken,
    async close() {
      isClosed = true;
      const open = client;
      client = undefined;
      if (open !== undefined) await logout(open);
    },
  };
}

/** The connection is gone, or was: what only reads may be done again on another one. */
export function isLost(error: unknown): boolean {
  return error instanceof MailError && error.code === "unavailable";
}

/** Ends the work when the signal aborts or the time is up, by closing the connection: no other way ends a command that a server does not answer. */
export async function guarded<T>(client: ImapFlow, call: Call, account: Account, work: (client: ImapFlow) => Promise<T>): Promise<T> {
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  stopped.catch(() => {});
  const stop = (reason: unknown) => {
    reject(reason);
    client.close();
  };
  const onAbort = () => stop(call.signal?.reason);
  const timer = setTimeout(() => stop(new MailError("connection_timeout", { doing: call.doing })), patienceOf(account).callMs);
  call.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (call.signal?.aborted) throw call.signal.reason;
    return await Promise.race([work(client), stopped]);
  } catch (error) {
    if (call.signal?.aborted) throw call.signal.reason;
    throw reasonOf(client, error, { doing: call.doing, protocol: "imap", preset: account.settings.preset });
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener("abort", onAbort);
  }
}

function abortable(turn: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return turn;
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  turn.then(resolve);
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}

async function logout(client: ImapFlow): Promise<void> {
  const timer = setTimeout(() => client.close(), logoutTimeoutMs);
  try {
    if (client.usable) await client.logout();
  } catch {
    // The server was faster, or gone: the connection is closed either way.
  } finally {
    clearTimeout(timer);
    client.close();
  }
}
