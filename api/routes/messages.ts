import { z } from "zod";
import { findMessage, listMessages, toToldMessage } from "../../db/messages.ts";
import { folderRoles } from "../../domain/folder.ts";
import { directions } from "../../domain/message.ts";
import { notFound } from "../errors.ts";
import { messageSchema, toMessageBody } from "../message-schema.ts";
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
      toPageBody("messages", await listMessages(db, query, toPageRequest("messages", query)), (row) => toMessageBody(toToldMessage(row))),
  ),

  route(
    {
      method: "get",
      path: "/v1/messages/{id}",
      operationId: "getMessage",
      summary: "Get a message",
      tags,
      auth,
      params: idParams("message"),
      response: messageSchema,
    },
    async ({ params, db }) => {
      const row = await findMessage(db, params.id);
      if (row === undefined) throw notFound("message");
      return toMessageBody(toToldMessage(row));
    },
  ),
];
