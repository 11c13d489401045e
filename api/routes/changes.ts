import { z } from "zod";
import { decodeChangesCursor, encodeChangesCursor, readChanges } from "../../db/changes.ts";
import { readMessage } from "../../db/messages.ts";
import { invalid, notFound } from "../errors.ts";
import { messageSchema, toMessageBody } from "../message-schema.ts";
import { route } from "../route.ts";
import { idParams, idSchema, pageQuery } from "../schemas.ts";

const changesSchema = z
  .strictObject({
    reset: z.boolean().describe("Forget what you know of this mailbox's messages: from this page on, all there are follow."),
    upserted: z.array(messageSchema).describe("Messages that are new or changed, as they are now."),
    deleted: z.array(idSchema("message")).describe("Messages that are gone. You may never have heard of one."),
    nextCursor: z.string().describe("Where to go on, now or at any later time."),
    more: z.boolean().describe("More is ready now."),
  })
  .meta({ id: "Changes" });

export const changeRoutes = [
  route(
    {
      method: "get",
      path: "/v1/mailboxes/{id}/changes",
      operationId: "listChanges",
      summary: "Follow a mailbox's messages",
      description:
        "Everything that became of messages behind `cursor`, history included, in an order that misses nothing: keep `nextCursor` together with what you " +
        "stored, and your copy agrees with ours. Without a cursor, and with one that is too old, `reset` is true and the listing begins anew. Several " +
        "changes of one message are one. A folder's new name changes no message: see the mailbox's folders.",
      tags: ["Mailboxes"],
      auth: { scope: "messages:read", openToMailboxKeys: true },
      params: idParams("mailbox"),
      query: z.strictObject(pageQuery),
      response: changesSchema,
    },
    async ({ params, query, db }) => {
      const after = query.cursor === undefined ? undefined : decodeChangesCursor(params.id, query.cursor);
      if (query.cursor !== undefined && after === undefined) {
        throw invalid({ in: "query", pointer: "#/cursor", detail: "not a cursor of this mailbox's changes; leave it out to begin anew" });
      }
      const changes = await readChanges(db, params.id, { after, limit: query.limit });
      if (changes === undefined) throw notFound("mailbox");
      const { reset, upserted, deleted, next, more } = changes;
      return {
        reset,
        upserted: upserted.map((row) => toMessageBody(readMessage(row))),
        deleted: [...deleted],
        nextCursor: encodeChangesCursor(next),
        more,
      };
    },
  ),
];
