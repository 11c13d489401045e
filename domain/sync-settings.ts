/** How a mailbox is synced: what its customer may set, with every default applied. */
export interface SyncSettings {
  /** Messages received at or after this instant are told even if they were there before the mailbox was connected; null tells only what is new. */
  readonly notifyFrom: string | null;
  /** Paths that are read although their role is not, or left out although it is. */
  readonly includePaths: readonly string[];
  readonly excludePaths: readonly string[];
  /** Longest time between two looks at every folder, however well push works. Null takes the installation's. */
  readonly pollFloorSeconds: number | null;
  /** Role by path, over what server and name say. */
  readonly roleOverrides: Readonly<Record<string, string>>;
}

export const defaultSyncSettings: SyncSettings = {
  notifyFrom: null,
  includePaths: [],
  excludePaths: [],
  pollFloorSeconds: null,
  roleOverrides: {},
};
