import type { Selectable } from "kysely";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { newId } from "./ids.ts";
import { isBehind, type Page, type PageRequest, pageInstant, toPage } from "./pages.ts";
import type { AuditLogTable } from "./schema.ts";

export type AuditRow = Selectable<AuditLogTable>;

export interface AuditEntry {
  readonly customerId: CustomerId | null;
  readonly mailboxId: MailboxId | null;
  /** Who did it: the id of an access key, or `system`. */
  readonly actor: string;
  /** What was done, as `thing.verb`: `mailbox.created`. */
  readonly action: string;
  /** The id of what it was done to. */
  readonly target: string;
  /** What helps to understand it later. Never a secret, never content. */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly requestId: string | null;
}

/** Notes a change, in the transaction that makes it. Nothing ever changes or removes what was noted. */
export async function recordAudit(db: Connection, entry: AuditEntry): Promise<void> {
  await db
    .insertInto("audit_log")
    .values({
      id: newId("auditEntry"),
      customer_id: entry.customerId,
      mailbox_id: entry.mailboxId,
      actor: entry.actor,
      action: entry.action,
      target: entry.target,
      details: JSON.stringify(entry.details ?? {}),
      request_id: entry.requestId,
    })
    .execute();
}

export interface AuditFilter {
  readonly action?: string | undefined;
  readonly target?: string | undefined;
  readonly actor?: string | undefined;
}

/** Newest first. Whose entries is the connection's scope; without one, everybody's. */
export async function listAudit(db: Connection, filter: AuditFilter, { limit, after }: PageRequest): Promise<Page<AuditRow>> {
  let query = db.selectFrom("audit_log").selectAll().select(pageInstant("created_at").as("page_at"));
  if (filter.action !== undefined) query = query.where("action", "=", filter.action);
  if (filter.target !== undefined) query = query.where("target", "=", filter.target);
  if (filter.actor !== undefined) query = query.where("actor", "=", filter.actor);
  if (after !== undefined) query = query.where(isBehind("created_at", "id", after));
  const rows = await query
    .orderBy("created_at", "desc")
    .orderBy("id")
    .limit(limit + 1)
    .execute();
  return toPage(rows, limit);
}
