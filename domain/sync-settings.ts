import { directionOf, isSelf, type Self } from "./direction.ts";
import { type FolderRole, folderRoles, isSyncedByDefault, type RemoteFolder } from "./folder.ts";
import type { Direction, RemoteMessage } from "./message.ts";

/** Which way messages go that are of interest. Drafts belong to neither. */
export const syncDirections = ["inbound", "outbound", "both"] as const;
/** The folders to begin with: those that hold mail once each, every one that can be selected, or only those that are named. */
export const folderSets = ["default", "all", "none"] as const;
/** What becomes of attachments: not even listed, listed, or fetched into the blob store. */
export const attachmentModes = ["skip", "metadata", "download"] as const;
/** How much of a message is kept: what a list shows, its readable text as well, or its whole source. */
export const contentLevels = ["metadata", "text", "full"] as const;

/** How often a mailbox is read: at once by push, or from time to time only. */
export type Frequency = "realtime" | "hourly" | "daily" | { readonly everyMinutes: number };

/** How a mailbox is synced: what its customer may set, with every default applied. */
export interface SyncSettings {
  readonly direction: (typeof syncDirections)[number];
  readonly folders: (typeof folderSets)[number];
  /** Roles and paths that are read besides that set, and paths that are left out whatever else says so. */
  readonly includeRoles: readonly FolderRole[];
  readonly includePaths: readonly string[];
  readonly excludePaths: readonly string[];
  readonly frequency: Frequency;
  readonly attachments: (typeof attachmentModes)[number];
  /** Larger attachments are listed and not downloaded: bytes as transferred. */
  readonly attachmentBytesMax: number;
  readonly content: (typeof contentLevels)[number];
  /** Messages received longer ago are neither imported nor kept; null keeps all. */
  readonly ageLimitDays: number | null;
  /** Messages received at or after this instant are told even if they were there before the mailbox was connected; null tells only what is new. */
  readonly notifyFrom: string | null;
  /** Longest time between two looks at every folder, however well push works. Null takes the installation's. */
  readonly pollFloorSeconds: number | null;
  /** The folder that holds what was sent, over what server and name say. */
  readonly sentPath: string | null;
  /** Role by path, over what server and name say. */
  readonly roleOverrides: Readonly<Record<string, FolderRole>>;
  /** Folders besides the inbox that get a connection of their own to hear of changes at once. */
  readonly idlePaths: readonly string[];
}

export const defaultSyncSettings: SyncSettings = {
  direction: "both",
  folders: "default",
  includeRoles: [],
  includePaths: [],
  excludePaths: [],
  frequency: "realtime",
  attachments: "metadata",
  attachmentBytesMax: 25 * 1024 * 1024,
  content: "metadata",
  ageLimitDays: null,
  notifyFrom: null,
  pollFloorSeconds: null,
  sentPath: null,
  roleOverrides: {},
  idlePaths: [],
};

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** Mail is heard of at once; otherwise nobody listens, and the mailbox is read when it is due. */
export function isRealtime({ frequency }: Pick<SyncSettings, "frequency">): boolean {
  return frequency === "realtime";
}

/** The longest time between two looks at every folder. Without push it is the frequency's alone: whoever asks for a look a day gets one a day. */
export function lookEveryMs({ frequency, pollFloorSeconds }: SyncSettings, installationFloorMs: number): number {
  if (frequency === "realtime") return pollFloorSeconds === null ? installationFloorMs : pollFloorSeconds * 1000;
  if (frequency === "hourly") return 60 * minuteMs;
  if (frequency === "daily") return dayMs;
  return frequency.everyMinutes * minuteMs;
}

/** Roles that the customer gave, by path. */
export function givenRoles({ roleOverrides, sentPath }: Pick<SyncSettings, "roleOverrides" | "sentPath">): Readonly<Record<string, FolderRole>> {
  return sentPath === null ? roleOverrides : { ...roleOverrides, [sentPath]: "sent" };
}

/** The folders of a listing with the roles that they have for this mailbox. With a `sentPath` that exists, no other folder holds what was sent. */
export function placeRoles(listed: readonly RemoteFolder[], settings: SyncSettings): readonly RemoteFolder[] {
  const given = givenRoles(settings);
  const isSentKnown = listed.some((folder) => folder.path === settings.sentPath);
  return listed.map((folder) => {
    const role = folderRoles.find((known) => Object.hasOwn(given, folder.path) && known === given[folder.path]);
    if (role !== undefined) return { ...folder, role, roleSource: "override" };
    return isSentKnown && folder.role === "sent" ? { ...folder, role: "none", roleSource: "override" } : folder;
  });
}

/** What folders of these roles hold is of the other direction, whatever it is. */
const unreadByDirection: Readonly<Record<SyncSettings["direction"], readonly FolderRole[]>> = {
  inbound: ["sent", "drafts"],
  outbound: ["inbox", "junk", "drafts"],
  both: [],
};

/** Whether a folder, with the role that it has for this mailbox, is read. */
export function isFolderRead(
  folder: Pick<RemoteFolder, "path" | "role" | "selectable"> & { readonly isShared?: boolean },
  settings: SyncSettings,
): boolean {
  if (!folder.selectable || settings.excludePaths.includes(folder.path)) return false;
  if (unreadByDirection[settings.direction].includes(folder.role)) return false;
  if (settings.includePaths.includes(folder.path) || settings.includeRoles.includes(folder.role)) return true;
  return settings.folders === "all" || (settings.folders === "default" && isSyncedByDefault(folder));
}

/** Directions as they are stored of which some messages may go the other way. */
export function unwantedDirections({ direction }: Pick<SyncSettings, "direction">): readonly Direction[] {
  if (direction === "both") return [];
  return direction === "inbound" ? ["outgoing", "draft", "trash"] : ["incoming", "junk", "draft", "trash"];
}

/** Whether a message of this direction is of interest; what lies in the trash went the way that its sender says. */
export function isDirectionWanted(direction: Direction, sender: string | undefined, self: Self, settings: Pick<SyncSettings, "direction">): boolean {
  if (settings.direction === "both") return true;
  if (direction === "draft") return false;
  const isSent = direction === "outgoing" || (direction === "trash" && sender !== undefined && isSelf(self, sender));
  return isSent === (settings.direction === "outbound");
}

/** Messages received before this are neither imported nor kept; undefined keeps all. */
export function keptFrom({ ageLimitDays }: Pick<SyncSettings, "ageLimitDays">, now: number): Date | undefined {
  return ageLimitDays === null ? undefined : new Date(now - ageLimitDays * dayMs);
}

/** Whether a message that a folder with this role lists is stored. */
export function isMessageWanted(
  message: Pick<RemoteMessage, "flags" | "receivedAt"> & { readonly envelope: Pick<RemoteMessage["envelope"], "from"> },
  role: FolderRole,
  self: Self,
  settings: SyncSettings,
  now: number,
): boolean {
  const from = keptFrom(settings, now);
  if (from !== undefined && Date.parse(message.receivedAt) < from.getTime()) return false;
  return isDirectionWanted(directionOf(message, role, self), message.envelope.from[0]?.address, self, settings);
}

/** Whether folders that were read already hold messages that were left out and are wanted now: they have to be listed once more. */
export function reachesFurther(before: SyncSettings, after: SyncSettings): boolean {
  const isOlder = before.ageLimitDays !== null && (after.ageLimitDays === null || after.ageLimitDays > before.ageLimitDays);
  return isOlder || (before.direction !== "both" && before.direction !== after.direction);
}
