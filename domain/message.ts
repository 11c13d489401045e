import type { Address } from "./address.ts";
import type { Defect } from "./defects.ts";
import type { Trait } from "./traits.ts";

/**
 * Message flags in our words. IMAP's system flags lose their backslash (`\Seen` is `seen`); keywords keep their spelling (`$Forwarded`).
 * Always sorted, so that two sets are equal when their JSON is.
 */
export type Flags = readonly string[];

/** The header fields that tell who wrote what to whom and when (RFC 5322 §3.6). Absent fields are empty, never invented. */
export interface Envelope {
  readonly messageId: string | null;
  readonly inReplyTo: string | null;
  /** Ids of the References header, oldest first. */
  readonly references: readonly string[];
  readonly subject: string;
  readonly from: readonly Address[];
  readonly replyTo: readonly Address[];
  readonly to: readonly Address[];
  readonly cc: readonly Address[];
  readonly bcc: readonly Address[];
  /** The Date header as an ISO instant; null where it is missing or makes no sense. */
  readonly sentAt: string | null;
}

/** The envelope of a message whose headers say nothing, or of which nothing is kept. */
export const emptyEnvelope: Envelope = {
  messageId: null,
  inReplyTo: null,
  references: [],
  subject: "",
  from: [],
  replyTo: [],
  to: [],
  cc: [],
  bcc: [],
  sentAt: null,
};

export interface AttachmentInfo {
  /** The part's number (RFC 9051 §6.4.5), which fetches it: `2`, `1.3`. */
  readonly part: string;
  readonly fileName: string | null;
  readonly contentType: string;
  /** Bytes as transferred, before decoding: what the server tells without sending the part. */
  readonly encodedSizeBytes: number;
  readonly contentId: string | null;
  readonly isInline: boolean;
}

/** The text part that shows best as a line of preview, and how to decode its bytes. */
export interface TextPart {
  readonly part: string;
  readonly contentType: "text/plain" | "text/html";
  readonly charset: string;
  readonly transferEncoding: string;
  readonly encodedSizeBytes: number;
}

/** One message in one folder, as a provider lists it. */
export interface RemoteMessage {
  /** The provider's name for it within the scope: an IMAP UID, a Graph or Gmail id. */
  readonly ref: string;
  /** The provider's id that stays when the message moves (X-GM-MSGID, EMAILID), where there is one. */
  readonly stableId: string | null;
  /** The provider's thread id (X-GM-THRID, THREADID), where there is one. */
  readonly providerThreadId: string | null;
  readonly envelope: Envelope;
  readonly flags: Flags;
  readonly sizeBytes: number;
  /** When the provider took it in (IMAP INTERNALDATE), an ISO instant. */
  readonly receivedAt: string;
  readonly attachments: readonly AttachmentInfo[];
  readonly textPart: TextPart | null;
  readonly traits: readonly Trait[];
  readonly defects: readonly Defect[];
  /** How many addresses To, Cc and Bcc name, where the envelope keeps fewer; null where it keeps them all. */
  readonly recipientsTotal: number | null;
}

/** Addresses of To, Cc and Bcc together that are kept: more than any person writes to, and a row stays within what a database page is made for. */
export const recipientsMax = 1_000;
/** Attachments of one message that are listed. */
export const attachmentsMax = 1_000;

/** Which way a message went, seen from the mailbox's owner. Drafts are never told; junk and trash are told with their name. */
export const directions = ["incoming", "outgoing", "draft", "junk", "trash"] as const;
export type Direction = (typeof directions)[number];

const systemFlags: Readonly<Record<string, string>> = {
  "\\seen": "seen",
  "\\answered": "answered",
  "\\flagged": "flagged",
  "\\deleted": "deleted",
  "\\draft": "draft",
};

/** Keywords of one message that are kept, and how long one may be: programs know dozens, and a server may send a million. */
const keywordsMax = 500;
const keywordLengthMax = 255;

/**
 * Flags as we keep them. `\Recent` is left out: it tells about the session that asked, not about the message. Of too many keywords the first by name are
 * kept, so that they are the same at each look.
 */
export function normaliseFlags(raw: Iterable<string>): Flags {
  const flags = new Set<string>();
  const keywords = new Set<string>();
  for (const flag of raw) {
    const lower = flag.toLowerCase();
    if (lower === "\\recent" || lower === "\\*") continue;
    const known = systemFlags[lower];
    if (known !== undefined) flags.add(known);
    else if (flag.length <= keywordLengthMax) keywords.add(flag);
  }
  const kept = keywords.size <= keywordsMax ? keywords : [...keywords].sort().slice(0, keywordsMax);
  return [...flags, ...kept].sort();
}
