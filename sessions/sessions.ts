import type { ConnectionSlots } from "../db/connection-slots.ts";
import type { WorkMailbox } from "../db/mailbox-state.ts";
import { type KeyRing, unseal } from "../db/secrets.ts";
import { MailError } from "../domain/errors.ts";
import type { HostResolver } from "../domain/host.ts";
import type { MailboxId } from "../domain/ids.ts";
import { givenRoles } from "../domain/sync-settings.ts";
import type { MailProvider, ProviderDefinition } from "../providers/provider.ts";

/** Open mailboxes of this process, kept for a while after their last use: a login costs more than most of what follows it. */
export interface Sessions {
  /** Runs `work` on the mailbox, opened with the credentials that are stored now. */
  use<Result>(mailbox: WorkMailbox, work: (provider: MailProvider) => Promise<Result>): Promise<Result>;
  /**
   * Opens the mailbox for a caller that keeps it as long as it likes, to watch it, and releases it then. Whoever uses the mailbox meanwhile gets the same
   * provider, which can read on the watching connection.
   */
  hold(mailbox: WorkMailbox): HeldMailbox;
  closeAll(): Promise<void>;
}

export interface HeldMailbox {
  readonly provider: MailProvider;
  release(): void;
}

export interface SessionOptions {
  readonly keyRing: KeyRing;
  readonly getProvider: (kind: string) => ProviderDefinition;
  readonly resolveHost: HostResolver;
  /** Counts connections over all processes. */
  readonly slots: ConnectionSlots;
  /** How long an unused session stays open. */
  readonly lingerMs?: number;
}

interface Session {
  readonly provider: MailProvider;
  readonly fingerprint: string;
  users: number;
  /** Callers that watch: they need no other connection than the one that they open themselves. */
  holders: number;
  closing: NodeJS.Timeout | undefined;
}

export function createSessions(options: SessionOptions): Sessions {
  const sessions = new Map<MailboxId, Session>();
  const lingerMs = options.lingerMs ?? 60_000;

  options.slots.onWanted((id) => void sessions.get(id)?.provider.yieldConnections());

  async function drop(id: MailboxId, session: Session): Promise<void> {
    if (sessions.get(id) === session) sessions.delete(id);
    clearTimeout(session.closing);
    await session.provider.close();
  }

  /** The session that is open with today's credentials, or a new one. One that others still use under old credentials is left to them. */
  function take(mailbox: WorkMailbox): Session {
    const known = sessions.get(mailbox.id);
    const isInUse = known !== undefined && known.users + known.holders > 0;
    if (known !== undefined && known.fingerprint === mailbox.fingerprint && (isInUse || known.provider.isUsable())) return known;
    if (known !== undefined) {
      sessions.delete(mailbox.id);
      if (!isInUse) void drop(mailbox.id, known);
    }
    const session: Session = { provider: openWith(options, mailbox), fingerprint: mailbox.fingerprint, users: 0, holders: 0, closing: undefined };
    sessions.set(mailbox.id, session);
    return session;
  }

  /** Nobody uses it just now: it lingers, or is closed if its credentials are others today. While it is held, only what was opened beside the watch ends. */
  function leave(id: MailboxId, session: Session): void {
    clearTimeout(session.closing);
    if (session.users > 0) return;
    if (sessions.get(id) !== session) {
      if (session.holders === 0) void drop(id, session);
      return;
    }
    const rest = () => (session.holders > 0 ? session.provider.yieldConnections() : drop(id, session));
    session.closing = setTimeout(() => void rest(), lingerMs).unref();
  }

  return {
    async use(mailbox, work) {
      const session = take(mailbox);
      session.users += 1;
      clearTimeout(session.closing);
      try {
        return await work(session.provider);
      } finally {
        session.users -= 1;
        leave(mailbox.id, session);
      }
    },
    hold(mailbox) {
      const session = take(mailbox);
      session.holders += 1;
      return {
        provider: session.provider,
        release() {
          session.holders -= 1;
          leave(mailbox.id, session);
        },
      };
    },
    async closeAll() {
      await Promise.all([...sessions].map(([id, session]) => drop(id, session)));
    },
  };
}

function openWith(options: SessionOptions, mailbox: WorkMailbox): MailProvider {
  if (mailbox.sealedCredentials === null) {
    throw new MailError("authentication_failed", {
      doing: `opening ${mailbox.id}`,
      fix: "The mailbox has no credentials. Reconnect it with a password.",
    });
  }
  const credentials = unseal(options.keyRing, mailbox.id, mailbox.sealedCredentials);
  return options.getProvider(mailbox.provider).open(mailbox.settings, credentials, {
    resolveHost: options.resolveHost,
    takeConnection: (max, signal) => options.slots.take(mailbox.id, max, signal),
    roleOverrides: givenRoles(mailbox.sync),
  });
}
