import { z } from "zod";
import { findMessageTexts } from "../../db/message-texts.ts";
import { findMessage, listMessages, readMessage } from "../../db/messages.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { threadIdsOf } from "../../db/thread-listing.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import type { MessageId } from "../../domain/ids.ts";
import type { ApiDeps } from "../deps.ts";
import { notFound } from "../errors.ts";
import { messageQuery, readMessageQuery } from "../message-query.ts";
import { messageSchema, messageWithTextSchema, toMessageBody } from "../message-schema.ts";
import { route } from "../route.ts";
import { idParams, pageOf, toPageBody } from "../schemas.ts";

const tags = ["Messages"];
const auth = { scope: "messages:read", openToMailboxKeys: true } as const;

export const messageRoutes = [
  route(
    {
      method: "get",
      path: "/v1/messages",
      operationId: "listMessages",
      summary: "List messages",
      description:
        "By the time the server took them in. Filters add up. A page may hold fewer than `limit`, even none, while `nextCursor` is not null: " +
        "what is rare in a large store is looked for a stretch at a time.",
      tags,
      auth,
      query: messageQuery,
      response: pageOf(messageSchema),
    },
    async ({ query, db, scope }) => {
      const { filter, request, listing } = readMessageQuery(scope, query);
      const threadIds = query.threadId === undefined ? undefined : await threadIdsOf(db, query.threadId);
      return toPageBody(listing, await listMessages(db, scope, { ...filter, threadIds }, request), (row) => toMessageBody(readMessage(row)));
    },
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
