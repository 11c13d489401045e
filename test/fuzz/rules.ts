/** A refusal of a request in which the document's schemas find no fault. */
export interface RuleBreak {
  readonly operation: string;
  readonly in: string;
  readonly pointer: string;
  readonly detail: string;
}

interface Rule {
  readonly operations: RegExp;
  readonly pointer: RegExp;
  readonly detail: RegExp;
  /** What a reader of the document finds in words. */
  readonly because: string;
}

const every = /./;

/** Rules that JSON Schema cannot say. Each stands in words where a caller reads them. */
const rules: readonly Rule[] = [
  {
    operations: every,
    pointer: every,
    detail: /NUL character|nested more/,
    because: "texts hold no NUL and no half of a surrogate pair, bodies no deep nests",
  },
  { operations: every, pointer: every, detail: /between the years/, because: "PostgreSQL keeps instants of the years 1 to 9999" },
  {
    operations: every,
    pointer: /^#\/(cursor|after)$/,
    detail: /^(not a cursor of|is no message of)/,
    because: "a cursor is one that this listing has given",
  },
  {
    operations: /WebhookEndpoint$/,
    pointer: /^#\/url$/,
    detail: every,
    because: "the target is https and public, unless the operator has allowed more",
  },
  { operations: /WebhookEndpoint$/, pointer: /^#\/mailboxIds\//, detail: /no such mailbox/, because: "mailboxes are the customer's" },
  { operations: /Mailbox$|^testConnection$/, pointer: /allowInsecure$/, detail: /in the clear/, because: "a password in the clear has to be wanted" },
  {
    operations: /^(changeMessage|actOnMessages)$/,
    pointer: every,
    detail: /^name |added and removed/,
    because: "a change names flags, each once, or one folder in one way",
  },
  { operations: /Mailbox$|^testConnection$/, pointer: /^#\/(imap|smtp)\/host$/, detail: /is needed/, because: "a preset, or a host" },
  { operations: /^changeMailbox$/, pointer: every, detail: /is not known here|is needed again/, because: "the mailbox's provider knows its members" },
  {
    operations: /^changeMailbox$/,
    pointer: /^#\/sync\//,
    detail: /names no folder|takes a connection/,
    because: "paths name folders that are there",
  },
  { operations: /^replayWebhookEvents$/, pointer: /^#\/to$/, detail: /must lie after/, because: "a time ends after it begins" },
  {
    operations: /^createAccessKey$/,
    pointer: /^#\/(scopes|mailboxId)$/,
    detail: /cannot be limited/,
    because: "an administrator's key has every scope",
  },
  { operations: /^exportMailbox$/, pointer: /^#\/folderId$/, detail: /no folder of this/, because: "the folder is one of the mailbox's" },
  { operations: /Folder$/, pointer: /^#\/path$/, detail: /^a name between every two /, because: "a path names each of its folders" },
  { operations: /^actOnMessages$/, pointer: /^#\/ids$/, detail: /named twice/, because: "an id is named once" },
  { operations: /Mailbox$|^testConnection$/, pointer: /^#\/proxy\//, detail: /is needed/, because: "a proxy has a host" },
  { operations: every, pointer: /^#\/receivedBefore$/, detail: /is not after/, because: "a time ends after it begins" },
  { operations: every, pointer: /^#\/q$/, detail: /no word/, because: "a search holds a word" },
  {
    operations: /^createAccessKey$/,
    pointer: /^#\/expiresAt$/,
    detail: /past|later than/,
    because: "a key ends in the future, and before the one that made it",
  },
];

export function mayRefuse({ operation, pointer, detail }: RuleBreak): boolean {
  return rules.some((rule) => rule.operations.test(operation) && rule.pointer.test(pointer) && rule.detail.test(detail));
}

/** A caller may be shown again what it sent itself: ids that were no messages of its own, each `not_found`. */
export function mayShow(operation: string, foreign: string): boolean {
  return operation === "getMessageAction" && /^msg_/i.test(foreign);
}
