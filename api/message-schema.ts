import { z } from "zod";
import { defectCodes, defects } from "../domain/defects.ts";
import type { ToldMessage } from "../domain/events.ts";
import { folderRoles } from "../domain/folder.ts";
import { directions } from "../domain/message.ts";
import { traitKinds } from "../domain/traits.ts";
import { idSchema, instantOut } from "./schemas.ts";

export const addressSchema = z.strictObject({ name: z.string(), address: z.string() }).meta({ id: "Address" });
export const addressesSchema = z.array(addressSchema);

function describeDefects(): string {
  return Object.entries(defects)
    .map(([code, meaning]) => `\`${code}\`: ${meaning}`)
    .join(" ");
}

const attachmentMembers = {
  part: z.string(),
  fileName: z.string().nullable(),
  contentType: z.string(),
  encodedSizeBytes: z.int(),
  contentId: z.string().nullable(),
  isInline: z.boolean(),
};
const attachmentSchema = z.strictObject(attachmentMembers).meta({ id: "AttachmentInfo" });

/** An attachment of a message that was looked into. */
export const listedAttachmentSchema = z
  .strictObject({ ...attachmentMembers, wrappedIn: z.string().nullable().describe("The part that is the winmail.dat which holds it.") })
  .meta({ id: "ListedAttachment" });

/** A message as the API and events show it. */
export const messageSchema = z
  .strictObject({
    id: idSchema("message"),
    threadId: idSchema("thread"),
    mailboxId: idSchema("mailbox"),
    account: z.string().nullable().describe("The mailbox's `externalId`."),
    direction: z.enum(directions),
    path: z.string().describe("The folder in which the message shows first."),
    folderId: idSchema("folder"),
    specialUse: z.enum(folderRoles).describe("That folder's role."),
    messageSpecialUse: z.enum(folderRoles).describe("The message's role over all folders that hold it."),
    uid: z.int().nullable(),
    messageId: z.string().nullable().describe("The Message-ID header."),
    inReplyTo: z.string().nullable(),
    references: z.array(z.string()),
    subject: z.string(),
    from: addressesSchema,
    replyTo: addressesSchema,
    to: addressesSchema,
    cc: addressesSchema,
    bcc: addressesSchema,
    recipientsTotal: z.int().describe("Addresses in To, Cc and Bcc; more than are listed where `defects` says `recipients_truncated`."),
    sentAt: z.string().nullable().describe("The Date header, if it makes sense."),
    receivedAt: instantOut,
    sizeBytes: z.int(),
    flags: z.array(z.string()),
    attachments: z.array(attachmentSchema),
    snippet: z.string().nullable(),
    traits: z
      .array(z.strictObject({ kind: z.enum(traitKinds), source: z.string().describe("What it rests on.") }).meta({ id: "MessageTrait" }))
      .describe("What the message is besides being mail, from its header and structure; at most one of a kind."),
    defects: z.array(z.enum(defectCodes)).describe(`What is wrong with the message. ${describeDefects()}`),
  })
  .meta({ id: "Message" });

/** One message, with its text where that was asked for. */
export const messageWithTextSchema = messageSchema
  .extend({
    text: z.string().optional().describe("The readable text, with `include=text`."),
    isTextTruncated: z.boolean().optional().describe("The message says more than `text`."),
  })
  .meta({ id: "MessageWithText" });

export type MessageBody = z.input<typeof messageSchema>;

/** The same value: the schema's arrays only are not read-only. */
export function toMessageBody(message: ToldMessage): MessageBody {
  return message as MessageBody;
}
