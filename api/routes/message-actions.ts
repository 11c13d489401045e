import { z } from "zod";
import { findMessageAction, type StoredAction } from "../../db/message-actions.ts";
import { findMessage, readMessage } from "../../db/messages.ts";
import { catalogue, MailError, type MailErrorCode } from "../../domain/errors.ts";
import type { MessageId } from "../../domain/ids.ts";
import type { MessageAction } from "../../domain/message-action.ts";
import { type Acting, actOnMessages } from "../act-on-messages.ts";
import { notFound } from "../errors.ts";
import {
  flagsChangeSchema,
  folderMembers,
  messageActionSchema,
  namesOneFolder,
  newMessageActionSchema,
  oneFolder,
  toMessageAction,
  toMessageActionBody,
  toTarget,
  whenAwaySchema,
} from "../message-action-schemas.ts";
import { messageSchema, toMessageBody } from "../message-schema.ts";
import { Reply, route } from "../route.ts";
import { idParams } from "../schemas.ts";

const tags = ["Messages"];
const writing = { scope: "messages:write", openToMailboxKeys: true } as const;
const mailProblems = Object.keys(catalogue) as MailErrorCode[];

export const messageActionRoutes = [
  route(
    {
      method: "post",
      path: "/v1/message-actions",
      operationId: "actOnMessages",
      summary: "Change messages at their servers",
      description:
        "Sets flags, moves, copies or deletes up to 1,000 messages, of several mailboxes if need be, at their mail servers and in the store: each change " +
        "comes back as one event. `archive`, `junk`, `notJunk` and `delete` move to the folder with that role; `delete` with `permanent` is for good. The " +
        "answer has a result for each id. 202 says that some are queued: the mailbox is away, or the server takes its time; follow them by the answer's id. " +
        "What was accepted is carried out once, in the order of the requests, whatever dies meanwhile.",
      tags,
      auth: writing,
      body: newMessageActionSchema,
      example: { ids: ["msg_1CbWqaK3zvYyZ9rNbX1pQ4"], action: { type: "setFlags", add: ["seen"] }, whenAway: "queue" },
      response: messageActionSchema,
      otherStatuses: [202],
    },
    async ({ body, keep, ...context }) => {
      const wanted = { ids: body.ids, actions: [toMessageAction(body.action)], whenAway: body.whenAway };
      // Kept as it is queued until it is known what became of it: a repetition must not have it carried out again.
      const [stored] = await actOnMessages(context, { ...wanted, onStored: (trx, [queued]) => keep(trx, toReply(queued)) });
      return toReply(stored);
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/message-actions/{id}",
      operationId: "getMessageAction",
      summary: "Get the results of a change of messages",
      description: "Kept for 30 days.",
      tags,
      auth: { scope: "messages:read", openToMailboxKeys: true },
      params: idParams("messageAction"),
      response: messageActionSchema,
    },
    async ({ params, db }) => {
      const stored = await findMessageAction(db, params.id);
      if (stored === undefined) throw notFound("change of messages");
      return toMessageActionBody(stored);
    },
  ),

  route(
    {
      method: "patch",
      path: "/v1/messages/{id}",
      operationId: "changeMessage",
      summary: "Change a message's flags or folder",
      description: "First the flags, then the folder. 202 with a `Location` says that the change is queued; the body is the message as it is now.",
      tags,
      auth: writing,
      params: idParams("message"),
      body: z
        .strictObject({ flags: flagsChangeSchema.optional(), ...folderMembers, whenAway: whenAwaySchema })
        .refine((body) => body.flags !== undefined || namesOneFolder(body), { path: ["flags"], message: "name flags, or a folder" })
        .refine((body) => namesOneFolder(body) || [body.folderId, body.path, body.role].every((name) => name === undefined), oneFolder),
      example: { flags: { add: ["seen"] }, role: "archive" },
      response: messageSchema,
      otherStatuses: [202],
      mailProblems,
    },
    async ({ params, body, ...context }) => {
      const actions: MessageAction[] = [
        ...(body.flags === undefined ? [] : [{ type: "setFlags" as const, ...body.flags }]),
        ...(namesOneFolder(body) ? [{ type: "move" as const, to: toTarget(body) }] : []),
      ];
      const queued = await actOnOne(context, params.id, actions, body.whenAway);
      const row = await findMessage(context.db, params.id);
      if (row === undefined) throw notFound("message");
      const message = toMessageBody(readMessage(row));
      return queued === undefined ? message : new Reply(202, message, { Location: locationOf(queued) });
    },
  ),

  route(
    {
      method: "delete",
      path: "/v1/messages/{id}",
      operationId: "deleteMessage",
      summary: "Delete a message",
      description:
        "Moves it to the trash, from every other folder that holds it, or deletes it for good. 202 with a `Location` says that it is queued.",
      tags,
      auth: writing,
      params: idParams("message"),
      query: z.strictObject({ permanent: z.enum(["true", "false"]).default("false"), whenAway: whenAwaySchema }),
      otherStatuses: [202],
      mailProblems,
    },
    async ({ params, query, ...context }) => {
      const queued = await actOnOne(context, params.id, [{ type: "delete", permanent: query.permanent === "true" }], query.whenAway);
      return queued === undefined ? undefined : new Reply(202, undefined, { Location: locationOf(queued) });
    },
  ),
];

function toReply(stored: StoredAction | undefined) {
  if (stored === undefined) throw new Error("one action gives one request");
  const answer = toMessageActionBody(stored);
  return new Reply(answer.state === "done" ? 200 : 202, answer, { Location: locationOf(stored) });
}

function locationOf({ id }: StoredAction): string {
  return `/v1/message-actions/${id}`;
}

/** Throws what one message's change was refused with; returns the last request of which something is queued. */
async function actOnOne(
  context: Acting,
  id: MessageId,
  actions: readonly MessageAction[],
  whenAway: "refuse" | "queue",
): Promise<StoredAction | undefined> {
  if ((await findMessage(context.db, id)) === undefined) throw notFound("message");
  const requests = await actOnMessages(context, { ids: [id], actions, whenAway });
  for (const { items, action } of requests) {
    const [item] = items;
    if (item?.state === "not_found") throw notFound("message");
    if (item?.problem == null) continue;
    const { code, serverSaid, fix } = item.problem;
    throw new MailError(code, { doing: `${action.type} of a message`, serverSaid: serverSaid ?? undefined, fix });
  }
  return requests.findLast(({ items }) => items.some(({ state }) => state === "queued" || state === "begun"));
}
