import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { Account } from "./connection.ts";
import { type Call, guarded } from "./lane.ts";

/**
 * A watching connection between two IDLEs, for calls that read the folder it has selected: it is signed in, and awake, for it has just said why they
 * come. A mailbox that gets mail now and then needs no other connection, and no new mail waits for a login.
 */
export interface Loan {
  /**
   * Runs the work there; undefined where the watch is broken, or busy itself. Such calls run one after another. Throws `unavailable` if an answer that
   * cannot be read cost the connection: another one finds out what to say of it, and is known to be broken then.
   */
  borrow<T>(call: Call, work: (client: ImapFlow) => Promise<T>): Promise<T> | undefined;
  /** The folder was read on the watching connection a moment ago, so that what its session knows of it is true. */
  hasJustRead(): boolean;
  /** For the watch, which idles and can spare its connection. */
  offer(client: ImapFlow): Offer;
}

export interface Offer {
  /** Resolves, when nobody has the connection any more, with whether anybody had it. Who comes meanwhile still gets it, but not after this instant. */
  returned(lendsUntil: number): Promise<boolean>;
}

/** A call that follows another one within this finds the connection as it was left: IDLE in between would cost both ends more than it brings. */
const lingerMs = 50;
const justReadMs = 10_000;

export function createLoan(account: Account): Loan {
  let offered: ImapFlow | undefined;
  let out = 0;
  let hasLent = false;
  let tail: Promise<unknown> = Promise.resolve();
  let readAt = Number.NEGATIVE_INFINITY;

  return {
    borrow(call, work) {
      if (offered?.usable !== true) return undefined;
      const client = offered;
      out += 1;
      hasLent = true;
      const done = tail
        .then(() => guarded(client, call, account, work))
        .catch((error: unknown) => {
          const isUnread = error instanceof MailError && error.code === "invalid_response";
          throw isUnread && !client.usable ? new MailError("unavailable", { doing: call.doing, cause: error }) : error;
        })
        .finally(() => {
          out -= 1;
          readAt = performance.now();
        });
      tail = done.catch(() => {});
      return done;
    },
    hasJustRead: () => performance.now() - readAt < justReadMs,
    offer(client) {
      offered = client;
      hasLent = false;
      return {
        async returned(lendsUntil) {
          const isLinger = () => hasLent && performance.now() < Math.min(readAt + lingerMs, lendsUntil);
          while (out > 0 || isLinger()) {
            if (performance.now() >= lendsUntil) offered = undefined;
            await tail;
            if (out === 0 && isLinger()) await new Promise((resolve) => setTimeout(resolve, lingerMs));
          }
          offered = undefined;
          return hasLent;
        },
      };
    },
  };
}
