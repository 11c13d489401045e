import type { FolderRole } from "./folder.ts";

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
