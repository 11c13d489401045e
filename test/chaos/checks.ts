import type { Installation } from "../e2e/installation.ts";
import type { TcpProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";

/*
 * What is looked at beside the checker of mailboxes (test/e2e/checker.ts): whether anything waited for longer than pauses and load explain, whether what is
 * shown is so, and what is left open. Each says what it saw; checks.test.ts breaks each on purpose.
 */

/**
 * The longest pauses that may come one behind another: two heartbeats that run out (15 s of whoever fetches, 30 s of whoever tells), the longest pause
 * after each (30 s), and what nobody signalled is found when it has lain for a minute, by a look once a minute.
 */
export const pausesMsMax = 225_000;

/** What is left to do when the last fault is over, on a machine that does nothing else. */
const workMs = 10_000;

export interface Lateness {
  /** Messages that were first told later than pauses and load explain. */
  readonly late: number;
  readonly boundMs: number;
  /** The longest that a message waited, from its delivery or from the last fault, whichever was later. */
  readonly slowestMs: number;
}

/** `stretch` is how many times longer work took on this machine than it takes alone. What was never told is for the checker. */
export function lateness({ ledger, receiver }: Pick<Installation, "ledger" | "receiver">, quietAt: number, stretch: number): Lateness {
  const toldAt = new Map<string, number>();
  for (const { body, at } of receiver.received) {
    const { type, data } = JSON.parse(body) as { readonly type: string; readonly data: { readonly message?: { readonly messageId?: string } } };
    const id = data.message?.messageId;
    if (type === "message.created" && id !== undefined && !toldAt.has(id)) toldAt.set(id, at);
  }
  const waited = ledger.entries
    .filter(({ isTold, messageId }) => isTold && toldAt.has(messageId))
    .map(({ messageId, at }) => (toldAt.get(messageId) ?? 0) - Math.max(at, quietAt));
  const boundMs = Math.round(pausesMsMax + workMs * stretch);
  return { late: waited.filter((ms) => ms > boundMs).length, boundMs, slowestMs: waited.reduce((most, ms) => Math.max(most, ms), 0) };
}

/** A mailbox that is shown as live and watched is: one more message is told at once. */
export async function untruths(
  { deliverAndWait }: Pick<Installation, "deliverAndWait">,
  mailboxes: readonly { readonly email: string }[],
  patienceMs: number,
): Promise<readonly string[]> {
  const told = await Promise.allSettled(mailboxes.map(({ email }) => deliverAndWait(email, patienceMs)));
  return told.flatMap(({ status }, index) =>
    status === "rejected"
      ? [`${mailboxes[index]?.email}: the API shows it as live, but it does not tell what comes within ${Math.round(patienceMs / 1000)} s`]
      : [],
  );
}

/** A watch for each mailbox is all that stays open; and nothing, once every process has ended. */
export async function orphans(
  way: Pick<TcpProxy, "open">,
  mailboxes: number,
  stop: () => Promise<unknown>,
  { idleMs = 300_000, stoppedMs = 60_000 } = {},
): Promise<readonly string[]> {
  const isQuiet = until(() => way.open <= mailboxes, "sessions to be closed that nobody uses", idleMs);
  const idle = await isQuiet.then(
    () => [],
    () => [`${way.open} connections to the mail server are open for ${mailboxes} mailboxes`],
  );
  await stop();
  const left = await until(() => way.open === 0, "the last connection to be closed", stoppedMs).then(
    () => [],
    () => [`${way.open} connections to the mail server are open after everybody has gone`],
  );
  return [...idle, ...left];
}
