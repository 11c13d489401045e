import { z } from "zod";
import { listMessages, readMessage } from "../../db/messages.ts";
import { findThread, listThreads, type ShownThread, threadIdsOf } from "../../db/thread-listing.ts";
import { folderRoles } from "../../domain/folder.ts";
import { notFound } from "../errors.ts";
import { contactSchema, messageQuery, readMessageFilter } from "../message-query.ts";
import { addressesSchema, messageSchema, toMessageBody } from "../message-schema.ts";
import { route } from "../route.ts";
import { idParams, idSchema, instantOut, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const threadSchema = z
  .strictObject({
    id: idSchema("thread"),
    mailboxId: idSchema("mailbox"),
    account: z.string().nullable().describe("The mailbox's `externalId`."),
    subject: z.string().describe("Of its first message."),
    snippet: z.string().nullable().describe("Of its newest message."),
    participants: addressesSchema.describe("Who is named in its newest messages, writers first."),
    messageCount: z.int(),
    unreadCount: z.int(),
    isFlagged: z.boolean().describe("A message of it is."),
    hasAttachment: z.boolean().describe("Attachments that a person would see as such; pictures within the text do not count."),
    roles: z.array(z.enum(folderRoles)).describe("The roles of its messages."),
    firstMessageAt: instantOut,
    lastMessageAt: instantOut,
  })
  .meta({ id: "Thread" });

const threadWithMessagesSchema = threadSchema.extend({ messages: pageOf(messageSchema) }).meta({ id: "ThreadWithMessages" });

const threadQuery = messageQuery
  .omit({ threadId: true, sort: true, contact: true })
  .extend({ participant: contactSchema.optional().describe("An address that one of its messages names, as sender or recipient.") });

const tags = ["Threads"];
const auth = { scope: "messages:read", openToMailboxKeys: true } as const;

export const threadRoutes = [
  route(
    {
      method: "get",
      path: "/v1/threads",
      operationId: "listThreads",
      summary: "List threads",
      description:
        "By their newest message, newest first. Filters choose threads of which one message has all that is asked for; such threads are in the order " +
        "of the newest message that has it. A page may hold fewer than `limit`, even none, while `nextCursor` is not null.",
      tags,
      auth,
      query: threadQuery,
      response: pageOf(threadSchema),
    },
    async ({ query: { participant: contact, ...query }, db, scope }) => {
      const filter = readMessageFilter(scope, { ...query, contact });
      return toPageBody("threads", await listThreads(db, scope, filter, toPageRequest("threads", query)), toThreadBody);
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/threads/{id}",
      operationId: "getThread",
      summary: "Get a thread and its messages",
      description:
        "A thread that proved to be part of another (`thread.merged`) is answered with that one: `id` says which it is. The messages come by page, as in " +
        "a listing.",
      tags,
      auth,
      params: idParams("thread"),
      query: z.strictObject({ ...pageQuery, sort: messageQuery.shape.sort }),
      response: threadWithMessagesSchema,
    },
    async ({ params, query: { sort: order, ...query }, db, scope }) => {
      const thread = await findThread(db, params.id);
      if (thread === undefined) throw notFound("thread");
      const listing = `thread.${order}`;
      const filter = { threadIds: await threadIdsOf(db, thread.id) };
      const page = await listMessages(db, scope, filter, { ...toPageRequest(listing, query), order });
      return { ...toThreadBody(thread), messages: toPageBody(listing, page, (row) => toMessageBody(readMessage(row))) };
    },
  ),
];

/** The same value: the schema's arrays only are not read-only. */
function toThreadBody(thread: ShownThread): z.input<typeof threadSchema> {
  return thread as z.input<typeof threadSchema>;
}
