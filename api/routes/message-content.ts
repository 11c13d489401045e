import { z } from "zod";
import { sourcePart } from "../../db/message-blobs.ts";
import { findMessage } from "../../db/messages.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { notFound } from "../errors.ts";
import { messageContent } from "../message-content.ts";
import { answered, route } from "../route.ts";
import { idParams, idSchema } from "../schemas.ts";
import { sendContent } from "../send-content.ts";

const tags = ["Messages"];
const auth = { scope: "messages:read", openToMailboxKeys: true } as const;
const mailProblems = Object.keys(catalogue) as MailErrorCode[];
const problems = ["service_unavailable", "conflict", "range_not_satisfiable"] as const;

/** A part's number (RFC 9051 §6.4.5). */
const partSchema = z
  .string()
  .regex(/^\d{1,4}(\.\d{1,4}){0,30}$/, "a part's number, as `attachments` of the message lists it")
  .meta({ examples: ["2", "1.3"] });

export const messageContentRoutes = [
  route(
    {
      method: "get",
      path: "/v1/messages/{id}/source",
      operationId: "getMessageSource",
      summary: "Download a message's source",
      description: "The message as it was transferred (RFC 5322), from what is kept or from its server. Ranges are served for what is kept.",
      tags,
      auth,
      params: idParams("message"),
      contentType: "message/rfc822",
      otherStatuses: [206],
      problems,
      mailProblems,
    },
    async ({ params, db, deps, request, response }): Promise<typeof answered> => {
      const message = await findMessage(db, params.id);
      if (message === undefined) throw notFound("message");
      const named = { contentType: "message/rfc822", fileName: `${message.id}.eml` };
      await deps.streams.use(async () => sendContent(request, response, await messageContent(deps, message, sourcePart, named)));
      return answered;
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/messages/{id}/attachments/{part}",
      operationId: "getAttachment",
      summary: "Download an attachment",
      description:
        "Decoded, always as a download and never to be shown in place, from what is kept or from its server. Ranges are served for what is kept.",
      tags,
      auth,
      params: z.strictObject({ id: idSchema("message"), part: partSchema }),
      contentType: "application/octet-stream",
      otherStatuses: [206],
      problems,
      mailProblems,
    },
    async ({ params, db, deps, request, response }): Promise<typeof answered> => {
      const message = await findMessage(db, params.id);
      if (message === undefined) throw notFound("message");
      const attachment = message.attachments.find(({ part }) => part === params.part);
      if (attachment === undefined) throw notFound("attachment");
      const named = { contentType: attachment.contentType, fileName: attachment.fileName ?? `attachment-${attachment.part}` };
      await deps.streams.use(async () => sendContent(request, response, await messageContent(deps, message, attachment.part, named)));
      return answered;
    },
  ),
];
