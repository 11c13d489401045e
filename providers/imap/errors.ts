import { MailError, type MailErrorCode } from "../../domain/errors.ts";
import { findPreset } from "./presets.ts";

/** What was being done when it failed, and with whom: decides between failures that look alike. */
export interface FailureContext {
  /** Without addresses, content or secrets: it is stored and logged. */
  readonly doing: string;
  readonly protocol: "imap" | "smtp";
  readonly preset: string | null;
  /** True until the user name and password have been accepted. */
  readonly isSigningIn?: boolean;
  /** What was sent to sign in: some servers repeat the command they refuse, and with it the password. */
  readonly secrets?: readonly string[];
  /** What the server said when it took its leave: the reason of a refusal that gives none. */
  readonly farewell?: string | undefined;
}

/** A line of what servers say. The first that fits wins, so the particular stand before the general. */
interface Fact {
  readonly says: RegExp;
  readonly code: MailErrorCode;
  /** Only while signing in, or only for one protocol. */
  readonly only?: "signing-in" | "imap" | "smtp";
}

/**
 * What servers answer, and what it means. A line belongs here when a real server says it; response codes are RFC 5530's, reply codes RFC 5321's and
 * RFC 3463's.
 */
const facts: readonly Fact[] = [
  // Limits come first: Yahoo and Gmail wrap them in what looks like a failed login.
  { says: /too many (simultaneous |concurrent |open )?(imap )?connections/i, code: "too_many_connections" },
  {
    says: /maximum number of connections|connection limit|session limit|too many sessions|number of concurrent connections/i,
    code: "too_many_connections",
  },
  { says: /sender thread limit exceeded|\b421 4\.7\.0 too many|\b4\.3\.2\b/i, code: "too_many_connections", only: "smtp" },
  { says: /\[(LIMIT|INUSE)\]/i, code: "too_many_connections" },
  { says: /\[THROTTLED\]|request is throttled|\[ETHROTTLE\]|exceeded (command or )?bandwidth limits|bandwidth limit/i, code: "rate_limited" },
  {
    says: /too many (login|failed|bad|invalid) (attempts|logins|auth)|too many login|try again later|rate limit|temporarily blocked/i,
    code: "rate_limited",
  },
  { says: /\b5\.4\.5\b|daily (user )?sending (limit|quota)/i, code: "rate_limited", only: "smtp" },
  { says: /\[OVERQUOTA\]|over ?quota|quota exceeded|mailbox (is )?full|\b5\.2\.2\b/i, code: "quota_exceeded" },
  // How to sign in instead.
  { says: /5\.7\.139|smtpclientauthentication is disabled/i, code: "smtp_auth_disabled", only: "smtp" },
  { says: /5\.7\.30|basic authentication is (not supported|disabled)|basicauthblocked|logondenied-basicauth/i, code: "basic_auth_disabled" },
  {
    says: /application-specific password|app(lication)?[- ]password|\b534[ -]5\.7\.9|\[ALERT\].*app password|185833/i,
    code: "app_password_required",
  },
  {
    says: /imap (access )?is (disabled|not enabled|switched off)|not enabled for imap|enable imap|imap access (is )?disabled|imap (protocol )?disabled/i,
    code: "imap_disabled",
  },
  { says: /pop3?\/?imap.*(deaktiviert|disabled|nicht)|disabled.*imap/i, code: "imap_disabled", only: "imap" },
  {
    says: /account (is |has been )?(disabled|locked|suspended|blocked)|user is disabled|authenticated but not connected|web login required|please log in via your web browser/i,
    code: "account_disabled",
  },
  { says: /\[WEBALERT|accountdisabled|\[CONTACTADMIN\]/i, code: "account_disabled" },
  { says: /\[PRIVACYREQUIRED\]|must issue a starttls|starttls (first|required)|encryption required|\b538\b/i, code: "starttls_unavailable" },
  { says: /\b454[ -]4\.7\.0|temporary authentication failure/i, code: "unavailable", only: "smtp" },
  { says: /^421\b/i, code: "unavailable", only: "smtp" },
  {
    says: /\[(UNAVAILABLE|SERVERBUG)\]|temporar(y|ily)|server (is )?(busy|unavailable)|internal (server )?error|system error|\[SYS\/TEMP\]/i,
    code: "unavailable",
  },
  { says: /\[(AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|EXPIRED)\]|invalid credentials|badcredentials|\b535\b/i, code: "authentication_failed" },
  {
    says: /\[(NONEXISTENT|TRYCREATE)\]|mailbox (doesn't|does not) exist|unknown mailbox|no such (mailbox|folder)|mailbox not found|folder not found/i,
    code: "not_found",
  },
  { says: /\[ALREADYEXISTS\]|(mailbox|folder) already exists/i, code: "folder_exists", only: "imap" },
  { says: /\[HASCHILDREN\]|has (children|inferior|sub-?folders)/i, code: "folder_not_empty", only: "imap" },
  { says: /\[NOPERM\]|permission denied|access denied|\b530\b/i, code: "permission_denied" },
];

/** What Node, TLS, ImapFlow and nodemailer call a failure that no server spoke about. */
const codes: Readonly<Record<string, MailErrorCode>> = {
  ENOTFOUND: "host_not_found",
  EAI_AGAIN: "host_not_found",
  EDNS: "host_not_found",
  ECONNREFUSED: "connection_refused",
  EHOSTUNREACH: "connection_refused",
  ENETUNREACH: "connection_refused",
  EACCES: "connection_refused",
  ETIMEDOUT: "connection_timeout",
  CONNECT_TIMEOUT: "connection_timeout",
  GREETING_TIMEOUT: "connection_timeout",
  UPGRADE_TIMEOUT: "tls_failed",
  ETIMEOUT: "unavailable",
  ECONNRESET: "unavailable",
  EPIPE: "unavailable",
  ECONNECTION: "unavailable",
  ESOCKET: "unavailable",
  NoConnection: "unavailable",
  EConnectionClosed: "unavailable",
  StateLogout: "unavailable",
  ClosedAfterConnectText: "unavailable",
  ClosedAfterConnectTLS: "tls_failed",
  ETHROTTLE: "rate_limited",
  NotFound: "not_found",
  EPROTO: "tls_failed",
  ETLS: "tls_failed",
  STARTTLS_INJECTION: "tls_failed",
  UnexpectedTag: "invalid_response",
  MissingTag: "invalid_response",
  InvalidResponse: "invalid_response",
  ResponseProcessingFailed: "invalid_response",
  LineTooLarge: "invalid_response",
  LiteralTooLarge: "invalid_response",
  ResponseTooLarge: "invalid_response",
  TooManyTokens: "invalid_response",
  TooManyResponses: "invalid_response",
  MAX_IMAP_NESTING_REACHED: "invalid_response",
  EAUTH: "authentication_failed",
  EPROTOCOL: "invalid_response",
};

/** OpenSSL's and Node's words for a certificate that does not hold. */
const certificateCodes =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(VERIFY|GET_ISSUER|GET_CRL)|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH|CA_|INVALID_CA)/;

/** The one place where what a server, a socket or a library throws becomes a MailError. A MailError passes through as it is. */
export function toMailError(error: unknown, context: FailureContext): MailError {
  if (error instanceof MailError) return error;
  const raw = read(error);
  const code = classify(raw, context);
  const isTelling = (context.secrets ?? []).some((secret) => tells(raw.said, secret) || tells(raw.message, secret));
  return new MailError(code, {
    doing: context.doing,
    serverSaid: raw.said === "" || isTelling ? undefined : withoutAddresses(raw.said),
    retryAfterMs: code === "rate_limited" ? (raw.throttleResetMs ?? undefined) : undefined,
    fix: fixFor(code, context),
    ...(isTelling ? {} : { cause: error }),
  });
}

/** True for an answer NO or BAD: the server heard the command and did not want it, and the connection is fine. */
export function isRefusal(error: unknown): boolean {
  return error instanceof Error && ["NO", "BAD"].includes((error as RawFailure).responseStatus ?? "") && (error as RawFailure).code !== "ETHROTTLE";
}

/** True where the server knows no folder of that name: ImapFlow asked LIST, so that no server's wording matters. */
export function isMissing(error: unknown): boolean {
  const raw = read(error);
  return raw.isMailboxMissing || raw.code === "NotFound";
}

interface RawFailure extends Error {
  readonly code?: string;
  /** Nodemailer puts its own code over the system's and keeps that one here. */
  readonly originalCode?: string;
  readonly responseStatus?: string;
  readonly responseText?: string;
  readonly serverResponseCode?: string;
  readonly response?: unknown;
  readonly responseCode?: number;
  readonly reason?: string;
  readonly authenticationFailed?: boolean;
  readonly mailboxMissing?: boolean;
  readonly tlsFailed?: boolean;
  readonly throttleReset?: number;
}

interface Reading {
  readonly code: string;
  readonly message: string;
  /** The server's own words, response code in brackets in front. */
  readonly said: string;
  readonly isRefusal: boolean;
  readonly isAuthenticationFailure: boolean;
  readonly isMailboxMissing: boolean;
  readonly isTlsFailure: boolean;
  readonly smtpReply: number | undefined;
  readonly throttleResetMs: number | undefined;
}

function read(error: unknown): Reading {
  const raw = (error instanceof Error ? error : new Error(String(error))) as RawFailure;
  const text = typeof raw.response === "string" ? raw.response : (raw.responseText ?? raw.reason ?? "");
  const bracket = raw.serverResponseCode === undefined ? "" : `[${raw.serverResponseCode}] `;
  return {
    code: raw.originalCode ?? raw.code ?? "",
    message: raw.message,
    said: text === "" ? bracket.trim() : `${text.includes("[") ? "" : bracket}${text}`,
    isRefusal: isRefusal(error),
    isAuthenticationFailure: raw.authenticationFailed === true,
    isMailboxMissing: raw.mailboxMissing === true,
    isTlsFailure: raw.tlsFailed === true,
    smtpReply: raw.responseCode,
    throttleResetMs: raw.throttleReset,
  };
}

function classify(raw: Reading, context: FailureContext): MailErrorCode {
  if (raw.isMailboxMissing) return "not_found";
  if (certificateCodes.test(raw.code) || /self[- ]signed certificate|certificate has expired|altnames/i.test(raw.message))
    return "certificate_invalid";
  if (raw.isTlsFailure && /does not support STARTTLS|PREAUTH/.test(raw.message)) return "starttls_unavailable";
  if (raw.code === "ETLS" && /STARTTLS/i.test(raw.message) && raw.smtpReply !== undefined) return "starttls_unavailable";
  if (
    raw.isTlsFailure ||
    raw.code.startsWith("ERR_SSL_") ||
    /wrong version number|ssl routines|tls handshake|disconnected before secure TLS/i.test(raw.message)
  ) {
    return "tls_failed";
  }
  const factOf = (text: string) => (text === "" ? undefined : facts.find((line) => applies(line, context) && line.says.test(text)));
  const fact = factOf(raw.said) ?? factOf(context.farewell ?? "");
  if (fact !== undefined && !(fact.code === "not_found" && context.isSigningIn)) return fact.code;
  if (isLeaving(context.farewell)) return "unavailable";
  if (raw.isAuthenticationFailure || raw.smtpReply === 535 || raw.smtpReply === 534) return refusedLogin(context);
  if (raw.isRefusal) return context.isSigningIn === true ? refusedLogin(context) : "rejected";
  if (/Greeting never received|Timeout/i.test(raw.message) && context.protocol === "smtp") return "connection_timeout";
  if (raw.smtpReply !== undefined && raw.smtpReply >= 500 && context.isSigningIn === true) return refusedLogin(context);
  if (raw.smtpReply !== undefined) return raw.smtpReply < 500 ? "unavailable" : "rejected";
  if (raw.code.startsWith("ParserError")) return "invalid_response";
  return codes[raw.code] ?? "unavailable";
}

/** A server that goes away refuses every login; one that throws somebody out says something of it. ImapFlow keeps no response code of a BYE. */
function isLeaving(farewell: string | undefined): boolean {
  return farewell !== undefined && !/auth|log[ -]?[io]n|password|credential/i.test(farewell);
}

/** A login that was refused without a reason: where the account's own password never works, that is the likeliest one. */
function refusedLogin(context: FailureContext): MailErrorCode {
  const preset = findPreset(context.preset);
  if (preset === undefined || preset.auth.includes("password")) return "authentication_failed";
  if (preset.auth.includes("app-password")) return "app_password_required";
  return context.protocol === "smtp" ? "smtp_auth_disabled" : "basic_auth_disabled";
}

function applies(fact: Fact, context: FailureContext): boolean {
  if (fact.only === undefined) return true;
  return fact.only === "signing-in" ? context.isSigningIn === true : fact.only === context.protocol;
}

function fixFor(code: MailErrorCode, context: FailureContext): string | undefined {
  const preset = findPreset(context.preset);
  if (preset === undefined || preset.helpUrl === null) return undefined;
  if (code === "app_password_required") {
    return `Create an app password for ${preset.displayName} at ${preset.helpUrl} and use it instead of the account's password.`;
  }
  // Yahoo, iCloud and Fastmail answer the account's own password like a wrong one.
  if (code === "authentication_failed" && preset.auth.includes("app-password") && !preset.auth.includes("password")) {
    return `${preset.displayName} takes app passwords only: if this is the account's own password, create an app password at ${preset.helpUrl}; if it is one, it is wrong or was revoked.`;
  }
  if (code === "imap_disabled") return `Switch IMAP on for ${preset.displayName} (${preset.helpUrl}), then reconnect the mailbox.`;
  if (code === "basic_auth_disabled")
    return `${preset.displayName} takes no passwords here (${preset.helpUrl}): connect the mailbox through its sign-in (OAuth).`;
  return undefined;
}

/** Whether a text holds a secret: as it is, quoted as IMAP quotes (RFC 3501 §4.3), or in the base64 of AUTH PLAIN and LOGIN, alone or with the name. */
function tells(text: string, secret: string): boolean {
  const quoted = secret.replace(/["\\]/g, "\\$&");
  const decoded = (text.match(/[\w+/-]{4,}/g) ?? []).map((run) => Buffer.from(run, "base64").toString());
  return [text, ...decoded].some((form) => form.includes(secret) || form.includes(quoted));
}

/** Servers repeat the user name in their answers; it does not belong into histories and logs. */
function withoutAddresses(text: string): string {
  return text
    .replace(/[^\s<>"'(),;:@]+@[^\s<>"'(),;:@]+/g, "(address)")
    .replace(/\p{Cc}+/gu, " ")
    .trim();
}
