import { newId } from "../db/ids.ts";
import { findMailbox, type MailboxRow, toFacts } from "../db/mailboxes.ts";
import { findMessageAction, insertMessageAction, mailboxesOf, refuseUntouched, type StoredAction } from "../db/message-actions.ts";
import type { Scope, ScopedConnection } from "../db/scope.ts";
import { inTransaction } from "../db/transaction.ts";
import { type Problem, toProblem } from "../domain/errors.ts";
import type { MailboxId, MessageActionId, MessageId } from "../domain/ids.ts";
import { describeMailbox } from "../domain/mailbox.ts";
import type { MessageAction } from "../domain/message-action.ts";
import type { AuditNote } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";

export interface Acting {
  readonly deps: ApiDeps;
  readonly db: ScopedConnection;
  readonly scope: Scope;
  readonly audit: AuditNote;
}

export interface WantedActions {
  readonly ids: readonly MessageId[];
  /** Carried out one after the other. */
  readonly actions: readonly MessageAction[];
  readonly whenAway: "refuse" | "queue";
  /** Called with what was stored, in the transaction that stores it. */
  readonly onStored?: (trx: ScopedConnection, stored: readonly StoredAction[]) => Promise<unknown>;
}

/**
 * Stores what is asked for, has it carried out, and waits for the results for as long as a request may. What is stored is not lost: it goes on without the
 * request. In mailboxes that are away nothing is begun.
 */
export async function actOnMessages(
  { deps, db, scope, audit }: Acting,
  { ids, actions, whenAway, onStored }: WantedActions,
): Promise<readonly StoredAction[]> {
  const mailboxOf = await mailboxesOf(db, ids);
  const mailboxes = await findMailboxes(db, [...new Set(mailboxOf.values())]);
  const away = new Map([...mailboxes].flatMap(([id, row]) => [[id, awayProblem(deps, row)] as const]));
  const requests = actions.map((action) => ({ id: newId("messageAction"), action }));
  const items = ids.map((messageId) => {
    const mailboxId = mailboxOf.get(messageId);
    if (mailboxId === undefined) return { messageId, mailboxId: scope.mailboxId, state: "not_found" as const, problem: null };
    const problem = away.get(mailboxId);
    if (problem !== undefined && whenAway === "refuse") return { messageId, mailboxId, state: "refused" as const, problem };
    return { messageId, mailboxId, state: "queued" as const, problem: null };
  });
  const [only] = mailboxes.keys();
  const mailboxId = scope.mailboxId ?? (mailboxes.size === 1 && mailboxOf.size === ids.length ? (only ?? null) : null);
  await inTransaction(db, async (trx) => {
    for (const { id, action } of requests) {
      await insertMessageAction(trx, { id, customerId: scope.customerId, mailboxId, action, whenAway }, items);
      await audit(trx, { action: `messages.${action.type}`, target: id, mailboxId, details: { messages: ids.length } });
    }
    if (onStored !== undefined) await onStored(trx, await getActions(trx, requests));
  });
  const present = [...mailboxes.values()].filter((row): row is MailboxRow => row !== undefined && away.get(row.id) === undefined);
  if (present.length > 0)
    await carryOut(
      deps,
      present,
      requests.map(({ id }) => id),
    );
  return getActions(db, requests);
}

function getActions(db: ScopedConnection, requests: readonly { readonly id: MessageActionId }[]): Promise<readonly StoredAction[]> {
  return Promise.all(requests.map(({ id }) => getAction(db, id)));
}

async function findMailboxes(db: ScopedConnection, ids: readonly MailboxId[]): Promise<ReadonlyMap<MailboxId, MailboxRow | undefined>> {
  return new Map(await Promise.all(ids.map(async (id) => [id, await findMailbox(db, id)] as const)));
}

/** Why a mailbox cannot be written to now, as it is judged now; undefined if it can. */
export function awayProblem({ config }: ApiDeps, row: MailboxRow | undefined): Problem | undefined {
  const at = new Date().toISOString();
  if (row === undefined) return toProblem({ code: "mailbox_not_connected" }, at);
  if (row.is_paused) return toProblem({ code: "mailbox_paused" }, at);
  const { status, problem } = describeMailbox(toFacts(row, config.sync.pollFloorMs), Date.now());
  return status === "connected" ? undefined : (problem ?? toProblem({ code: "mailbox_not_connected" }, at));
}

/** If nobody takes it up, what was to be refused in that case is; the rest waits for whoever comes. */
async function carryOut(deps: ApiDeps, mailboxes: readonly MailboxRow[], requests: readonly MessageActionId[]): Promise<void> {
  try {
    await deps.commands.carryOutActions(mailboxes.map((row) => ({ id: row.id, customerId: row.customer_id, provider: row.provider })));
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "service_unavailable") throw error;
    const problem = toProblem({ code: "sync_stalled", fix: error.detail }, new Date().toISOString());
    for (const id of requests) await refuseUntouched(deps.db, id, problem);
  }
}

async function getAction(db: ScopedConnection, id: MessageActionId): Promise<StoredAction> {
  const found = await findMessageAction(db, id);
  if (found === undefined) throw new Error(`${id} was stored a moment ago and is gone`);
  return found;
}
