import { type AccessKeyRow, findLiveAccessKey, touchAccessKey } from "../db/access-keys.ts";
import { recordAudit } from "../db/audit-log.ts";
import { findCustomer } from "../db/customers.ts";
import type { Connection, Database } from "../db/database.ts";
import type { Scope } from "../db/scope.ts";
import { type KeyRole, type KeyScope, keyScopes } from "../domain/access.ts";
import { type AccessKeyId, type CustomerId, isId, type MailboxId } from "../domain/ids.ts";
import { ApiError, invalid, notFound } from "./errors.ts";

/**
 * Who may call:
 * - `public`: everybody;
 * - `role`: administrators, acting for no customer;
 * - `scope`: keys with this scope, for one customer. Keys that are bound to a mailbox are refused unless `openToMailboxKeys`, because only the
 *   author knows whether the operation stays within one mailbox. With `customer: "optional"` an administrator may act for nobody in particular.
 */
export type Auth =
  | { readonly public: true }
  | { readonly role: "administrator" }
  | { readonly scope: KeyScope | null; readonly openToMailboxKeys?: boolean; readonly customer?: "required" }
  | { readonly scope: KeyScope | null; readonly openToMailboxKeys?: boolean; readonly customer: "optional" };

/** Whoever sent the request, by the access key. */
export interface Caller {
  readonly keyId: AccessKeyId;
  readonly name: string;
  readonly role: KeyRole;
  readonly scopes: readonly KeyScope[];
  /** The key's own customer; null for administrators. */
  readonly customerId: CustomerId | null;
  readonly mailboxId: MailboxId | null;
  readonly expiresAt: Date | null;
}

export type AuditNote = (
  db: Connection,
  entry: {
    readonly action: string;
    readonly target: string;
    readonly mailboxId?: MailboxId | null;
    readonly details?: Readonly<Record<string, unknown>>;
    /** Only where it is not the customer that the request is for. */
    readonly customerId?: CustomerId | null;
  },
) => Promise<void>;

/** The caller behind an Authorization header; throws `unauthorized`, and never says which of missing, unknown, expired and revoked it was. */
export async function authenticate(db: Database, authorization: string | undefined, now: number): Promise<Caller> {
  const key = /^Bearer +([\w]+)$/i.exec(authorization ?? "")?.[1];
  const row = key === undefined ? undefined : await findLiveAccessKey(db, key);
  if (row === undefined) throw new ApiError("unauthorized", { headers: { "WWW-Authenticate": 'Bearer realm="everpost"' } });
  await touchAccessKey(db, row, now);
  return toCaller(row);
}

function toCaller(row: AccessKeyRow): Caller {
  return {
    keyId: row.id,
    name: row.name,
    role: row.role,
    scopes: row.role === "administrator" ? keyScopes : keyScopes.filter((scope) => row.scopes.includes(scope)),
    customerId: row.customer_id,
    mailboxId: row.mailbox_id,
    expiresAt: row.expires_at,
  };
}

/** Whose things this request may touch, or an error if the caller may not do it at all; undefined where it is for no customer in particular. */
export async function authorise(db: Database, caller: Caller, auth: Auth, customerHeader: string | undefined): Promise<Scope | undefined> {
  if ("public" in auth) return undefined;
  if ("role" in auth) {
    if (caller.role !== "administrator") throw new ApiError("administrator_only");
    return undefined;
  }
  if (auth.scope !== null && !caller.scopes.includes(auth.scope)) {
    throw new ApiError("forbidden_scope", { detail: `This operation needs the scope ${auth.scope}.` });
  }
  if (caller.mailboxId !== null && auth.openToMailboxKeys !== true) throw new ApiError("mailbox_key_refused");
  const customerId = await customerFor(db, caller, customerHeader);
  if (customerId !== undefined) return { customerId, mailboxId: caller.mailboxId };
  if (auth.customer === "optional") return undefined;
  throw new ApiError("customer_required", {
    detail: "The header Everpost-Customer is missing.",
    errors: [{ in: "header", pointer: "#/Everpost-Customer", detail: "is required for administrators" }],
  });
}

/** A customer's key acts for its customer whatever the header says; it may not even learn that another one exists. */
async function customerFor(db: Database, caller: Caller, header: string | undefined): Promise<CustomerId | undefined> {
  if (header === undefined) return caller.customerId ?? undefined;
  if (!isId("customer", header)) throw invalid({ in: "header", pointer: "#/Everpost-Customer", detail: "an id that begins with cus_" });
  if (caller.customerId !== null) {
    if (caller.customerId !== header) throw notFound("customer");
    return header;
  }
  if ((await findCustomer(db, header)) === undefined) throw notFound("customer");
  return header;
}

/** Notes changes in the name of the caller, for this request. */
export function auditNote(caller: Caller, scope: Scope | undefined, requestId: string): AuditNote {
  return async (db, { action, target, mailboxId = null, details, customerId = scope?.customerId ?? null }) =>
    recordAudit(db, { customerId, mailboxId, actor: caller.keyId, action, target, details, requestId });
}
