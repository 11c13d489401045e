import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { Patience, WatchOptions } from "../provider.ts";
import { type Account, connect, patienceOf } from "./connection.ts";
import { toMailError } from "./errors.ts";
import { selectFolder } from "./folder.ts";
import type { Loan } from "./loan.ts";
import { askedAtOnce, checkScopes, differs, inSlices } from "./status.ts";

/** A server that ends IDLE as soon as it begins is not asked again faster than this. */
const idleRestartMs = 1_000;

const doing = "waiting for new mail";

/**
 * Waits for news on a connection of its own: IDLE on one folder, STATUS on the others from time to time. Resolves when the signal aborts; rejects with
 * what ended the connection, and reconnecting is the caller's. While it idles, others may read the folder on its connection.
 */
export async function watch(account: Account, options: WatchOptions, loan: Loan): Promise<void> {
  const { signal } = options;
  if (signal.aborted) return;
  let client: ImapFlow | undefined;
  try {
    const patience = patienceOf(account);
    client = await connect(account, doing, signal, { ...patience, silenceMs: patience.aliveEveryMs + patience.answerMs });
    await keepWatch(client, options, patience, loan);
  } catch (error) {
    if (!signal.aborted) throw toMailError(error, { doing, protocol: "imap", preset: account.settings.preset });
  } finally {
    client?.close();
  }
}

async function keepWatch(client: ImapFlow, options: WatchOptions, { aliveEveryMs, answerMs }: Patience, loan: Loan): Promise<void> {
  const { signal, scope } = options;
  const end = endOf(client, signal);
  /** The same work, given up when the watch ends, or when the server leaves a question open for too long, whatever TCP believes. */
  const answered = async <T>(work: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => end.now(new MailError("unavailable", { doing: `${doing}: the connection is dead` })), answerMs);
    try {
      const answer = await end.orFirst(work);
      if (answer === undefined) throw signal.reason;
      return answer.value;
    } finally {
      clearTimeout(timer);
    }
  };
  const hint = createHint(options.onChange);
  // Listening begins before the folder is selected: what happens between the comparison and IDLE is announced with the next answer.
  for (const event of ["exists", "expunge", "flags"] as const) client.on(event, ({ path }: { readonly path: string }) => hint([path]));

  // What happened before the watch began shows against what is known; the watched folder is compared by its own SELECT.
  const folder = await answered(selectFolder(client, options.scope.path));
  const cursor = (await options.knownCursors()).get(options.scope.path);
  if (cursor !== undefined && differs(cursor, folder)) hint([options.scope.path]);
  await check(client, options, hint, answered);
  const everyMs = Math.min(options.checkEveryMs, aliveEveryMs);
  let checkAt = performance.now() + everyMs;
  while (!signal.aborted) {
    const startedAt = performance.now();
    const offer = loan.offer(client);
    await end.orFirst(idleFor(client, Math.max(0, checkAt - startedAt), signal));
    const returned = await end.orFirst(offer.returned(checkAt));
    if (signal.aborted) return;
    const wasLent = returned?.value === true;
    if (wasLent && (client.mailbox === false || client.mailbox.path !== scope.path)) throw new MailError("unavailable", { doing });
    // Whoever borrowed the connection ended IDLE, and got answers: it is alive.
    if (wasLent && performance.now() < checkAt) continue;
    if (performance.now() - startedAt < idleRestartMs) await end.orFirst(startPause(idleRestartMs, signal).isUp);
    if (signal.aborted) return;
    await check(client, options, hint, answered);
    checkAt = performance.now() + everyMs;
  }
}

/** Folder by folder where the server knows no better: it has its time for each few of them, so that many are not taken for a dead connection. */
async function check(
  client: ImapFlow,
  options: WatchOptions,
  hint: (paths: readonly string[]) => void,
  answered: <T>(work: Promise<T>) => Promise<T>,
): Promise<void> {
  const known = await options.knownCursors();
  const others = [...known].filter(([path]) => path !== options.scope.path);
  for (const some of inSlices(others, (count) => askedAtOnce(client.capabilities.has("LIST-STATUS"), count))) {
    // A NOOP brings what the server has to say about the watched folder itself.
    await answered(client.noop());
    if (!client.usable) throw new MailError("unavailable", { doing });
    const changed = (await answered(checkScopes(client, new Map(some)))).filter((state) => state.changed).map((state) => state.path);
    if (changed.length > 0) hint(changed);
    options.onAlive();
    if (options.signal.aborted) return;
  }
}

/** Stays in IDLE until it is time for something else, or it ends by itself. The next command ends it on the wire. Without IDLE, simply waits. */
async function idleFor(client: ImapFlow, durationMs: number, signal: AbortSignal): Promise<void> {
  const time = startPause(durationMs, signal);
  if (!client.capabilities.has("IDLE")) return time.isUp;
  const idle = client.idle().then((answer) => {
    // A server that offers IDLE and refuses it is polled like one that does not offer it.
    if (answer === false && client.usable) return time.isUp;
    return undefined;
  });
  idle.catch(() => {});
  try {
    await Promise.race([time.isUp, idle]);
  } finally {
    time.end();
  }
}

/** Paths to announce, gathered for one turn of the event loop: a burst of EXISTS and EXPUNGE is one announcement. */
function createHint(onChange: (paths: readonly string[]) => void): (paths: readonly string[]) => void {
  const waiting = new Set<string>();
  return (paths) => {
    if (waiting.size === 0) {
      setImmediate(() => {
        const all = [...waiting];
        waiting.clear();
        onChange(all);
      });
    }
    for (const path of paths) waiting.add(path);
  };
}

/** What ends a watch, whatever it waits for. */
interface End {
  /** What the work brings, undefined once the signal aborts; rejects when the connection ends, or is given up. */
  orFirst<T>(work: Promise<T>): Promise<{ readonly value: T } | undefined>;
  now(reason: MailError): void;
}

/** A watch waits thousands of times in its life. `Promise.race` with one promise of its end would keep something of each wait until the end comes. */
function endOf(client: ImapFlow, signal: AbortSignal): End {
  const waits = new Set<() => void>();
  let failure: unknown;
  let isOver = false;
  const over = (reason?: unknown) => {
    if (isOver) return;
    [isOver, failure] = [true, reason];
    for (const wake of waits) wake();
  };
  client.once("error", over);
  client.once("close", () => {
    const { byeReason } = client as unknown as { readonly byeReason?: string };
    over(Object.assign(new Error("the server closed the connection"), { code: "EConnectionClosed", response: byeReason }));
  });
  signal.addEventListener("abort", () => over(), { once: true });
  return {
    orFirst: async <T>(work: Promise<T>) => {
      const { promise, resolve, reject } = Promise.withResolvers<{ readonly value: T } | undefined>();
      const wake = () => (failure === undefined ? resolve(undefined) : reject(failure));
      waits.add(wake);
      if (isOver) wake();
      work.then((value) => resolve({ value }), reject);
      try {
        return await promise;
      } finally {
        waits.delete(wake);
      }
    },
    now: over,
  };
}

interface Pause {
  readonly isUp: Promise<void>;
  end(): void;
}

function startPause(durationMs: number, signal: AbortSignal): Pause {
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    resolve();
  };
  const timer = setTimeout(end, durationMs);
  signal.addEventListener("abort", end, { once: true });
  return { isUp: promise, end };
}
