import { Context } from "@temporalio/activity";
import type { Database } from "../db/database.ts";
import { findWorkMailbox, type WorkMailbox } from "../db/mailbox-state.ts";
import {
  beginSteps,
  countPending,
  findFolders,
  findPendingAction,
  findProblem,
  findTargetFolder,
  findTargets,
  hasMissing,
  type ItemOutcome,
  type PendingAction,
  type PendingItem,
  recordOutcomes,
  refuseAll,
  refuseImpatient,
  storeWritten,
  type Target,
  type WritableFolder,
  type Written,
} from "../db/message-actions.ts";
import { settleBatch } from "../db/unsettled.ts";
import { catalogue, MailError, type MailErrorCode, type Problem, toProblem } from "../domain/errors.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { Flags } from "../domain/message.ts";
import { type MessageAction, nextStep, targetOf, type WriteMark, type WriteRef, type WriteResult } from "../domain/message-action.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { ActivityDependencies } from "./dependencies.ts";

/** How a mailbox's waiting changes stand. */
export type CarriedOut =
  /** Nothing waits any more. */
  | { readonly state: "done" }
  /** Work is left, and time was up. */
  | { readonly state: "more" }
  /** The mailbox is paused or in error: whoever brings it back wakes this. */
  | { readonly state: "away" }
  /** The server cannot be reached, or what became of something is not known yet. */
  | { readonly state: "failing"; readonly code: MailErrorCode; readonly retryAfterMs: number | null };

/** One call works for about this long, then lets the next one take over. */
const sliceMs = 60_000;
/** UIDs in one command: enough that round trips do not count, few enough for every server's line length, and for others to get their turn. */
const chunkSize = 250;
/** What workflows/proxies.ts allows: the last attempt says what is to be told instead of failing. */
const attemptsMax = 3;

/** Failures that are about one folder or message. With all others, the mailbox itself cannot be written to for now. */
const itemFailures: ReadonlySet<MailErrorCode> = new Set([
  "not_found",
  "rejected",
  "write_refused",
  "read_only_folder",
  "permission_denied",
  "quota_exceeded",
  "flags_not_kept",
]);

/** Carries out what customers asked to be done to messages: the requests of one mailbox, in their order. */
export function messageActionActivities(deps: ActivityDependencies, sessions: Sessions) {
  const { db } = deps;
  return {
    async carryOutActions({ mailboxId }: { readonly mailboxId: MailboxId }): Promise<CarriedOut> {
      const mailbox = await findWorkMailbox(db, mailboxId);
      if (mailbox === undefined) {
        await refuseAll(db, mailboxId, problemOf("mailbox_not_connected"));
        return { state: "done" };
      }
      const away = await awayProblem(db, mailbox);
      if (away !== undefined) {
        await refuseImpatient(db, mailboxId, away);
        return (await countPending(db, mailboxId)) === 0 ? { state: "done" } : { state: "away" };
      }
      try {
        return await sessions.use(mailbox, (provider) => carryOutAll({ deps, mailbox, provider, signal: Context.current().cancellationSignal }));
      } catch (error) {
        if (!(error instanceof MailError) || mayBeRepeated(error)) throw error;
        await refuseImpatient(db, mailboxId, toProblem(error, new Date().toISOString()));
        if ((await countPending(db, mailboxId)) === 0) return { state: "done" };
        return { state: "failing", code: error.code, retryAfterMs: error.retryAfterMs ?? null };
      }
    },
  };
}

/** The mailbox is back: what was queued for it is carried out. */
export async function wakeWaitingActions({ db, signals }: Pick<ActivityDependencies, "db" | "signals">, mailboxId: MailboxId): Promise<void> {
  if ((await countPending(db, mailboxId)) > 0) await signals.wakeActions(mailboxId);
}

/** Temporal tries again a few times, with the pauses of workflows/proxies.ts. */
function mayBeRepeated(error: MailError): boolean {
  return catalogue[error.code].retry !== "never" && Context.current().info.attempt < attemptsMax;
}

async function awayProblem(db: Database, mailbox: WorkMailbox): Promise<Problem | undefined> {
  if (mailbox.isPaused) return problemOf("mailbox_paused");
  if (mailbox.status === "connected") return undefined;
  return (await findProblem(db, mailbox.id)) ?? problemOf("mailbox_not_connected");
}

function problemOf(code: MailErrorCode, fix?: string): Problem {
  return toProblem({ code, fix }, new Date().toISOString());
}

interface Work {
  readonly deps: ActivityDependencies;
  readonly mailbox: WorkMailbox;
  readonly provider: MailProvider;
  readonly signal: AbortSignal;
}

async function carryOutAll(work: Work): Promise<CarriedOut> {
  const { deps, mailbox } = work;
  for (const endsAt = Date.now() + sliceMs; ; ) {
    const pending = await findPendingAction(deps.db, mailbox.id);
    if (pending === undefined) return { state: "done" };
    await carryOut(work, pending);
    if (Date.now() > endsAt || deps.draining.aborted) return { state: "more" };
  }
}

/** One round of a request: what was begun before is finished first, then every message gets its next step. */
async function carryOut(work: Work, { id, action, items }: PendingAction): Promise<void> {
  const { db } = work.deps;
  const targets = await findTargets(
    db,
    items.map((item) => item.messageId),
  );
  const chunks = begunChunks(action, items, targets);
  const queued = items.filter((item) => item.state === "queued");
  const wanted = targetOf(action);
  const target = wanted === undefined ? undefined : await findTargetFolder(db, work.mailbox.id, wanted);
  if (wanted !== undefined && target === undefined) {
    const problem = "role" in wanted ? missingRole(wanted.role) : problemOf("not_found", "Name a folder that the mailbox has.");
    await recordOutcomes(
      db,
      id,
      queued.map(({ messageId }) => ({ messageId, state: "refused", problem, isStep: false })),
    );
  } else {
    const plan = planSteps(action, queued, targets, target?.id);
    await recordOutcomes(db, id, plan.settled);
    chunks.push(...plan.chunks);
    if (chunks.length === 0 && plan.waiting > 0) {
      await work.deps.signals.wakeMailbox(work.mailbox.id, []);
      throw new MailError("unavailable", { doing: "changing messages whose folders are being listed" });
    }
  }
  for (const chunk of chunks) await runChunk(work, id, action, chunk);
}

function missingRole(role: string): Problem {
  return problemOf(
    "folder_role_missing",
    `Create a folder for the role "${role}" and give it that role with roleOverrides, or name a folder by path or id.`,
  );
}

/** Messages of one folder that go through one command. */
interface Chunk {
  readonly folderId: FolderId;
  /** Null until the target was looked at. */
  readonly target: { readonly folderId: FolderId; readonly mark: WriteMark | null } | null;
  readonly isRepeat: boolean;
  readonly entries: readonly Entry[];
}

interface Entry {
  readonly item: PendingItem;
  readonly message: WriteRef;
  /** Nothing is left to do about the message after this. */
  readonly isLast: boolean;
}

/** What an attempt that died had under way, grouped as it was asked of the server. */
function begunChunks(action: MessageAction, items: readonly PendingItem[], targets: ReadonlyMap<string, Target>): Chunk[] {
  const begun = items.flatMap((item) => (item.state === "begun" && item.step !== null ? [{ item, step: item.step }] : []));
  const groups = Map.groupBy(begun, ({ step }) => `${step.folderId} ${JSON.stringify(step.target)}`);
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const entries = group.map(({ item, step }) => toEntry(action, item, step.ref, targets.get(item.messageId)));
    return [{ folderId: first.step.folderId, target: first.step.target, isRepeat: true, entries }];
  });
}

function planSteps(action: MessageAction, items: readonly PendingItem[], targets: ReadonlyMap<string, Target>, targetId: FolderId | undefined) {
  const settled: ItemOutcome[] = [];
  const byFolder = new Map<FolderId, Entry[]>();
  let waiting = 0;
  for (const item of items) {
    const known = targets.get(item.messageId);
    const step = nextStep(action, known?.places ?? [], targetId, item.stepsDone);
    if (step.kind === "not_found" && known?.isOnItsWay === true) waiting += 1;
    else if (step.kind !== "act") settled.push({ messageId: item.messageId, state: step.kind, problem: null, isStep: false });
    else byFolder.set(step.place.folderId, [...(byFolder.get(step.place.folderId) ?? []), toEntry(action, item, step.place.ref, known)]);
  }
  const target = targetId === undefined ? null : { folderId: targetId, mark: null };
  const chunks = [...byFolder].flatMap(([folderId, entries]) =>
    Array.from({ length: Math.ceil(entries.length / chunkSize) }, (_, index): Chunk => {
      return { folderId, target, isRepeat: false, entries: entries.slice(index * chunkSize, (index + 1) * chunkSize) };
    }),
  );
  return { settled, chunks, waiting };
}

function toEntry(action: MessageAction, item: PendingItem, ref: string, known: Target | undefined): Entry {
  return {
    item,
    message: {
      ref,
      messageId: known?.messageId ?? null,
      sizeBytes: known?.sizeBytes ?? 0,
      receivedAt: known?.receivedAt.toISOString() ?? "",
    },
    isLast: action.type === "move" || action.type === "copy" || (item.state === "queued" && known?.places.length === 1),
  };
}

/** Notes what is begun, asks the server, and writes down what it did in the same transaction as the end of the items. */
async function runChunk(work: Work, actionId: PendingAction["id"], action: MessageAction, chunk: Chunk): Promise<void> {
  const { deps, mailbox } = work;
  const folders = await findFolders(deps.db, mailbox.id, [chunk.folderId, ...(chunk.target === null ? [] : [chunk.target.folderId])]);
  const results = await attempt(work, actionId, action, chunk, folders);
  const written: Written[] = [];
  const outcomes: ItemOutcome[] = [];
  for (const { item, message, isLast } of chunk.entries) {
    const result = results.get(message.ref) ?? { state: "not_found" };
    outcomes.push(outcomeOf(action, item, isLast, chunk.isRepeat, result));
    if (result.state === "done" || isGone(action, chunk.isRepeat, result)) written.push(writtenOf(action, chunk.folderId, item, message, result));
  }
  const told = await deps.db.transaction().execute(async (trx) => {
    await storeWritten(trx, { customerId: mailbox.customerId, mailboxId: mailbox.id }, written, chunk.target?.folderId ?? null);
    await recordOutcomes(trx, actionId, outcomes);
    return written.length === 0 ? 0 : settleAll(trx, mailbox);
  });
  if (told > 0) await deps.relays.wake(mailbox.customerId);
  if (await isBehind(work, written, outcomes))
    await deps.signals.wakeMailbox(
      mailbox.id,
      [...folders.values()].map(({ path }) => path),
    );
}

/** Judges what changed: whoever sees that a change is done sees the message as it is now, and its event. */
async function settleAll(trx: Database, mailbox: WorkMailbox): Promise<number> {
  const teller = { mailboxId: mailbox.id, customerId: mailbox.customerId, account: mailbox.account, self: mailbox.self };
  for (let told = 0; ; ) {
    const judged = await settleBatch(trx, teller);
    told += judged.told;
    if (!judged.more) return told;
  }
}

/** The server knows more than it said: what is gone, and where messages went, is for the next look to find. */
async function isBehind({ deps }: Work, written: readonly Written[], outcomes: readonly ItemOutcome[]): Promise<boolean> {
  if (outcomes.some(({ state }) => state === "not_found") || written.some(({ newRef }) => newRef === null)) return true;
  return hasMissing(
    deps.db,
    written.map(({ messageId }) => messageId),
  );
}

type Result = WriteResult<{ readonly flags?: Flags; readonly ref?: string | null }>;

async function attempt(
  work: Work,
  actionId: PendingAction["id"],
  action: MessageAction,
  chunk: Chunk,
  folders: ReadonlyMap<FolderId, WritableFolder>,
): Promise<ReadonlyMap<string, Result>> {
  const { deps, provider, signal } = work;
  const source = folders.get(chunk.folderId);
  const target = chunk.target === null ? undefined : folders.get(chunk.target.folderId);
  // The folder went while the request waited, and what lay in it with it.
  if (source === undefined || (chunk.target !== null && target === undefined)) return new Map();
  if (source.cursor === null) throw new MailError("unavailable", { doing: "changing messages of a folder that is about to be listed" });
  try {
    const mark = target === undefined ? null : (chunk.target?.mark ?? (await provider.markFolder(target.path, signal)));
    const toBegin = target === undefined || mark === null ? null : { folderId: target.id, mark };
    const begun = await beginSteps(
      deps.db,
      actionId,
      chunk.entries.map(({ item, message }) => ({ messageId: item.messageId, step: { folderId: source.id, ref: message.ref, target: toBegin } })),
    );
    const scope = { path: source.path, cursor: source.cursor };
    const messages = chunk.entries.flatMap(({ item, message }) => (begun.has(item.messageId) ? [message] : []));
    const refs = messages.map(({ ref }) => ref);
    if (refs.length === 0) return new Map();
    if (action.type === "setFlags") return await provider.setFlags(scope, refs, action, signal);
    if (target === undefined || mark === null) return await provider.remove(scope, refs, signal);
    const to = { path: target.path, mark, isRepeat: chunk.isRepeat };
    return action.type === "copy" ? await provider.copy(scope, messages, to, signal) : await provider.move(scope, messages, to, signal);
  } catch (error) {
    if (!(error instanceof MailError) || !itemFailures.has(error.code)) throw error;
    return new Map(chunk.entries.map(({ message }) => [message.ref, { state: "refused", error }]));
  }
}

function outcomeOf(action: MessageAction, item: PendingItem, isLast: boolean, isRepeat: boolean, result: Result): ItemOutcome {
  const { messageId } = item;
  if (result.state === "refused") return { messageId, state: "refused", problem: toProblem(result.error, new Date().toISOString()), isStep: false };
  if (result.state === "done" || isGone(action, isRepeat, result))
    return { messageId, state: isLast ? "done" : "queued", problem: null, isStep: true };
  return { messageId, state: item.stepsDone > 0 ? "done" : "not_found", problem: null, isStep: false };
}

/** What was to be deleted for good and is not there after an attempt that broke off was deleted by it, or by somebody else. */
function isGone(action: MessageAction, isRepeat: boolean, result: Result): boolean {
  return result.state === "not_found" && isRepeat && action.type === "delete" && action.permanent;
}

function writtenOf(action: MessageAction, folderId: FolderId, item: PendingItem, message: WriteRef, result: Result): Written {
  const place = { folderId, ref: message.ref, messageId: item.messageId };
  if (result.state !== "done") return { ...place, hasLeft: true };
  if (action.type === "setFlags") return { ...place, ...(result.flags === undefined ? {} : { flags: result.flags }) };
  return { ...place, hasLeft: action.type !== "copy", newRef: result.ref ?? null };
}
