import { z } from "zod";
import { type MessageFilter, type MessageOrder, messageOrders } from "../db/message-search.ts";
import type { PageRequest } from "../db/pages.ts";
import type { Scope } from "../db/scope.ts";
import { folderRoles } from "../domain/folder.ts";
import { directions } from "../domain/message.ts";
import { parseSearch } from "../domain/search-terms.ts";
import { traitKinds } from "../domain/traits.ts";
import { invalid } from "./errors.ts";
import { idSchema, instantSchema, pageQuery, toPageRequest } from "./schemas.ts";

/** An address as a person would write it: anything with an @ inside, for mail knows stranger ones than its standards do. */
export const contactSchema = z
  .string()
  .max(320)
  .regex(/^\S+@[^\s@]+$/, "an address")
  .meta({ examples: ["bob@example.net"] });

const yesOrNo = z.enum(["true", "false"]);

/** Members of a listing's query that choose and order its messages, whatever else chooses them. */
export const messageFilters = {
  mailboxId: idSchema("mailbox").optional(),
  direction: z.enum(directions).optional(),
  receivedFrom: instantSchema.optional().describe("At this instant or later."),
  receivedBefore: instantSchema.optional(),
  unread: yesOrNo.optional(),
  hasAttachment: yesOrNo.optional().describe("Attachments that a person would see as such; pictures within the text do not count."),
  q: z
    .string()
    .min(1)
    .max(300)
    .optional()
    .describe(
      'Words that must all occur in subject, names and addresses, file names, preview or kept text: `invoice`, `"a phrase"`, `-unwanted`, `inv*`. ' +
        "Without regard to case and accents. Addresses are found by their parts: `alice`, `example.com`.",
    ),
  sort: z.enum(messageOrders).default("newest"),
};

export const messageQuery = z.strictObject({
  ...pageQuery,
  ...messageFilters,
  folderId: idSchema("folder").optional().describe("Messages that lie in this folder, among others or not."),
  role: z.enum(folderRoles).optional().describe("The message's role over all of its folders."),
  threadId: idSchema("thread").optional(),
  contact: contactSchema.optional().describe("An address that the message names, as sender or recipient."),
  flagged: yesOrNo.optional(),
  trait: z.enum(traitKinds).optional(),
});

type MessageQuery = Pick<z.output<typeof messageQuery>, "limit" | "sort"> & Partial<z.output<typeof messageQuery>>;

/**
 * What a query asks for, and the name of its listing: a cursor of one order is none of the other. A thread is not in the filter: who knows under which ids
 * its messages lie puts them there.
 */
export function readMessageQuery(
  scope: Scope,
  query: MessageQuery,
): { readonly filter: Omit<MessageFilter, "threadIds">; readonly request: PageRequest & { readonly order: MessageOrder }; readonly listing: string } {
  const { sort: order } = query;
  const listing = order === "newest" ? "messages" : "messages.oldest";
  return { filter: readMessageFilter(scope, query), request: { ...toPageRequest(listing, query), order }, listing };
}

/** Which messages a query is about. */
export function readMessageFilter(
  scope: Scope,
  query: Omit<MessageQuery, "threadId" | "sort" | "limit" | "cursor">,
): Omit<MessageFilter, "threadIds"> {
  const { receivedFrom, receivedBefore, q } = query;
  if (receivedFrom !== undefined && receivedBefore !== undefined && receivedFrom >= receivedBefore) {
    throw invalid({ in: "query", pointer: "#/receivedBefore", detail: "is not after receivedFrom" });
  }
  const search = q === undefined ? undefined : parseSearch(scope.customerId, q);
  if (q !== undefined && search === undefined) throw invalid({ in: "query", pointer: "#/q", detail: "holds no word to search for" });
  const { mailboxId, folderId, role, direction, contact, trait } = query;
  return {
    ...{ mailboxId, folderId, role, direction, contact, trait, receivedFrom, receivedBefore, search },
    isUnread: toBoolean(query.unread),
    isFlagged: toBoolean(query.flagged),
    hasAttachment: toBoolean(query.hasAttachment),
  };
}

function toBoolean(answer: z.output<typeof yesOrNo> | undefined): boolean | undefined {
  return answer === undefined ? undefined : answer === "true";
}
