import { z } from "zod";
import { normaliseAddress } from "../domain/address.ts";
import { folderRoles } from "../domain/folder.ts";
import { attachmentModes, contentLevels, defaultSyncSettings, folderSets, type SyncSettings, syncDirections } from "../domain/sync-settings.ts";
import { getProvider, listProviders } from "../providers/index.ts";
import type { NamedHost } from "../providers/provider.ts";
import { invalid } from "./errors.ts";
import { instantSchema, nameSchema } from "./schemas.ts";
import { toFaults } from "./validate.ts";

/** Loose on purpose: servers decide what an address is, and a test server's needs no dot. */
export const emailSchema = z
  .string()
  .trim()
  .max(254)
  .regex(/^[^\s@<>"(),:;\\[\]]+@[^\s@<>"(),:;\\[\]]+$/, "an e-mail address");

const domainSchema = z
  .string()
  .trim()
  .toLowerCase()
  .max(253)
  .regex(/^[^\s@/:]+\.[^\s@/:]+$/, "a domain, without @");

const pathsSchema = z.array(z.string().min(1).max(1_000)).max(1_000);

const frequencySchema = z.union([z.enum(["realtime", "hourly", "daily"]), z.strictObject({ everyMinutes: z.number().int().min(1).max(1_440) })]);

const syncMembers = {
  direction: z.enum(syncDirections).describe("Which messages are read: those that came, those that were sent, or both."),
  folders: z
    .enum(folderSets)
    .describe("The folders to begin with: `default` reads every message once, `all` every folder, `none` only those that are named."),
  includeRoles: z.array(z.enum(folderRoles)).max(folderRoles.length).describe("Folders with these roles are read as well."),
  includePaths: pathsSchema.describe("Folders that are read as well."),
  excludePaths: pathsSchema.describe("Folders that are left out, whatever else names them."),
  frequency: frequencySchema.describe("`realtime` hears of changes at once; otherwise the mailbox is read that often."),
  attachments: z.enum(attachmentModes).describe("`skip` does not list them, `metadata` lists them, `download` keeps them in the blob store."),
  attachmentBytesMax: z
    .number()
    .int()
    .min(0)
    .max(1_000_000_000)
    .describe("Attachments larger than this (bytes as transferred) are listed and not downloaded."),
  content: z.enum(contentLevels).describe("What is kept: `metadata` with a line of preview, the readable `text` as well, or the `full` source."),
  ageLimitDays: z.number().int().min(1).max(36_500).nullable().describe("Messages received longer ago are neither imported nor kept."),
  notifyFrom: instantSchema.nullable().describe("Tells messages received since then although they were there before the mailbox was connected."),
  pollFloorSeconds: z
    .number()
    .int()
    .min(60)
    .max(86_400)
    .nullable()
    .describe("Longest time between two looks at every folder; null takes the installation's."),
  sentPath: z.string().min(1).max(1_000).nullable().describe("The folder that holds what was sent, over what server and name say."),
  roleOverrides: z.record(z.string().max(1_000), z.enum(folderRoles)).describe("Role by path, over what server and name say."),
  idlePaths: z
    .array(z.string().min(1).max(1_000))
    .max(10)
    .describe("Folders besides the inbox with a connection of their own, to hear of changes at once."),
};

const syncSchema = z.strictObject(syncMembers).partial().meta({ id: "SyncSettingsInput" });

/** Sync settings as responses show them. */
export const syncOut = z.strictObject({ ...syncMembers, notifyFrom: z.iso.datetime().nullable() }).meta({ id: "SyncSettings" });

/** What every provider's mailbox may be given, at first and later. */
const sharedMembers = {
  externalId: nameSchema.nullable().optional().describe("Your own name for the mailbox, unique among yours."),
  displayName: z.string().trim().max(200).nullable().optional(),
  aliases: z.array(emailSchema).max(200).optional().describe("Further addresses of the same person."),
  ownDomains: z.array(domainSchema).max(200).optional().describe("Domains all of whose addresses are the mailbox's own."),
  sync: syncSchema.optional(),
};

const defaultProvider = "imap";

/** One branch for each provider, made from the list of them: a new one needs nothing here. */
export const newMailboxSchema = z.discriminatedUnion(
  "provider",
  listProviders().map((definition) => {
    const kind = z.literal(definition.kind);
    const provider = definition.kind === defaultProvider ? kind.optional().describe("`imap`, if left out.") : kind;
    return definition.connectSchema.safeExtend({ provider, email: emailSchema, ...sharedMembers });
  }) as unknown as [z.core.$ZodTypeDiscriminable],
) as unknown as z.ZodType<SharedInput & { readonly provider?: string; readonly email: string } & Record<string, unknown>>;

/** Changes: the shared members, and whatever of the provider's own, which its `merge` checks when it is known which provider that is. */
export const changeMailboxSchema = z
  .object(sharedMembers)
  .catchall(z.unknown())
  .describe("Shared members, and members of the mailbox's provider as in `POST /v1/mailboxes`, every one optional.");

export interface SharedInput {
  readonly externalId?: string | null | undefined;
  readonly displayName?: string | null | undefined;
  readonly aliases?: readonly string[] | undefined;
  readonly ownDomains?: readonly string[] | undefined;
  readonly sync?: z.output<typeof syncSchema> | undefined;
}

export interface WantedMailbox {
  readonly provider: string;
  readonly email: string;
  readonly externalId: string | null;
  readonly displayName: string | null;
  readonly aliases: readonly string[];
  readonly ownDomains: readonly string[];
  readonly sync: SyncSettings;
  readonly settings: unknown;
  readonly credentials: unknown;
}

/** The mailbox that a request describes, its secrets apart from what may be shown. */
export function toWantedMailbox(body: z.output<typeof newMailboxSchema>): WantedMailbox {
  const { provider = defaultProvider, email, externalId = null, displayName = null, aliases = [], ownDomains = [], sync, ...own } = body;
  const { settings, credentials } = orInvalid(() => getProvider(provider).split(own, email));
  const wanted = { provider, email, externalId, displayName, aliases: unique(aliases), ownDomains: unique(ownDomains) };
  return { ...wanted, sync: mergeSync(defaultSyncSettings, sync), settings, credentials };
}

/** The hosts that a new mailbox or a change names. */
export function namedHosts(provider: string | undefined, body: Readonly<Record<string, unknown>>): readonly NamedHost[] {
  return getProvider(provider ?? defaultProvider).namedHosts?.(body) ?? [];
}

/** What a change makes of a stored mailbox; `settings` and `credentials` only if it touches them. */
export function toChanges(
  stored: {
    readonly provider: string;
    readonly email: string;
    readonly sync: SyncSettings;
    readonly settings: unknown;
    readonly credentials: unknown;
  },
  body: z.output<typeof changeMailboxSchema>,
) {
  const { externalId, displayName, aliases, ownDomains, sync, ...own } = body;
  const isOwnTouched = Object.keys(own).length > 0;
  const merged = isOwnTouched ? orInvalid(() => getProvider(stored.provider).merge(stored, own, stored.email)) : undefined;
  return {
    externalId,
    displayName,
    aliases: aliases && unique(aliases),
    ownDomains: ownDomains && unique(ownDomains),
    sync: sync === undefined ? undefined : mergeSync({ ...defaultSyncSettings, ...stored.sync }, sync),
    settings: merged?.settings,
    credentials: merged?.credentials,
  };
}

function mergeSync(base: SyncSettings, changes: SharedInput["sync"]): SyncSettings {
  const given = Object.entries(changes ?? {}).filter(([, value]) => value !== undefined);
  return { ...base, ...Object.fromEntries(given) };
}

function unique(texts: readonly string[]): readonly string[] {
  return [...new Map(texts.map((text) => [normaliseAddress(text), text])).values()];
}

/** A provider says with a ZodError what is wrong with its members. */
function orInvalid<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof z.ZodError) throw invalid(...toFaults("body", error));
    throw error;
  }
}
