/** What a folder is for (RFC 6154, plus `inbox`). `none` is a folder that a person made for their own ends. */
export const folderRoles = ["inbox", "sent", "drafts", "junk", "trash", "archive", "all", "flagged", "important", "none"] as const;
export type FolderRole = (typeof folderRoles)[number];

/** What a role rests on: the server's word, the folder's name, the customer's setting, or nothing. */
export type RoleSource = "server" | "name" | "override" | "none";

/** A folder as its provider describes it, before we know it. `path` is unicode, in the provider's own spelling. */
export interface RemoteFolder {
  readonly path: string;
  readonly name: string;
  readonly delimiter: string;
  readonly role: FolderRole;
  readonly roleSource: RoleSource;
  /** False for `\Noselect`: it holds folders, never mail. */
  readonly selectable: boolean;
  /** True for a folder of another user, or of all (RFC 2342): what lies there is not this mailbox's mail. */
  readonly isShared: boolean;
  /** The provider's id that stays when the folder is renamed (MAILBOXID of RFC 8474), where there is one. */
  readonly stableId: string | null;
}

/**
 * Whether this folder is read. `all` holds every message a second time; it is read only where the provider offers nothing better, and says so
 * by naming it the only folder. Flagged and important folders are views of other folders, and shared ones are other people's.
 */
export function isSyncedByDefault(folder: Pick<RemoteFolder, "role" | "selectable"> & { readonly isShared?: boolean }): boolean {
  return folder.selectable && folder.isShared !== true && folder.role !== "all" && folder.role !== "flagged" && folder.role !== "important";
}

/**
 * The order in which folders are read and in which a message that is in several of them gets its main role: where a person would look for it
 * first comes first.
 */
export const roleOrder: readonly FolderRole[] = ["inbox", "sent", "drafts", "none", "archive", "all", "important", "flagged", "junk", "trash"];

export function compareRoles(a: FolderRole, b: FolderRole): number {
  return roleOrder.indexOf(a) - roleOrder.indexOf(b);
}
