import { directionOf, type Self } from "./direction.ts";
import { compareRoles, type FolderRole } from "./folder.ts";
import type { FolderId } from "./ids.ts";
import type { Direction, Envelope, Flags } from "./message.ts";

/** One place where a message lies, with what its folder says about it. */
export interface Location {
  readonly folderId: FolderId;
  readonly ref: string;
  readonly path: string;
  readonly role: FolderRole;
  readonly flags: Flags;
}

/** What is on record about a message before it is settled. `path` is its main folder's when it was settled last. */
export interface KnownMessage {
  readonly envelope: Pick<Envelope, "from">;
  readonly flags: Flags;
  readonly direction: Direction;
  readonly mainFolderId: FolderId | null;
  readonly isDeleted: boolean;
  /** True for a message that nobody has judged yet. */
  readonly isNew: boolean;
}

export interface MessageChanges {
  readonly flags?: { readonly added: Flags; readonly removed: Flags };
  readonly movedTo?: string;
}

/** What to write and what to tell about a message, given where it lies now. */
export type Settlement =
  | { readonly kind: "wait" }
  | { readonly kind: "deleted"; readonly isTold: boolean }
  | {
      readonly kind: "present";
      readonly main: Location;
      readonly direction: Direction;
      readonly tell: "created" | "updated" | "nothing";
      readonly changes: MessageChanges;
    };

/**
 * Judges one message from its places. Drafts are never told; a draft that turns up elsewhere was sent, and is told as new. A message without a place
 * is gone only when `isSearchComplete` says that every folder was looked at since: until then it may be on its way from one folder to another.
 */
export function settle(message: KnownMessage, locations: readonly Location[], self: Self, isSearchComplete: boolean): Settlement {
  const [main] = locations.toSorted(comparePlaces);
  if (main === undefined) {
    if (!isSearchComplete) return { kind: "wait" };
    return { kind: "deleted", isTold: !message.isNew && message.direction !== "draft" && !message.isDeleted };
  }
  const direction = directionOf({ envelope: message.envelope, flags: main.flags }, main.role, self);
  const present = { kind: "present", main, direction } as const;
  if (direction === "draft") return { ...present, tell: "nothing", changes: {} };
  if (message.isNew || message.direction === "draft") return { ...present, tell: "created", changes: {} };
  const changes = changesOf(message, main);
  return { ...present, tell: Object.keys(changes).length > 0 ? "updated" : "nothing", changes };
}

/** Where a person would look for the message first comes first. */
export function comparePlaces(a: Location, b: Location): number {
  return compareRoles(a.role, b.role) || a.path.localeCompare(b.path);
}

function changesOf(message: KnownMessage, main: Location): MessageChanges {
  const added = main.flags.filter((flag) => !message.flags.includes(flag));
  const removed = message.flags.filter((flag) => !main.flags.includes(flag));
  return {
    ...(added.length + removed.length > 0 ? { flags: { added, removed } } : {}),
    ...(message.mainFolderId !== main.folderId || message.isDeleted ? { movedTo: main.path } : {}),
  };
}
