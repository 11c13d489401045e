import type { MailError } from "./errors.ts";
import { type FolderRole, folderRoles } from "./folder.ts";
import type { FolderId } from "./ids.ts";
import type { Flags } from "./message.ts";
import type { Location } from "./settle.ts";
import type { SyncCursor, SyncScope } from "./sync.ts";

/** Where refs were learned: the folder, and its cursor, which tells the refs of one listing from those of another. */
export interface WriteScope extends SyncScope {
  readonly cursor: SyncCursor;
}

/** A message to write to, with what a copy of it keeps: by that it is recognised in another folder. */
export interface WriteRef {
  readonly ref: string;
  readonly messageId: string | null;
  readonly sizeBytes: number;
  readonly receivedAt: string;
}

/** Where a folder ended when a write began: plain JSON, opaque outside its provider. */
export type WriteMark = Readonly<Record<string, unknown>>;

export interface WriteTarget {
  readonly path: string;
  readonly mark: WriteMark;
  /** An earlier attempt began after the mark and nobody knows how far it came: what it did is looked for first, and not done twice. */
  readonly isRepeat: boolean;
}

export interface FlagsChange {
  readonly add: Flags;
  readonly remove: Flags;
}

/** What became of one message of a write. */
export type WriteResult<Done = object> =
  | ({ readonly state: "done" } & Done)
  | { readonly state: "not_found" }
  | { readonly state: "refused"; readonly error: MailError };

/** Where messages are moved or copied to: a path or a role, looked up in each message's own mailbox, or one folder. */
export type ActionTarget = { readonly path: string } | { readonly role: FolderRole } | { readonly folderId: FolderId };

/** What a customer may ask to be done to messages, as it is stored. */
export type MessageAction =
  | ({ readonly type: "setFlags" } & FlagsChange)
  | { readonly type: "move"; readonly to: ActionTarget }
  | { readonly type: "copy"; readonly to: ActionTarget }
  | { readonly type: "delete"; readonly permanent: boolean };

/** `begun` is at the server, and what became of it not known yet. */
export type ItemState = "queued" | "begun" | "done" | "not_found" | "refused";

/** What is under way about one message: noted before the server is asked, so that whoever finds it knows what to look for. */
export interface BegunStep {
  readonly folderId: FolderId;
  readonly ref: string;
  /** Only for what brings messages elsewhere. */
  readonly target: { readonly folderId: FolderId; readonly mark: WriteMark } | null;
}

/** Roles that a message can be moved to by name. The others are views, or say nothing about where. */
export const targetRoles = folderRoles.filter((role) => !["all", "flagged", "important", "none"].includes(role));

/** The folder that an action brings messages to; undefined for one that leaves them where they are. */
export function targetOf(action: MessageAction): ActionTarget | undefined {
  if (action.type === "move" || action.type === "copy") return action.to;
  return action.type === "delete" && !action.permanent ? { role: "trash" } : undefined;
}

/** The next thing to do about one message: something at one of its places, or nothing any more. */
export type Step = { readonly kind: "act"; readonly place: Location } | { readonly kind: "done" } | { readonly kind: "not_found" };

/**
 * What an action has still to do about a message, judged from where it lies now, so that whoever goes on after a crash comes to the same answer. `stepsDone`
 * counts the places at which it was carried out.
 *
 * Flags are set at every place, because folders keep them apart and a person means the message. A move or copy starts from the place where the message
 * shows first. Deleting empties every place outside of the trash, for good even that.
 */
export function nextStep(action: MessageAction, places: readonly Location[], targetId: FolderId | undefined, stepsDone: number): Step {
  const [main] = places;
  if (main === undefined) return { kind: stepsDone > 0 ? "done" : "not_found" };
  switch (action.type) {
    case "setFlags": {
      // The first place is written to whatever the store says of it: the store may be a moment behind.
      const place = stepsDone === 0 ? main : places.find(({ flags }) => !hasFlags(flags, action));
      return place === undefined ? { kind: "done" } : { kind: "act", place };
    }
    case "move":
      return stepsDone > 0 || main.folderId === targetId ? { kind: "done" } : { kind: "act", place: main };
    case "copy":
      return stepsDone > 0 || places.some(({ folderId }) => folderId === targetId) ? { kind: "done" } : { kind: "act", place: main };
    case "delete": {
      const place = action.permanent ? main : places.find(({ folderId }) => folderId !== targetId);
      return place === undefined ? { kind: "done" } : { kind: "act", place };
    }
  }
}

export function hasFlags(flags: Flags, { add, remove }: FlagsChange): boolean {
  return add.every((flag) => flags.includes(flag)) && !remove.some((flag) => flags.includes(flag));
}
