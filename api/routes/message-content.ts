import { z } from "zod";
import { findMessage } from "../../db/messages.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { notFound } from "../errors.ts";
import { connectedMailbox, readFromProvider } from "../message-content.ts";
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
      await deps.streams.use(() =>
        sendContent(request, response, {
          contentType: "message/rfc822",
          fileName: `${message.id}.eml`,
          async read(_range, signal, take) {
            const mailbox = await connectedMailbox(deps, message.mailbox_id);
            await readFromProvider(
              deps,
              mailbox,
              message.id,
              async (provider, { path, ref }) => (await provider.openSource({ path }, ref, signal)).stream,
              take,
            );
          },
        }),
      );
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
      await deps.streams.use(() =>
        sendContent(request, response, {
          contentType: attachment.contentType,
          fileName: attachment.fileName ?? `attachment-${attachment.part}`,
          async read(_range, signal, take) {
            const mailbox = await connectedMailbox(deps, message.mailbox_id);
            await readFromProvider(
              deps,
              mailbox,
              message.id,
              async (provider, { path, ref }) => (await provider.openPart({ path }, ref, attachment.part, signal)).stream,
              take,
            );
          },
        }),
      );
      return answered;
    },
  ),
];
