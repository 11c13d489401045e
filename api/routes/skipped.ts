import { z } from "zod";
import { findMailbox, type MailboxRow } from "../../db/mailboxes.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { hastenSkipped, listSkipped } from "../../db/skipped.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { notFound } from "../errors.ts";
import { route } from "../route.ts";
import { idParams, idSchema, instantOut } from "../schemas.ts";

const skippedSchema = z
  .strictObject({
    folderId: idSchema("folder"),
    path: z.string(),
    ref: z.string().describe("The provider's name for the message within the folder: for IMAP its UID."),
    code: z.enum(Object.keys(catalogue) as [MailErrorCode, ...MailErrorCode[]]),
    title: z.string(),
    fix: z.string(),
    reason: z.string().nullable().describe("The server's or the database's own words, if they quote no content."),
    attempts: z.int(),
    firstAttemptAt: instantOut,
    lastAttemptAt: instantOut,
    nextAttemptAt: instantOut.describe("When it is tried again by itself, if its folder can be read by then."),
  })
  .meta({
    id: "SkippedMessage",
    description: "A message that could not be fetched or stored. All others go on; it is tried again, after five minutes first, once a day at last.",
  });

export const skippedRoutes = [
  route(
    {
      method: "get",
      path: "/v1/mailboxes/{id}/skipped",
      operationId: "listSkippedMessages",
      summary: "List messages that could not be read",
      description:
        "A thousand at most, oldest first. Each is tried again by itself, with growing pauses; one that can be read then is stored, and told as it would " +
        "have been, and is no longer listed here. See also `skipped` of each folder.",
      tags: ["Mailboxes"],
      auth: { scope: "mailboxes:read", openToMailboxKeys: true },
      params: idParams("mailbox"),
      response: z.strictObject({ data: z.array(skippedSchema), nextCursor: z.null().describe("There is one page only.") }),
    },
    async ({ params, db }) => {
      await getMailbox(db, params.id);
      return { data: (await listSkipped(db, params.id)).map(toBody), nextCursor: null };
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/mailboxes/{id}/skipped/retry",
      operationId: "retrySkippedMessages",
      summary: "Try messages again that could not be read",
      description: "Has the mailbox looked at now, and all its skipped messages tried, without waiting for their next attempt.",
      tags: ["Mailboxes"],
      auth: { scope: "mailboxes:write", openToMailboxKeys: true },
      params: idParams("mailbox"),
      response: z.strictObject({
        messages: z.int().describe("How many are tried. What is still listed afterwards could not be read this time either."),
      }),
      problems: ["conflict"],
    },
    async ({ params, deps, db, audit }) => {
      const row = await getMailbox(db, params.id);
      const messages = await hastenSkipped(db, row.id);
      if (messages > 0) await deps.commands.command({ id: row.id, customerId: row.customer_id, provider: row.provider }, "sync");
      await audit(db, { action: "mailbox.skipped_retried", target: row.id, mailboxId: row.id, details: { messages } });
      return { messages };
    },
  ),
];

async function getMailbox(db: ScopedConnection, id: MailboxId): Promise<MailboxRow> {
  const row = await findMailbox(db, id);
  if (row === undefined) throw notFound("mailbox");
  return row;
}

function toBody(row: Awaited<ReturnType<typeof listSkipped>>[number]): z.input<typeof skippedSchema> {
  const { title, fix } = catalogue[row.code];
  return {
    folderId: row.folder_id,
    path: row.path,
    ref: row.ref,
    code: row.code,
    title,
    fix,
    reason: row.reason,
    attempts: row.attempts,
    firstAttemptAt: row.created_at.toISOString(),
    lastAttemptAt: row.updated_at.toISOString(),
    nextAttemptAt: row.next_attempt_at.toISOString(),
  };
}
