/**
 * The one catalogue of what can go wrong with mail. A code decides what is retried, what the mailbox shows, and which HTTP status says it;
 * `cause` and `fix` are the sentences that API, console and workflow details show to a person. New codes are added here and nowhere else.
 */
export type Retry =
  /** Trying again cannot help; somebody must change something. */
  | "never"
  /** Trying again with growing pauses. */
  | "backoff"
  /** Trying again when the server said it may be tried. */
  | "after"
  /** A few times, then it is a fault that somebody looks at. */
  | "few";

/** What becomes of the mailbox: it goes on, it waits for its owner, or it waits until the cause goes away by itself. */
export type MailboxEffect = "none" | "reconnect" | "degraded";

export interface CatalogueEntry {
  readonly retry: Retry;
  readonly effect: MailboxEffect;
  readonly http: number;
  readonly title: string;
  readonly cause: string;
  readonly fix: string;
}

function entry(retry: Retry, effect: MailboxEffect, http: number, title: string, cause: string, fix: string): CatalogueEntry {
  return { retry, effect, http, title, cause, fix };
}

export const catalogue = {
  authentication_failed: entry(
    "never",
    "reconnect",
    409,
    "The mail server refused the user name or password",
    "The user name or the password is wrong, was changed, or was revoked.",
    "Enter the current password, then reconnect the mailbox.",
  ),
  app_password_required: entry(
    "never",
    "reconnect",
    409,
    "The provider wants an app password",
    "This provider does not accept the account's own password from mail programs.",
    "Create an app password in the account's security settings and use it instead of the account's password.",
  ),
  basic_auth_disabled: entry(
    "never",
    "reconnect",
    409,
    "The provider no longer accepts passwords",
    "Password sign-in for this protocol was switched off by the provider or by the organisation.",
    "Connect the mailbox through the provider's sign-in (OAuth), or ask the organisation's administrator to allow it.",
  ),
  smtp_auth_disabled: entry(
    "never",
    "none",
    409,
    "Sending by SMTP is switched off for this mailbox",
    "The server answered 535 5.7.139: SMTP AUTH is disabled for the organisation or for this mailbox.",
    "Ask the Microsoft 365 administrator to enable authenticated SMTP for this mailbox, or send through Microsoft Graph.",
  ),
  imap_disabled: entry(
    "never",
    "reconnect",
    409,
    "IMAP is switched off for this mailbox",
    "The account exists, but its settings or its organisation do not allow IMAP.",
    "Switch IMAP on in the account's mail settings, then reconnect the mailbox.",
  ),
  all_mail_hidden: entry(
    "never",
    "reconnect",
    409,
    "Gmail hides All Mail from IMAP",
    "The account's settings keep the label All Mail from IMAP, and archived messages lie nowhere else.",
    "In Gmail's settings, under Labels, switch on `Show in IMAP` for All Mail, then reconnect the mailbox.",
  ),
  account_disabled: entry(
    "never",
    "reconnect",
    409,
    "The provider has blocked this account",
    "The account is disabled, unlicensed, or locked until its owner signs in on the web.",
    "Sign in to the account in a browser and follow what it asks, then reconnect the mailbox.",
  ),
  permission_denied: entry(
    "never",
    "reconnect",
    409,
    "The provider does not allow this",
    "The account lacks a right that this action needs.",
    "Grant the missing right at the provider, then reconnect the mailbox.",
  ),
  host_not_found: entry(
    "backoff",
    "degraded",
    422,
    "The mail server's name does not exist",
    "The host name has no address in the DNS.",
    "Check the spelling of the host name; `POST /v1/autodetect` suggests the right one.",
  ),
  connection_refused: entry(
    "backoff",
    "degraded",
    503,
    "The mail server refused the connection",
    "Nothing listens at this host and port, or a firewall turns us away.",
    "Check host and port (IMAP with TLS is 993, SMTP 465 or 587) and that the server accepts connections from this address.",
  ),
  connection_timeout: entry(
    "backoff",
    "degraded",
    503,
    "The mail server did not answer in time",
    "The host does not answer at this port: a wrong port, a firewall that swallows packets, or an overloaded server.",
    "Check host and port; if they are right, the connection is tried again by itself.",
  ),
  tls_failed: entry(
    "backoff",
    "degraded",
    422,
    "No encrypted connection could be made",
    "The server and we could not agree on TLS; often a port that wants STARTTLS is used with TLS from the start, or the reverse.",
    "Use security `tls` with ports 993 and 465, `starttls` with ports 143 and 587.",
  ),
  certificate_invalid: entry(
    "backoff",
    "degraded",
    422,
    "The mail server's certificate is not valid",
    "The certificate is expired, self-signed, or made for another host name.",
    "Use the host name that the certificate names, have the certificate renewed, or allow this server's own certificate in its connection settings.",
  ),
  starttls_unavailable: entry(
    "never",
    "reconnect",
    422,
    "The mail server does not offer STARTTLS",
    "The server wants to go on without encryption, which would send the password in the clear.",
    "Use security `tls` with port 993 (IMAP) or 465 (SMTP).",
  ),
  private_address_refused: entry(
    "never",
    "reconnect",
    422,
    "This address is not allowed",
    "The host lies in a private, loopback or link-local network, which is closed to customers by default.",
    "Use a public host, or have the operator list the network in EVERPOST_ALLOW_PRIVATE_NETWORKS.",
  ),
  proxy_unreachable: entry(
    "backoff",
    "degraded",
    503,
    "The mailbox's proxy cannot be reached",
    "Nothing answers at the proxy's host and port, or what answers is no proxy of this type. The mail server was not asked.",
    "Check type, host and port in `proxy`, and that the proxy runs and takes connections from this address; null removes it.",
  ),
  proxy_refused: entry(
    "backoff",
    "degraded",
    422,
    "The mailbox's proxy refused to connect us",
    "The proxy does not accept the user name or password, or its rules do not allow this mail server. The mail server was not asked.",
    "Check `username` and `password` in `proxy`, and that the proxy allows the mail server's port (IMAP 993 or 143, SMTP 465 or 587).",
  ),
  too_many_connections: entry(
    "backoff",
    "none",
    429,
    "The mail server allows no more connections",
    "Other mail programs and we together hold more connections to this account than the server allows.",
    "Nothing needs to be done: it is tried again with fewer connections. Close other mail programs if it lasts.",
  ),
  rate_limited: entry(
    "after",
    "none",
    429,
    "The provider asks us to slow down",
    "The account or our application used up its allowance for now.",
    "Nothing needs to be done: it is tried again when the provider allows it.",
  ),
  unavailable: entry(
    "backoff",
    "degraded",
    503,
    "The mail server is not available",
    "The server is down, restarting, or closed the connection.",
    "Nothing needs to be done: it is tried again by itself. Check the provider's status page if it lasts.",
  ),
  not_found: entry(
    "never",
    "none",
    404,
    "The message or folder is no longer there",
    "It was deleted, moved or renamed at the provider.",
    "Nothing needs to be done: the next sync brings the store up to date.",
  ),
  rejected: entry(
    "never",
    "none",
    422,
    "The mail server refused this message",
    "The server judged the message or a recipient unacceptable.",
    "Read the server's answer in the details and change the message or the recipient.",
  ),
  write_refused: entry(
    "never",
    "none",
    422,
    "The mail server refused this change",
    "The server does not allow this change of a message or folder, here or at all.",
    "Read the server's answer in the details; another folder, name or flag may be allowed.",
  ),
  flags_not_kept: entry(
    "never",
    "none",
    422,
    "The folder does not keep these flags",
    "The server took the change and left out flags that it does not store in this folder.",
    "Use the flags that every server keeps: seen, answered, flagged, draft.",
  ),
  read_only_folder: entry(
    "never",
    "none",
    409,
    "The folder may only be read",
    "The server opens this folder for reading only: a shared folder without the right to change it, or a view.",
    "Change the message in another folder, or have the folder's owner grant the right.",
  ),
  folder_exists: entry(
    "never",
    "none",
    409,
    "There is a folder with this name already",
    "The server has a folder at this path, perhaps one that differs in case only.",
    "Use the folder that is there, or choose another name.",
  ),
  folder_not_empty: entry(
    "never",
    "none",
    409,
    "The folder is not empty",
    "The folder holds messages or other folders, and the request did not say that they may be lost.",
    "Move them elsewhere, or repeat the request with `force=true`.",
  ),
  special_folder: entry(
    "never",
    "none",
    409,
    "This folder stays as it is",
    "Folders with a role (inbox, sent, drafts, junk, trash, archive and the like) are neither renamed nor deleted: mail programs rely on them.",
    "Move the messages instead, or take the role from the folder at the mail server first.",
  ),
  folder_role_missing: entry(
    "never",
    "none",
    409,
    "The mailbox has no folder for this",
    "No folder of the mailbox has the role that this needs.",
    "Create such a folder and give it the role with `roleOverrides`, or name a folder by path or id.",
  ),
  mailbox_paused: entry(
    "never",
    "none",
    409,
    "The mailbox is paused",
    "Nothing is read from or written to a paused mailbox.",
    "Resume the mailbox, or send `whenAway: queue` to have the change carried out when it is back.",
  ),
  mailbox_not_connected: entry(
    "never",
    "none",
    409,
    "The mailbox is not connected",
    "It was disconnected, or has not been opened for the first time yet.",
    "Connect the mailbox, or send `whenAway: queue` to have the change carried out when it is connected.",
  ),
  expired: entry(
    "never",
    "none",
    410,
    "The change waited too long",
    "The mailbox was not back within the seven days for which a change is kept.",
    "Reconnect or resume the mailbox, then ask for the change again.",
  ),
  quota_exceeded: entry(
    "backoff",
    "degraded",
    507,
    "The mailbox is full",
    "The account has used up its storage.",
    "Delete mail or enlarge the account's storage.",
  ),
  invalid_response: entry(
    "few",
    "degraded",
    502,
    "The mail server's answer could not be understood",
    "The server sent something that the protocol does not allow, or that we do not know yet.",
    "It is tried again; if it lasts, report it with the details shown here.",
  ),
  credentials_unreadable: entry(
    "never",
    "reconnect",
    500,
    "The stored credentials cannot be decrypted",
    "The encryption key that sealed them is not in the key ring.",
    "Put the missing key back into EVERPOST_ENCRYPTION_KEYS, or reconnect the mailbox with its password.",
  ),
  mass_removal_held: entry(
    "backoff",
    "none",
    409,
    "Most of a folder would vanish at once",
    "The server's listing leaves out most of the folder's messages, or the folder itself. Servers that lost an index say so for a while.",
    "Nothing needs to be done: the server is asked again after five minutes, and believed if it still says so. A resync believes it at once.",
  ),
  folder_unstable: entry(
    "after",
    "none",
    503,
    "The server keeps beginning this folder anew",
    "The folder's UIDVALIDITY changed more than five times within a day; each time, the whole folder would have to be listed again.",
    "It is tried again a day after the first change. Ask the server's operator to rebuild the folder's index, then resync to try at once.",
  ),
  folder_miscounted: entry(
    "backoff",
    "none",
    503,
    "The folder does not hold as many messages as are on record",
    "The server's count and ours have differed for longer than a sync takes.",
    "The folder is read thoroughly by itself. If this lasts, resync the mailbox.",
  ),
  message_not_stored: entry(
    "backoff",
    "none",
    500,
    "A message could not be stored",
    "The database refused what the message says.",
    "All other messages go on. A resync tries it again; if it lasts, report it with the details shown here.",
  ),
  sync_stalled: entry(
    "backoff",
    "degraded",
    503,
    "Mail is not flowing",
    "No sync of this mailbox has succeeded for too long; the workers or Temporal may be down.",
    "Look at /readyz and at the mailbox's workflow in the Temporal UI.",
  ),
} as const satisfies Record<string, CatalogueEntry>;

export type MailErrorCode = keyof typeof catalogue;

export function isMailErrorCode(text: string): text is MailErrorCode {
  return Object.hasOwn(catalogue, text);
}

export interface MailErrorOptions {
  /** What was being done, without addresses, content or secrets: this text is stored in histories and logs. */
  readonly doing: string;
  /** The server's own answer, if it carries neither content nor secrets. */
  readonly serverSaid?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  /** A fix that fits better than the catalogue's, such as the page where this provider makes app passwords. */
  readonly fix?: string | undefined;
  readonly cause?: unknown;
}

/** Any failure that a provider, a mail server or a mailbox's settings cause. What is not a MailError is a bug, and rises. */
export class MailError extends Error {
  readonly code: MailErrorCode;
  readonly serverSaid: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly fix: string;

  constructor(code: MailErrorCode, options: MailErrorOptions) {
    super(`${options.doing}: ${catalogue[code].title}`, { cause: options.cause });
    this.name = "MailError";
    this.code = code;
    this.serverSaid = options.serverSaid?.slice(0, 500);
    this.retryAfterMs = options.retryAfterMs;
    this.fix = options.fix ?? catalogue[code].fix;
  }
}

/** A failure as it is stored and shown: on the mailbox's row, in events, in the API. */
export interface Problem {
  readonly code: MailErrorCode;
  readonly title: string;
  readonly cause: string;
  readonly fix: string;
  readonly serverSaid: string | null;
  readonly at: string;
}

export function toProblem(failure: { code: MailErrorCode; serverSaid?: string | undefined; fix?: string | undefined }, at: string): Problem {
  const { title, cause, fix } = catalogue[failure.code];
  return { code: failure.code, title, cause, fix: failure.fix ?? fix, serverSaid: failure.serverSaid ?? null, at };
}
