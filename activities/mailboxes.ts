import { Context } from "@temporalio/activity";
import { replaceCredentials } from "../db/credentials.ts";
import { forgetCursors } from "../db/folder-sync.ts";
import { hasContentWork } from "../db/kept-content.ts";
import {
  findWorkMailbox,
  forgetMailbox,
  recordConnected,
  recordImportFinished,
  recordPaused,
  recordProblem,
  type WorkMailbox,
} from "../db/mailbox-state.ts";
import { pendingWork } from "../db/pending-work.ts";
import { unseal } from "../db/secrets.ts";
import { settleSettings } from "../db/settle-settings.ts";
import { settleMessages, type Teller } from "../db/unsettled.ts";
import { assignShard, leaveShard, notifyShardOf, recordWatchState } from "../db/watches.ts";
import { contentTarget, keepsAnything } from "../domain/content-plan.ts";
import { isSameSelf } from "../domain/direction.ts";
import { isMailErrorCode, toProblem } from "../domain/errors.ts";
import type { MailboxId } from "../domain/ids.ts";
import { dueAfter } from "../domain/mailbox-schedule.ts";
import { defaultSyncSettings, isRealtime, lookEveryMs, reachesFurther } from "../domain/sync-settings.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { ActivityDependencies } from "./dependencies.ts";
import { nameOf } from "./failures.ts";
import {
  anchorFolders,
  concludeLook,
  type FetchChangesInput,
  type FetchChangesResult,
  fetchChanges,
  listLeftOut,
  storeFolders,
} from "./fetch-changes.ts";
import { createGate } from "./gate.ts";
import { type ImportHistoryResult, importHistory, importShortHistory } from "./import-history.ts";
import { wakeWaitingActions } from "./message-actions.ts";
import type { Precedence } from "./precedence.ts";

export interface MailboxRef {
  readonly mailboxId: MailboxId;
}

/** What the workflow has to know about its mailbox: ids and intervals, nothing that a history must not hold. */
export type MailboxFacts =
  | { readonly isGone: true }
  | {
      readonly isGone: false;
      readonly customerId: string;
      readonly provider: string;
      readonly isPaused: boolean;
      readonly pollEveryMs: number;
      /** When the access token ends, in ms since 1970; null for passwords. */
      readonly tokenExpiresAt: number | null;
      /** Mail is heard of at once; absent in histories of earlier releases, where it always was. */
      readonly isRealtime?: boolean;
      /** When the settings were written that what is stored does not agree with yet; absent where it does. */
      readonly settlesAt?: number;
    };

export interface OpenMailboxInput extends MailboxRef {
  /** Take the first look as well, if this is the first time; `dueFraction` of the interval passes before the next one. */
  readonly firstLook?: { readonly dueFraction: number };
}

/** What a first look did besides opening; absent where the workflow has to see to all that itself. */
export interface FirstLookFacts {
  readonly look: FetchChangesResult;
  readonly imported: number;
  /** Somebody listens, or nobody is to. */
  readonly isListened: true;
}

export type OpenedMailbox = MailboxFacts | (MailboxFacts & { readonly isGone: false } & FirstLookFacts);

export interface SettleResult {
  /** The settings were changed again: the mailbox has to be opened anew. */
  readonly isStale: boolean;
  readonly more: boolean;
  /** Messages that wait for classifyMessages. */
  readonly unsettled: number;
}

export interface ClassifyResult {
  readonly told: number;
  readonly more: boolean;
}

/** Batches in one call at most: a local activity has to end within its workflow task. */
const batchesMax = 10;
/** Without a watch, changes are found by asking only, and this often. */
const pollWithoutPushMs = 5 * 60_000;
/** Settings are carried out in slices of this, so that new mail waits for no longer. */
const settleSliceMs = 5_000;
/** Mailboxes that are listed while they are opened, and how long another one waits for its turn before it is left to importHistory. */
const listedAtOnceMax = 8;
const listingPatienceMs = 2_000;
/** A rush of mailboxes that are being connected holds up their lines of preview for no longer. */
const keepsLaterMs = 15_000;

/** Only one direction is stored, and with other addresses than before other messages are of it. */
function mayHaveLeftOut({ sync, self, settledSelf }: WorkMailbox): boolean {
  return sync.direction !== "both" && settledSelf !== null && !isSameSelf(self, settledSelf);
}

function tellerOf({ id, customerId, account, self, sync }: WorkMailbox): Teller {
  return {
    ...{ mailboxId: id, customerId, account, self },
    hidesAttachments: sync.attachments === "skip",
    keepsContent: keepsAnything(contentTarget(sync)),
  };
}

/** The steps of a mailbox's life, one side effect each. */
export function mailboxActivities(deps: ActivityDependencies, sessions: Sessions, precedence: Precedence) {
  const { db } = deps;
  const listings = createGate(listedAtOnceMax);

  async function factsOf(mailbox: WorkMailbox | undefined): Promise<MailboxFacts> {
    if (mailbox === undefined) return { isGone: true };
    return {
      isGone: false,
      customerId: mailbox.customerId,
      provider: mailbox.provider,
      isPaused: mailbox.isPaused,
      ...(await paceOf(mailbox)),
      tokenExpiresAt: mailbox.tokenExpiresAt?.getTime() ?? null,
      ...(mailbox.isUnsettled && mailbox.anchoredAt !== null ? { settlesAt: mailbox.settingsAt.getTime() } : {}),
    };
  }

  async function paceOf(mailbox: WorkMailbox): Promise<{ readonly pollEveryMs: number; readonly isRealtime: boolean }> {
    const everyMs = lookEveryMs(mailbox.sync, deps.sync.pollFloorMs);
    const { capabilities } =
      mailbox.sealedCredentials === null ? { capabilities: { push: true } } : await sessions.use(mailbox, async (open) => open);
    return {
      pollEveryMs: capabilities.push || !isRealtime(mailbox.sync) ? everyMs : Math.min(everyMs, pollWithoutPushMs),
      isRealtime: isRealtime(mailbox.sync),
    };
  }

  /** What was stored may hold contents that are to be kept: that is somebody else's work, who is told of it here. */
  async function thenKeep<Result>(mailboxId: MailboxId, storing: Result | Promise<Result>): Promise<Result> {
    const result = await storing;
    await wakeKeeper(mailboxId);
    return result;
  }

  async function wakeKeeper(mailboxId: MailboxId): Promise<void> {
    if (await hasContentWork(db, mailboxId)) await deps.signals.keepContent(mailboxId);
  }

  /** Lines of preview can wait until nobody waits to be connected. A wake that is lost with this process is made up for by housekeeping. */
  function keepLater(mailboxId: MailboxId): void {
    precedence
      .standBack(keepsLaterMs, deps.draining)
      .then(() => wakeKeeper(mailboxId))
      .catch((error: unknown) => deps.log.warn({ mailboxId, error: nameOf(error) }, "the keeper of a new mailbox could not be woken"));
  }

  async function judge(mailbox: WorkMailbox): Promise<ClassifyResult> {
    const teller = tellerOf(mailbox);
    let told = 0;
    for (let batches = 0; batches < batchesMax; batches += 1) {
      const batch = await settleMessages(db, teller);
      told += batch.told;
      if (!batch.more) return { told, more: false };
    }
    return { told, more: true };
  }

  /** What a wake brought goes out from here: the workflow would do the same, two hops later. */
  async function tell(mailbox: WorkMailbox): Promise<number> {
    const { told } = await judge(mailbox);
    if (told > 0) await deps.relays.wake(mailbox.customerId);
    return told;
  }

  async function listen(mailboxId: MailboxId): Promise<{ readonly shard: number }> {
    const { shard, isAlive } = await assignShard(db, mailboxId, deps.sync.idleConnectionsPerShard);
    if (!isAlive) await deps.signals.startShard(shard);
    return { shard };
  }

  /** The folders were looked at just now, so nothing is left to fetch: whoever listens begins by comparing, and hears of what came meanwhile. */
  async function takeFirstLook(mailbox: WorkMailbox, provider: MailProvider, dueFraction: number, signal: AbortSignal): Promise<FirstLookFacts> {
    if (isRealtime(mailbox.sync)) await listen(mailbox.id);
    const imported = await listAtOnce(mailbox, provider, signal);
    await recordImportFinished(db, mailbox);
    const { pollEveryMs } = await paceOf(mailbox);
    const nextDueAt = dueAfter(Date.now(), pollEveryMs, dueFraction);
    const look = await concludeLook(
      { db, graceMs: deps.sync.graceMs },
      mailbox,
      { more: false, unread: 0, told: 0, isComplete: true },
      { paths: null, nextDueAt },
    );
    if (look.mustTell) await deps.relays.wake(mailbox.customerId);
    return { look: { ...look, mustTell: false }, imported, isListened: true };
  }

  /** A few pages of a few mailboxes at a time: what is in memory stays bounded, whatever number is connected at once. */
  async function listAtOnce(mailbox: WorkMailbox, provider: MailProvider, signal: AbortSignal): Promise<number> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(listingPatienceMs)]);
    const leave = await listings.enter(patience);
    try {
      if (patience.aborted) return 0;
      return await importShortHistory({ db, sessions, pageSize: deps.sync.pageSize, draining: deps.draining }, mailbox, provider);
    } finally {
      leave();
    }
  }

  return {
    /** Reads what the workflow needs to know before it does anything else. */
    async describeMailbox({ mailboxId }: MailboxRef): Promise<MailboxFacts> {
      return factsOf(await findWorkMailbox(db, mailboxId));
    },

    /**
     * Proves that the credentials open the mailbox, stores its folders, and looks at each once: what comes from here on is new. For a mailbox that is
     * connected for the first time, `firstLook` asks for all that lies between this and waiting for mail: that somebody listens, and, as far as that
     * is a matter of moments, the listing of what is there.
     */
    async openMailbox({ mailboxId, firstLook }: OpenMailboxInput): Promise<OpenedMailbox> {
      const mailbox = await findWorkMailbox(db, mailboxId);
      if (mailbox === undefined) return { isGone: true };
      const { cancellationSignal: signal } = Context.current();
      const looked = await precedence.goFirst(() =>
        sessions.use(mailbox, async (provider) => {
          const report = await provider.verify(signal);
          await storeFolders(db, mailbox, provider, report.folders, signal);
          const isWhole = await anchorFolders({ db }, mailbox, provider, signal);
          if (mailbox.isUnsettled && (reachesFurther(mailbox.settledSync ?? defaultSyncSettings, mailbox.sync) || mayHaveLeftOut(mailbox))) {
            await listLeftOut({ db }, mailbox, provider, signal);
          }
          await recordConnected(db, mailbox, report.address);
          if (firstLook === undefined || !isWhole || mailbox.anchoredAt !== null) return undefined;
          const connected = await findWorkMailbox(db, mailboxId);
          return connected === undefined ? undefined : takeFirstLook(connected, provider, firstLook.dueFraction, signal);
        }),
      );
      // Folders that are all empty are listed with that, and nobody else would say so.
      if (looked === undefined) await recordImportFinished(db, mailbox);
      else keepLater(mailboxId);
      await wakeWaitingActions(deps, mailboxId);
      const facts = await factsOf(mailbox);
      return facts.isGone || looked === undefined ? facts : { ...facts, ...looked };
    },

    /** Carries out on what is stored what the settings say now, for a few seconds at most; the workflow calls again while there is more. */
    async settleSettings({ mailboxId, settlesAt }: MailboxRef & { readonly settlesAt: number }): Promise<SettleResult> {
      const mailbox = await findWorkMailbox(db, mailboxId);
      if (mailbox === undefined) return { isStale: false, more: false, unsettled: 0 };
      if (mailbox.settingsAt.getTime() !== settlesAt) return { isStale: true, more: false, unsettled: 0 };
      const step = await settleSettings(db, mailbox, Date.now() + settleSliceMs);
      const { unsettled } = await pendingWork(db, mailbox);
      return { isStale: false, more: step === "more", unsettled };
    },

    /** A new access token for one that is about to end. The row's lock lets one caller refresh; who comes second finds the new token. */
    async refreshToken({ mailboxId }: MailboxRef): Promise<{ readonly tokenExpiresAt: number | null }> {
      const mailbox = await findWorkMailbox(db, mailboxId);
      if (mailbox?.sealedCredentials == null) return { tokenExpiresAt: null };
      const provider = deps.getProvider(mailbox.provider);
      const expiresAt = await replaceCredentials(
        db,
        mailbox,
        async (sealed) => {
          const refreshed = await provider.refresh?.(mailbox.settings, unseal(deps.keyRing, mailboxId, sealed), Context.current().cancellationSignal);
          return refreshed;
        },
        deps.keyRing,
      );
      return { tokenExpiresAt: expiresAt?.getTime() ?? null };
    },

    async fetchChanges(input: FetchChangesInput): Promise<FetchChangesResult> {
      const result = await fetchChanges({ db, sessions, tell, graceMs: deps.sync.graceMs }, input);
      if (result.isBack === true) await wakeWaitingActions(deps, input.mailboxId);
      return thenKeep(input.mailboxId, result);
    },

    importHistory: (input: MailboxRef): Promise<ImportHistoryResult> =>
      thenKeep(
        input.mailboxId,
        precedence.goFirst(() =>
          importHistory({ db, sessions, pageSize: deps.sync.pageSize, draining: deps.draining, onFirstPage: wakeKeeper }, input),
        ),
      ),

    /** Judges what the last pages brought, and records the events that tell it. Whether what is missing is gone, the search wrote down. */
    async classifyMessages({ mailboxId }: MailboxRef & { readonly isSearchComplete: boolean }): Promise<ClassifyResult> {
      const mailbox = await findWorkMailbox(db, mailboxId);
      return mailbox === undefined ? { told: 0, more: false } : judge(mailbox);
    },

    /** Sees to it that what was recorded goes out: wakes the relays of this customer's endpoints. */
    async actOnMessages({ mailboxId }: MailboxRef): Promise<{ readonly woken: number }> {
      const row = await db.selectFrom("mailboxes").select("customer_id").where("id", "=", mailboxId).executeTakeFirst();
      if (row === undefined) return { woken: 0 };
      return { woken: await deps.relays.wake(row.customer_id) };
    },

    /** Finds the mailbox a place among the watched ones, and the shard somebody to run it. */
    async watchMailbox({ mailboxId }: MailboxRef): Promise<{ readonly shard: number }> {
      return listen(mailboxId);
    },

    /** Nobody listens for this mailbox any more: it is read when it is due. */
    async unwatchMailbox({ mailboxId }: MailboxRef): Promise<void> {
      await leaveShard(db, mailboxId);
    },

    /** What failed, as the mailbox's row and events tell it. */
    async recordProblem(input: {
      readonly mailboxId: MailboxId;
      readonly code: string;
      readonly serverSaid: string | null;
      readonly fix: string | null;
      readonly isError: boolean;
      readonly nextDueAt: number | null;
    }): Promise<void> {
      const mailbox = await findWorkMailbox(db, input.mailboxId);
      if (mailbox === undefined || !isMailErrorCode(input.code)) return;
      const failure = { code: input.code, serverSaid: input.serverSaid ?? undefined, fix: input.fix ?? undefined };
      const problem = toProblem(failure, new Date().toISOString());
      await recordProblem(db, mailbox, problem, input.isError, input.nextDueAt === null ? null : new Date(input.nextDueAt));
      if (input.isError) {
        await recordWatchState(db, input.mailboxId, "off");
        await notifyShardOf(db, input.mailboxId);
      }
    },

    async setPaused({ mailboxId, isPaused }: MailboxRef & { readonly isPaused: boolean }): Promise<void> {
      await recordPaused(db, mailboxId, isPaused);
      if (isPaused) await recordWatchState(db, mailboxId, "off");
      await notifyShardOf(db, mailboxId);
      if (!isPaused) await wakeWaitingActions(deps, mailboxId);
    },

    async forgetCursors({ mailboxId }: MailboxRef): Promise<void> {
      await forgetCursors(db, mailboxId);
    },

    async forgetMailbox({ mailboxId, purge }: MailboxRef & { readonly purge: boolean }): Promise<void> {
      await forgetMailbox(db, mailboxId, purge);
    },
  };
}
