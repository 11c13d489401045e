import type { Logger } from "pino";
import type { MailboxId } from "../domain/ids.ts";
import { nameOf } from "./failures.ts";

/** Wakes that must reach their workflows: gathered per mailbox, sent at once, kept while Temporal is away. */
export interface WakeQueue {
  push(id: MailboxId, paths: readonly string[]): void;
  /** True while a wake could not be sent and waits for its next try. */
  isBlocked(): boolean;
  /** Resolves when nothing is left to send. */
  close(): Promise<void>;
}

/** The pause after a wake that Temporal did not take. */
const retryMs = 1_000;
/**
 * A mailbox is woken again no sooner than so many times what its last signal took. Where there is time for everything that is nothing; where a burst
 * makes signals slow, what arrives meanwhile is one look instead of many, which is what a burst needs.
 */
const spacing = { factor: 10, msMax: 2_000 };

/**
 * One wake at a time per mailbox: what is heard of while a signal is under way travels with the next one, so that a flood of arrivals is a handful of
 * signals. A wake that cannot be sent is kept; the watch would not notice the same change again.
 */
export function createWakeQueue(send: (id: MailboxId, paths: readonly string[]) => Promise<void>, log: Logger): WakeQueue {
  const waiting = new Map<MailboxId, Set<string>>();
  const sending = new Map<MailboxId, Promise<void>>();
  const refused = new Set<MailboxId>();
  const closing = new AbortController();

  async function drain(id: MailboxId): Promise<void> {
    for (;;) {
      const paths = waiting.get(id);
      if (paths === undefined) return;
      waiting.delete(id);
      try {
        const startedAt = performance.now();
        await send(id, [...paths]);
        refused.delete(id);
        await pause(Math.min((performance.now() - startedAt) * spacing.factor, spacing.msMax), closing.signal);
      } catch (error) {
        refused.add(id);
        if (closing.signal.aborted) return;
        log.warn({ mailboxId: id, error: nameOf(error) }, "a wake could not be sent, it is kept");
        waiting.set(id, merge(waiting.get(id), paths));
        await pause(retryMs, closing.signal);
      }
    }
  }

  return {
    push(id, paths) {
      waiting.set(id, merge(waiting.get(id), new Set(paths)));
      if (sending.has(id)) return;
      sending.set(
        id,
        drain(id).finally(() => sending.delete(id)),
      );
    },
    isBlocked: () => refused.size > 0,
    async close() {
      closing.abort();
      await Promise.all(sending.values());
    },
  };
}

/** A wake without paths is for every folder, and stays so whatever is added to it. */
function merge(known: ReadonlySet<string> | undefined, paths: ReadonlySet<string>): Set<string> {
  if (known?.size === 0 || paths.size === 0) return new Set();
  return new Set([...(known ?? []), ...paths]);
}

/** Waits, or stops waiting when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
