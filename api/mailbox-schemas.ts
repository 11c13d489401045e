import { z } from "zod";
import { type FolderRow, listFolders } from "../db/folders.ts";
import { type MailboxRow, toFacts } from "../db/mailboxes.ts";
import type { ScopedConnection } from "../db/scope.ts";
import { catalogue, type MailErrorCode } from "../domain/errors.ts";
import { folderRoles } from "../domain/folder.ts";
import { describeMailbox, mailboxStatuses } from "../domain/mailbox.ts";
import { defaultSyncSettings } from "../domain/sync-settings.ts";
import { syncOut } from "./mailbox-body.ts";
import { idSchema, instantOut } from "./schemas.ts";

/** A mail problem as mailboxes, folders and tests show it. */
export const mailProblemSchema = z
  .strictObject({
    code: z.enum(Object.keys(catalogue) as [MailErrorCode, ...MailErrorCode[]]),
    title: z.string(),
    cause: z.string(),
    fix: z.string(),
    serverSaid: z.string().nullable(),
    at: instantOut,
  })
  .meta({ id: "MailProblem", description: "What went wrong with mail, why, and what to do about it." });

export const folderSchema = z
  .strictObject({
    id: idSchema("folder"),
    mailboxId: idSchema("mailbox"),
    path: z.string(),
    name: z.string(),
    delimiter: z.string(),
    role: z.enum(folderRoles),
    roleSource: z.enum(["server", "name", "override", "none"]),
    isSelectable: z.boolean(),
    isSynced: z.boolean(),
    total: z.int().describe("Messages in it, as the server says."),
    unseen: z.int(),
    importState: z.enum(["pending", "importing", "complete"]),
    importTotal: z.int(),
    importDone: z.int(),
    problem: mailProblemSchema.nullable(),
    skipped: z.int().describe("Messages that could not be read: see `GET /v1/mailboxes/{id}/skipped`."),
    checkedAt: instantOut.nullable(),
  })
  .meta({ id: "Folder" });

const flowSchema = z.discriminatedUnion("state", [
  z.strictObject({ state: z.literal("importing"), done: z.int(), total: z.int(), etaSeconds: z.int().nullable() }),
  z.strictObject({ state: z.enum(["live", "delayed", "stalled", "paused", "waiting"]) }),
]);

export const mailboxSchema = z
  .strictObject({
    id: idSchema("mailbox"),
    customerId: idSchema("customer"),
    externalId: z.string().nullable(),
    email: z.string(),
    confirmedAddress: z.string().nullable().describe("The address as the server confirms it."),
    displayName: z.string().nullable(),
    provider: z.string(),
    aliases: z.array(z.string()),
    ownDomains: z.array(z.string()),
    settings: z.record(z.string(), z.unknown()).describe("The provider's settings, without secrets."),
    sync: syncOut,
    status: z.enum(mailboxStatuses),
    flow: flowSchema.describe("Whether mail moves: `connected` alone does not say so."),
    problem: mailProblemSchema.nullable(),
    lagMs: z.int().nullable().describe("How long ago all folders were last known to agree with the server."),
    watch: z.enum(["off", "connecting", "watching", "unsupported"]).describe("Whether the server announces new mail to us."),
    counts: z.strictObject({ folders: z.int(), messages: z.int(), unseen: z.int() }).describe("Over the folders that are read, as the server says."),
    folders: z.array(folderSchema),
    lastSuccessAt: instantOut.nullable(),
    lastAttemptAt: instantOut.nullable(),
    nextDueAt: instantOut.nullable(),
    createdAt: instantOut,
    updatedAt: instantOut,
  })
  .meta({ id: "Mailbox" });

/** Mailboxes as responses show them, each judged at `now`. */
export async function toMailboxBodies(
  db: ScopedConnection,
  rows: readonly MailboxRow[],
  { pollFloorMs, now }: { readonly pollFloorMs: number; readonly now: number },
): Promise<z.input<typeof mailboxSchema>[]> {
  const folders = Map.groupBy(
    await listFolders(
      db,
      rows.map((row) => row.id),
    ),
    (folder) => folder.mailbox_id,
  );
  return rows.map((row) => toBody(row, folders.get(row.id) ?? [], pollFloorMs, now));
}

function toBody(row: MailboxRow, folders: readonly FolderRow[], pollFloorMs: number, now: number): z.input<typeof mailboxSchema> {
  const { status, flow, lagMs, problem } = describeMailbox(toFacts(row, pollFloorMs), now);
  const synced = folders.filter((folder) => folder.is_synced);
  return {
    id: row.id,
    customerId: row.customer_id,
    externalId: row.external_id,
    email: row.email,
    confirmedAddress: row.confirmed_address,
    displayName: row.display_name,
    provider: row.provider,
    aliases: row.aliases,
    ownDomains: row.own_domains,
    settings: row.settings,
    sync: { ...defaultSyncSettings, ...row.sync } as z.input<typeof syncOut>,
    status,
    flow,
    problem,
    lagMs,
    watch: row.watch_state,
    counts: {
      folders: synced.length,
      messages: synced.reduce((sum, folder) => sum + folder.total, 0),
      unseen: synced.reduce((sum, folder) => sum + folder.unseen, 0),
    },
    folders: folders.map(toFolderBody),
    lastSuccessAt: row.last_success_at?.toISOString() ?? null,
    lastAttemptAt: row.last_attempt_at?.toISOString() ?? null,
    nextDueAt: row.next_due_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

export function toFolderBody(row: FolderRow): z.input<typeof folderSchema> {
  return {
    id: row.id,
    mailboxId: row.mailbox_id,
    path: row.path,
    name: row.name,
    delimiter: row.delimiter,
    role: row.role,
    roleSource: row.role_source,
    isSelectable: row.is_selectable,
    isSynced: row.is_synced,
    total: row.total,
    unseen: row.unseen,
    importState: row.import_state,
    importTotal: row.import_total,
    importDone: row.import_done,
    problem: row.problem,
    skipped: row.skipped,
    checkedAt: row.checked_at?.toISOString() ?? null,
  };
}

const previewedFolder = z.strictObject({
  path: z.string(),
  role: z.enum(folderRoles),
  messages: z
    .int()
    .nullable()
    .describe(
      "As the mail server counts them, in folders that would be added within the age limit; null where it could not be asked, and never was.",
    ),
});

/** What a change of sync settings would do. */
export const previewSchema = z
  .strictObject({
    foldersAdded: z.array(previewedFolder),
    foldersRemoved: z.array(previewedFolder),
    messagesToForget: z.int().describe("Stored messages that would be forgotten; those in the trash are judged when the change is carried out."),
    messagesToImport: z
      .int()
      .nullable()
      .describe(
        "Messages that would be imported, from folders that would be added and, where the direction or the age limit lets in more, from all; with one " +
          "direction only at most so many. Null while the mailbox is away and one of the folders was never counted.",
      ),
  })
  .meta({ id: "SettingsPreview" });
