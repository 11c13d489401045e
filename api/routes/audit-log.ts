import { z } from "zod";
import { type AuditRow, listAudit } from "../../db/audit-log.ts";
import { route } from "../route.ts";
import { idSchema, instantOut, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const auditEntrySchema = z
  .strictObject({
    id: idSchema("auditEntry"),
    customerId: idSchema("customer").nullable(),
    mailboxId: idSchema("mailbox").nullable(),
    actor: z.string().describe("The id of the access key that did it, or `system`."),
    action: z.string(),
    target: z.string(),
    details: z.record(z.string(), z.unknown()),
    requestId: z.string().nullable(),
    createdAt: instantOut,
  })
  .meta({ id: "AuditEntry" });

export const auditRoutes = [
  route(
    {
      method: "get",
      path: "/v1/audit-log",
      operationId: "listAuditLog",
      summary: "List what was changed, by whom",
      description: "Newest first. An administrator who acts for no customer sees everybody's.",
      tags: ["Audit log"],
      auth: { scope: "audit:read", openToMailboxKeys: true, customer: "optional" },
      query: z.strictObject({
        ...pageQuery,
        action: z.string().max(100).optional().describe("Such as `mailbox.created`."),
        target: z.string().max(100).optional().describe("The id of what was changed."),
        actor: z.string().max(100).optional(),
      }),
      response: pageOf(auditEntrySchema),
    },
    async ({ query, db, deps }) => toPageBody("audit-log", await listAudit(db ?? deps.db, query, toPageRequest("audit-log", query)), toBody),
  ),
];

function toBody(row: AuditRow): z.input<typeof auditEntrySchema> {
  return {
    id: row.id as z.input<typeof auditEntrySchema>["id"],
    customerId: row.customer_id,
    mailboxId: row.mailbox_id,
    actor: row.actor,
    action: row.action,
    target: row.target,
    details: row.details,
    requestId: row.request_id,
    createdAt: row.created_at.toISOString(),
  };
}
