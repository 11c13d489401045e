import { z } from "zod";
import { sourcePart } from "../../db/message-blobs.ts";
import { findMessage } from "../../db/messages.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { notFound } from "../errors.ts";
import { messageContent } from "../message-content.ts";
import { listedAttachmentSchema } from "../message-schema.ts";
import { readMessageText } from "../message-text.ts";
import { answered, route } from "../route.ts";
import { idParams, idSchema, namesSchema } from "../schemas.ts";
import { sendContent } from "../send-content.ts";
import { attachmentContent } from "../wrapped-attachments.ts";

const tags = ["Messages"];
const auth = { scope: "messages:read", openToMailboxKeys: true } as const;
const mailProblems = Object.keys(catalogue) as MailErrorCode[];
const problems = ["service_unavailable", "conflict", "range_not_satisfiable"] as const;

/** A part's number (RFC 9051 §6.4.5), and ours for what a winmail.dat holds. */
const partSchema = z
  .string()
  .regex(/^\d{1,4}(\.\d{1,4}){0,30}(\.tnef\.\d{1,4})?$/, "a part's number, as `attachments` of the message or of its text lists it")
  .meta({ examples: ["2", "1.3", "2.tnef.1"] });

const textFormats = ["plain", "html", "sanitizedHtml", "reply"] as const;

const formatsSchema = namesSchema(textFormats)
  .prefault("plain,reply")
  .meta({ examples: ["plain,reply", "sanitizedHtml"] });

const messageTextSchema = z
  .strictObject({
    plain: z.string().nullable().describe("The readable text: the plain parts, or the HTML ones as text."),
    html: z.string().nullable().describe("As the sender wrote it: dangerous to show."),
    sanitizedHtml: z.string().nullable().describe("Safe to show in a sandboxed iframe; its pictures are attachments of this message."),
    reply: z.string().nullable().describe("What the person wrote, without quoted messages and signature."),
    blockedImages: z.int().describe("Pictures of other servers that `sanitizedHtml` leaves out."),
    isTruncated: z.boolean().describe("The message says more than this; of one that nobody can parse, nothing is said."),
    attachments: z
      .array(listedAttachmentSchema)
      .describe("The message's, and after each winmail.dat what it holds, unless that cannot be read just now."),
    source: z.enum(["kept", "fetched"]).describe("From what is kept, or from the mail server just now."),
  })
  .meta({ id: "MessageText" });

export const messageContentRoutes = [
  route(
    {
      method: "get",
      path: "/v1/messages/{id}/text",
      operationId: "getMessageText",
      summary: "Read a message's text",
      description:
        "In the forms that `formats` names; the others are null. What is kept is answered at once, the rest is read from the server, which takes as long as it does.",
      tags,
      auth,
      params: idParams("message"),
      query: z.strictObject({
        formats: formatsSchema.describe("`plain`, `html`, `sanitizedHtml`, `reply`, by comma."),
        remoteImages: z
          .enum(["true", "false"])
          .default("false")
          .describe("Leaves pictures of other servers in `sanitizedHtml`: fetching them tells their owner who reads, when and where."),
      }),
      response: messageTextSchema,
      problems: ["service_unavailable", "conflict"],
      mailProblems,
    },
    async ({ params, query, db, deps, response }) => {
      const message = await findMessage(db, params.id);
      if (message === undefined) throw notFound("message");
      return deps.streams.use(() =>
        readMessageText(deps, message, { formats: query.formats, remoteImages: query.remoteImages === "true" }, response),
      );
    },
  ),

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
        "Decoded, always as a download and never to be shown in place, from what is kept or from its server. Ranges are served for what is kept. What a " +
        "winmail.dat holds has numbers of its own, `2.tnef.1`: `GET /v1/messages/{id}/text` lists them.",
      tags,
      auth,
      params: z.strictObject({ id: idSchema("message"), part: partSchema }),
      contentType: "*/*",
      otherStatuses: [206],
      problems,
      mailProblems,
    },
    async ({ params, db, deps, request, response }): Promise<typeof answered> => {
      const message = await findMessage(db, params.id);
      if (message === undefined) throw notFound("message");
      if (message.hides_attachments) throw notFound("attachment");
      const hangUp = new AbortController();
      response.once("close", () => hangUp.abort());
      await deps.streams.use(async () => sendContent(request, response, await attachmentContent(deps, message, params.part, hangUp.signal)));
      return answered;
    },
  ),
];
