import type { SyncSettings } from "./sync-settings.ts";

/** What is kept of a mailbox's messages besides what a list shows. */
export interface ContentTarget {
  readonly content: SyncSettings["content"];
  /** Attachments are kept up to this size, as transferred; 0 keeps none. */
  readonly attachmentBytesMax: number;
}

/** What a change of settings means for messages that are there already. */
export interface ContentChange {
  /** Something is to be fetched that was not. */
  readonly fetches: boolean;
  readonly dropsTexts: boolean;
  readonly dropsSources: boolean;
  readonly dropsAttachments: boolean;
}

/** How far the stored messages agree with a target. */
export interface ContentPlan extends ContentTarget {
  /** What is being carried out; null once it is done. */
  readonly change: ContentChange | null;
  /** The last message that it was carried out for, newest first; null before the first. */
  readonly after: { readonly at: string; readonly id: string } | null;
}

export const keepsNothing: ContentTarget = { content: "metadata", attachmentBytesMax: 0 };

export function contentTarget({ content, attachments, attachmentBytesMax }: SyncSettings): ContentTarget {
  return { content, attachmentBytesMax: attachments === "download" ? attachmentBytesMax : 0 };
}

export function keepsAnything({ content, attachmentBytesMax }: ContentTarget): boolean {
  return content !== "metadata" || attachmentBytesMax > 0;
}

export function isSameTarget(a: ContentTarget, b: ContentTarget): boolean {
  return a.content === b.content && a.attachmentBytesMax === b.attachmentBytesMax;
}

const levels = ["metadata", "text", "full"] as const;

export function contentChange(from: ContentTarget, to: ContentTarget): ContentChange {
  const dropsAttachments = to.attachmentBytesMax < from.attachmentBytesMax;
  return {
    // A lower cap drops all attachments, and those below it are fetched anew.
    fetches:
      levels.indexOf(to.content) > levels.indexOf(from.content) || (to.attachmentBytesMax > 0 && to.attachmentBytesMax !== from.attachmentBytesMax),
    dropsTexts: to.content === "metadata" && from.content !== "metadata",
    dropsSources: to.content !== "full" && from.content === "full",
    dropsAttachments,
  };
}
