import { z } from "zod";
import { findMessageTexts } from "../../db/message-texts.ts";
import { findMessage, listMessages, readMessage } from "../../db/messages.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { folderRoles } from "../../domain/folder.ts";
import type { MessageId } from "../../domain/ids.ts";
import { directions } from "../../domain/message.ts";
import type { ApiDeps } from "../deps.ts";
import { notFound } from "../errors.ts";
import { messageSchema, messageWithTextSchema, toMessageBody } from "../message-schema.ts";
import { route } from "../route.ts";
import { idParams, idSchema, instantSchema, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const tags = ["Messages"];
const auth = { scope: "messages:read", openToMailboxKeys: true } as const;

export const messageRoutes = [
  route(
    {
      method: "get",
      path: "/v1/messages",
      operationId: "listMessages",
      summary: "List messages",
      description: "By the time the server took them in, newest first. Filters add up.",
      tags,
      auth,
      query: z.strictObject({
        ...pageQuery,
        mailboxId: idSchema("mailbox").optional(),
        folderId: idSchema("folder").optional().describe("Messages that lie in this folder, among others or not."),
        role: z.enum(folderRoles).optional().describe("The message's role over all of its folders."),
        threadId: idSchema("thread").optional(),
        direction: z.enum(directions).optional(),
        receivedFrom: instantSchema.optional().describe("At this instant or later."),
        receivedBefore: instantSchema.optional(),
      }),
      response: pageOf(messageSchema),
    },
    async ({ query, db }) =>
      toPageBody("messages", await listMessages(db, query, toPageRequest("messages", query)), (row) => toMessageBody(readMessage(row))),
  ),

  route(
    {
      method: "get",
      path: "/v1/messages/{id}",
      operationId: "getMessage",
      mailProblems: Object.keys(catalogue) as MailErrorCode[],
      summary: "Get a message",
      tags,
      auth,
      description: "With `include=text` its text is fetched from the server unless it was kept a moment ago: that takes as long as the server does.",
      params: idParams("message"),
      query: z.strictObject({ include: z.literal("text").optional() }),
      response: messageWithTextSchema,
      problems: ["service_unavailable"],
    },
    async ({ params, query, db, deps }) => {
      const row = await findMessage(db, params.id);
      if (row === undefined) throw notFound("message");
      const message = toMessageBody(readMessage(row));
      return query.include === "text" ? { ...message, ...(await readText(deps, db, row.id)) } : message;
    },
  ),
];

/** The text that is kept, or else a fresh one: the worker puts it into the database, so that no text passes through Temporal. */
async function readText({ commands }: ApiDeps, db: ScopedConnection, id: MessageId) {
  const kept = (await findMessageTexts(db, [id])).get(id);
  if (kept === undefined) await commands.fetchText(id);
  const found = kept ?? (await findMessageTexts(db, [id])).get(id);
  if (found === undefined) throw notFound("text");
  return { text: found.text, isTextTruncated: found.isTruncated };
}
