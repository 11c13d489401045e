import { z } from "zod";
import type { StoredAction } from "../db/message-actions.ts";
import type { MessageAction } from "../domain/message-action.ts";
import { targetRoles } from "../domain/message-action.ts";
import { mailProblemSchema } from "./mailbox-schemas.ts";
import { idSchema, instantOut } from "./schemas.ts";

const systemFlags = ["seen", "answered", "flagged", "draft"] as const;

/** A flag that may be set: four that every server knows, or a keyword (RFC 9051 §2.3.2). `deleted` is what deleting is for. */
const flagSchema = z
  .string()
  .regex(/^[A-Za-z0-9$_.+-]{1,60}$/, "letters, digits and $ _ . + - only")
  .refine((flag) => !["deleted", "recent"].includes(flag.toLowerCase()), "not a flag to be set: delete the message instead")
  .transform((flag) => systemFlags.find((known) => known === flag.toLowerCase()) ?? flag);
const flagsSchema = z
  .array(flagSchema)
  .max(30)
  .transform((flags) => [...new Set(flags)].toSorted());

/** Flags to add and to take away; one of both at least, and none in both. */
export const flagsChangeSchema = z
  .strictObject({ add: flagsSchema.default([]), remove: flagsSchema.default([]) })
  .refine(({ add, remove }) => add.length + remove.length > 0, { path: ["add"], message: "name a flag to add or to remove" })
  .refine(({ add, remove }) => !add.some((flag) => remove.includes(flag)), {
    path: ["remove"],
    message: "a flag is to be added and removed at once",
  });

/** Members that name a folder; exactly one of them. Spread them into a strict object, and refine it with `namesOneFolder`. */
export const folderMembers = {
  folderId: idSchema("folder").optional(),
  path: z.string().min(1).max(1_000).optional().describe("The folder's path, as the listing of folders shows it."),
  role: z.enum(targetRoles).optional().describe("The folder with this role in each message's mailbox."),
};
interface NamedFolder {
  readonly folderId?: z.output<typeof folderMembers.folderId>;
  readonly path?: string | undefined;
  readonly role?: z.output<typeof folderMembers.role>;
}
export const oneFolder = { path: ["path"], message: "name the folder by exactly one of folderId, path and role" };
export function namesOneFolder({ folderId, path, role }: NamedFolder): boolean {
  return [folderId, path, role].filter((name) => name !== undefined).length === 1;
}

export function toTarget({ folderId, path, role }: NamedFolder) {
  if (folderId !== undefined) return { folderId };
  if (path !== undefined) return { path };
  if (role !== undefined) return { role };
  throw new Error("a schema let a folder without a name pass");
}

const wantedAction = z.discriminatedUnion("type", [
  z
    .strictObject({ type: z.literal("setFlags"), add: flagsSchema.default([]), remove: flagsSchema.default([]) })
    .refine(({ add, remove }) => add.length + remove.length > 0, { path: ["add"], message: "name a flag to add or to remove" })
    .refine(({ add, remove }) => !add.some((flag) => remove.includes(flag)), {
      path: ["remove"],
      message: "a flag is to be added and removed at once",
    }),
  z.strictObject({ type: z.literal("move"), ...folderMembers }).refine(namesOneFolder, oneFolder),
  z.strictObject({ type: z.literal("copy"), ...folderMembers }).refine(namesOneFolder, oneFolder),
  z.strictObject({ type: z.literal("archive") }),
  z.strictObject({ type: z.literal("junk") }),
  z.strictObject({ type: z.literal("notJunk") }),
  z.strictObject({ type: z.literal("delete"), permanent: z.boolean().default(false).describe("For good, instead of into the trash.") }),
]);

export function toMessageAction(wanted: z.output<typeof wantedAction>): MessageAction {
  switch (wanted.type) {
    case "setFlags":
    case "delete":
      return wanted;
    case "move":
    case "copy":
      return { type: wanted.type, to: toTarget(wanted) };
    case "archive":
      return { type: "move", to: { role: "archive" } };
    case "junk":
      return { type: "move", to: { role: "junk" } };
    case "notJunk":
      return { type: "move", to: { role: "inbox" } };
  }
}

export const whenAwaySchema = z
  .enum(["refuse", "queue"])
  .default("refuse")
  .describe(
    "What becomes of changes in a mailbox that is paused or in error: refused with the reason, or carried out when it is back, within seven days.",
  );

export const newMessageActionSchema = z.strictObject({
  ids: z
    .array(idSchema("message"))
    .min(1)
    .max(1_000)
    .refine((ids) => new Set(ids).size === ids.length, "an id is named twice"),
  action: wantedAction,
  whenAway: whenAwaySchema,
});

export const messageActionSchema = z
  .strictObject({
    id: idSchema("messageAction"),
    state: z.enum(["pending", "done"]).describe("`done` once no result is `queued` any more."),
    createdAt: instantOut,
    expiresAt: instantOut.describe("What is still queued then is refused."),
    results: z
      .array(
        z
          .strictObject({
            id: idSchema("message"),
            state: z.enum(["done", "not_found", "refused", "queued"]),
            problem: mailProblemSchema.nullable().describe("Why it was refused."),
          })
          .meta({ id: "MessageActionResult" }),
      )
      .describe("One for each id, in the request's order."),
  })
  .meta({ id: "MessageAction" });

export function toMessageActionBody({ id, createdAt, expiresAt, items }: StoredAction): z.input<typeof messageActionSchema> {
  const results = items.map(({ messageId, state, problem }) => ({ id: messageId, state: state === "begun" ? ("queued" as const) : state, problem }));
  return {
    id,
    state: results.some(({ state }) => state === "queued") ? "pending" : "done",
    createdAt: createdAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    results,
  };
}
