import type { ConnectionSlots } from "../db/connection-slots.ts";
import type { WorkMailbox } from "../db/mailbox-state.ts";
import { type KeyRing, unseal } from "../db/secrets.ts";
import { MailError } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import { givenRoles } from "../domain/sync-settings.ts";
import type { HostResolver, MailProvider, ProviderDefinition } from "../providers/provider.ts";

/** Open mailboxes of this process, kept for a while after their last use: a login costs more than most of what follows it. */
export interface Sessions {
  /** Runs `work` on the mailbox, opened with the credentials that are stored now. */
  use<Result>(mailbox: WorkMailbox, work: (provider: MailProvider) => Promise<Result>): Promise<Result>;
  /** Opens the mailbox for a caller that keeps it as long as it likes, and closes it. */
  open(mailbox: WorkMailbox): MailProvider;
  closeAll(): Promise<void>;
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
    if (known !== undefined && known.fingerprint === mailbox.fingerprint && (known.users > 0 || known.provider.isUsable())) return known;
    if (known !== undefined) {
      sessions.delete(mailbox.id);
      if (known.users === 0) void drop(mailbox.id, known);
    }
    const session = { provider: openWith(options, mailbox), fingerprint: mailbox.fingerprint, users: 0, closing: undefined };
    sessions.set(mailbox.id, session);
    return session;
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
        if (session.users === 0) {
          if (sessions.get(mailbox.id) !== session) void drop(mailbox.id, session);
          else session.closing = setTimeout(() => void drop(mailbox.id, session), lingerMs).unref();
        }
      }
    },
    open: (mailbox) => openWith(options, mailbox),
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
