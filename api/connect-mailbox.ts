import { isDeepStrictEqual } from "node:util";
import { derivedId, newId } from "../db/ids.ts";
import { findMailbox, findMailboxByExternalId, insertMailbox, type MailboxRow, readCredentials } from "../db/mailboxes.ts";
import type { ScopedConnection } from "../db/scope.ts";
import { inTransaction } from "../db/transaction.ts";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { AuditNote } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";
import type { WantedMailbox } from "./mailbox-body.ts";

export interface ConnectRequest {
  readonly deps: ApiDeps;
  readonly db: ScopedConnection;
  readonly customerId: CustomerId;
  readonly idempotencyKey: string | undefined;
  readonly audit: AuditNote;
}

/**
 * Stores the mailbox, then starts its workflow; both are durable when this returns. When the start fails, or this process dies before it could answer, the
 * row stays, and the same request again finds it (by the id that its Idempotency-Key gives, or by its external id) and goes on from there, so that a retry
 * never makes a second mailbox, however far the first one has come meanwhile.
 */
export async function connectMailbox(request: ConnectRequest, wanted: WantedMailbox): Promise<MailboxId> {
  const id = await storeMailbox(request, wanted);
  await request.deps.commands.connect({ id, customerId: request.customerId, provider: wanted.provider });
  return id;
}

async function storeMailbox(request: ConnectRequest, wanted: WantedMailbox): Promise<MailboxId> {
  const { db, customerId, idempotencyKey } = request;
  const id = idempotencyKey === undefined ? newId("mailbox") : derivedId("mailbox", customerId, idempotencyKey);
  if (await insert(request, id, wanted)) return id;

  const namesake = wanted.externalId === null ? undefined : await findMailboxByExternalId(db, wanted.externalId);
  if (namesake !== undefined) {
    if (await isSame(request, namesake, { id, wanted })) return resume(request, namesake.id);
    throw new ApiError("conflict", { detail: `The externalId belongs to mailbox ${namesake.id}.` });
  }
  const earlier = await findMailbox(db, id);
  if (earlier !== undefined && (await isSame(request, earlier, { id, wanted }))) return resume(request, id);
  // The Idempotency-Key made another mailbox more than a day ago, and stands for a new request now.
  const fresh = newId("mailbox");
  if (await insert(request, fresh, wanted)) return fresh;
  throw new ApiError("conflict", { detail: "The externalId was taken by another request at the same moment." });
}

async function insert({ deps, db, customerId, audit }: ConnectRequest, id: MailboxId, wanted: WantedMailbox): Promise<boolean> {
  const { credentials, ...mailbox } = wanted;
  return inTransaction(db, async (trx) => {
    const isNew = await insertMailbox(trx, deps.config.keyRing, { ...mailbox, id, customerId }, credentials);
    if (isNew) {
      const { provider, email, externalId } = wanted;
      await audit(trx, { action: "mailbox.created", target: id, mailboxId: id, details: { provider, email, externalId } });
    }
    return isNew;
  });
}

/** A row whose workflow could not be started before: nothing to store, only to note that it is tried again. */
async function resume({ db, audit }: ConnectRequest, id: MailboxId): Promise<MailboxId> {
  await audit(db, { action: "mailbox.connect_retried", target: id, mailboxId: id });
  return id;
}

/** How long an Idempotency-Key stands for its request: answers are kept for as long. */
const keyLivesMs = 24 * 3_600_000;

/**
 * Whether this is the row of the same request: one whose workflow may never have been started, or one whose id its Idempotency-Key gave today, in an
 * attempt that died before it could answer.
 */
async function isSame(
  { deps, db }: ConnectRequest,
  row: MailboxRow,
  { id, wanted }: { readonly id: MailboxId; readonly wanted: WantedMailbox },
): Promise<boolean> {
  const isUnfinished = row.status === "configured" && row.last_attempt_at === null;
  const isOwn = row.id === id && row.created_at.getTime() > Date.now() - keyLivesMs;
  if (!isUnfinished && !isOwn) return false;
  if (row.provider !== wanted.provider || row.email !== wanted.email || row.external_id !== wanted.externalId) return false;
  const credentials = await readCredentials(db, deps.config.keyRing, row.id);
  return isDeepStrictEqual(asJson([row.settings, credentials]), asJson([wanted.settings, wanted.credentials]));
}

function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
