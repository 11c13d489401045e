import { z } from "zod";
import { summariseContact } from "../../db/contacts.ts";
import { listMessages, readMessage } from "../../db/messages.ts";
import type { ToldMessage } from "../../domain/events.ts";
import { directions } from "../../domain/message.ts";
import { contactSchema, messageFilters, readMessageQuery } from "../message-query.ts";
import { addressesSchema, addressSchema } from "../message-schema.ts";
import { route } from "../route.ts";
import { idSchema, instantOut, pageOf, pageQuery, toPageBody } from "../schemas.ts";

const contactMessageSchema = z
  .strictObject({
    id: idSchema("message"),
    threadId: idSchema("thread"),
    mailboxId: idSchema("mailbox"),
    account: z.string().nullable().describe("The mailbox's `externalId`."),
    direction: z.enum(directions),
    from: addressSchema.nullable(),
    to: addressesSchema.describe("The first ten."),
    subject: z.string(),
    snippet: z.string().nullable(),
    receivedAt: instantOut,
    isUnread: z.boolean(),
    attachments: z.int().describe("How many a person would see."),
  })
  .meta({ id: "ContactMessage" });

const historySchema = pageOf(contactMessageSchema)
  .extend({
    summary: z
      .strictObject({
        messages: z.int(),
        incoming: z.int(),
        outgoing: z.int(),
        threads: z.int(),
        firstAt: instantOut.nullable(),
        lastAt: instantOut.nullable(),
        isComplete: z.boolean().describe("False where only the newest 1,000 messages were counted."),
      })
      .optional()
      .describe("With `summary=true`: figures over all pages."),
  })
  .meta({ id: "ContactHistory" });

export const contactRoutes = [
  route(
    {
      method: "get",
      path: "/v1/contacts/{address}/messages",
      operationId: "listContactMessages",
      summary: "Read what was written with somebody",
      description:
        "Messages that name the address as sender or recipient, across all mailboxes, in brief: what to read before writing. An address that no message " +
        "names has none. A page may hold fewer than `limit` while `nextCursor` is not null.",
      tags: ["Contacts"],
      auth: { scope: "messages:read", openToMailboxKeys: true },
      params: z.strictObject({ address: contactSchema }),
      query: z.strictObject({ ...pageQuery, ...messageFilters, summary: z.enum(["true", "false"]).default("false") }),
      response: historySchema,
    },
    async ({ params, query, db, scope }) => {
      const { summary, ...rest } = query;
      const contact = params.address;
      const { filter, request, listing } = readMessageQuery(scope, { ...rest, contact });
      const page = toPageBody(listing, await listMessages(db, scope, filter, request), (row) => inBrief(readMessage(row)));
      return summary === "true" ? { ...page, summary: await figures(db, scope, { ...filter, contact }) } : page;
    },
  ),
];

async function figures(...about: Parameters<typeof summariseContact>) {
  const { firstAt, lastAt, ...counts } = await summariseContact(...about);
  return { ...counts, firstAt: firstAt?.toISOString() ?? null, lastAt: lastAt?.toISOString() ?? null };
}

function inBrief(message: ToldMessage): z.input<typeof contactMessageSchema> {
  const { id, threadId, mailboxId, account, direction, from, to, subject, snippet, receivedAt, flags, attachments } = message;
  return {
    ...{ id, threadId, mailboxId, account, direction, subject, snippet, receivedAt },
    from: from[0] ?? null,
    to: to.slice(0, 10),
    isUnread: !flags.includes("seen"),
    attachments: attachments.filter((attachment) => !attachment.isInline).length,
  };
}
