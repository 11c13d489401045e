import { describe, expect, test } from "vitest";
import { MailError } from "../../../domain/errors.ts";
import { isRefusal, toMailError } from "../../../providers/imap/errors.ts";

const imap = { doing: "testing", protocol: "imap", preset: null } as const;
const signIn = { ...imap, isSigningIn: true } as const;
const smtp = { doing: "testing", protocol: "smtp", preset: null, isSigningIn: true } as const;

function failure(props: Record<string, unknown>, message = "Command failed"): Error {
  return Object.assign(new Error(message), props);
}

const no = (text: string, more: Record<string, unknown> = {}) => failure({ responseStatus: "NO", responseText: text, ...more });
const refused = (text: string) => no(text, { authenticationFailed: true });
const reply = (text: string) => failure({ code: "EAUTH", response: text, responseCode: Number(text.slice(0, 3)) });

describe("toMailError names what a server or the network said", () => {
  test.each([
    // Signing in by IMAP.
    ["a refused password", refused("[AUTHENTICATIONFAILED] Authentication failed."), signIn, "authentication_failed"],
    ["a refused password without a code", refused("LOGIN failed."), signIn, "authentication_failed"],
    [
      "a refused password at Gmail",
      refused("[AUTHENTICATIONFAILED] Invalid credentials (Failure)"),
      { ...signIn, preset: "gmail" },
      "authentication_failed",
    ],
    [
      "Gmail wanting an app password",
      refused("[ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)"),
      { ...signIn, preset: "gmail" },
      "app_password_required",
    ],
    ["an unexplained refusal where only app passwords work", refused("LOGIN failed"), { ...signIn, preset: "icloud" }, "app_password_required"],
    ["an unexplained refusal where no password works", refused("LOGIN failed."), { ...signIn, preset: "microsoft365" }, "basic_auth_disabled"],
    ["basic authentication blocked", refused("LOGIN failed. BasicAuthBlocked"), signIn, "basic_auth_disabled"],
    [
      "IMAP switched off at Gmail",
      refused("[ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page (Failure)"),
      { ...signIn, preset: "gmail" },
      "imap_disabled",
    ],
    [
      "IMAP switched off at Zoho",
      refused("[ALERT] You are yet to enable IMAP for your account. Please contact your administrator (Failure)"),
      signIn,
      "imap_disabled",
    ],
    ["a licence that is missing at Microsoft", refused("User is authenticated but not connected."), signIn, "account_disabled"],
    [
      "Gmail wanting the browser",
      refused("[ALERT] Please log in via your web browser: https://support.google.com/mail/ (Failure)"),
      signIn,
      "account_disabled",
    ],
    // Limits, also where they look like a failed login.
    [
      "too many connections at Gmail",
      no("[ALERT] Too many simultaneous connections. (Failure)", { authenticationFailed: true }),
      signIn,
      "too_many_connections",
    ],
    [
      "too many connections at Dovecot",
      no("Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", { authenticationFailed: true }),
      signIn,
      "too_many_connections",
    ],
    ["too many connections at Yahoo", refused("[LIMIT] LOGIN Rate limit hit."), signIn, "too_many_connections"],
    ["a limit by its code alone", no("Not now", { serverResponseCode: "LIMIT" }), imap, "too_many_connections"],
    ["throttling at Gmail", no("[THROTTLED] Account exceeded command or bandwidth limits. (Failure)"), imap, "rate_limited"],
    [
      "throttling at Microsoft",
      failure({
        responseStatus: "BAD",
        code: "ETHROTTLE",
        throttleReset: 92_415,
        responseText: "Request is throttled. Suggested Backoff Time: 92415 milliseconds",
      }),
      imap,
      "rate_limited",
    ],
    ["a server that is unwell", no("[UNAVAILABLE] Temporary authentication failure."), signIn, "unavailable"],
    ["a mailbox that is full", no("[OVERQUOTA] Quota exceeded (mailbox for user is full)"), imap, "quota_exceeded"],
    // Commands.
    ["a folder that is gone, by code", no("[NONEXISTENT] Unknown Mailbox: Gone (Failure)"), imap, "not_found"],
    ["a folder that is gone, by words", no("Mailbox doesn't exist: Gone"), imap, "not_found"],
    ["a folder that is gone, by LIST", no("SELECT failed", { mailboxMissing: true }), imap, "not_found"],
    ["a folder that is closed to us", no("[NOPERM] Permission denied"), imap, "permission_denied"],
    ["a refusal without a reason", no("No."), imap, "rejected"],
    // The way there.
    ["a name that does not exist", failure({ code: "ENOTFOUND" }, "getaddrinfo ENOTFOUND"), signIn, "host_not_found"],
    ["nobody at the port", failure({ code: "ECONNREFUSED" }), signIn, "connection_refused"],
    ["no answer at all", failure({ code: "CONNECT_TIMEOUT" }), signIn, "connection_timeout"],
    ["a greeting that never comes", failure({ code: "GREETING_TIMEOUT" }), signIn, "connection_timeout"],
    ["a connection that broke", failure({ code: "ECONNRESET" }), imap, "unavailable"],
    ["a silence that lasted too long", failure({ code: "ETIMEOUT" }, "Socket timeout"), imap, "unavailable"],
    ["TLS spoken to a port without", failure({ code: "ERR_SSL_WRONG_VERSION_NUMBER" }, "wrong version number"), signIn, "tls_failed"],
    ["an expired certificate", failure({ code: "CERT_HAS_EXPIRED" }), signIn, "certificate_invalid"],
    ["a certificate that nobody signed", failure({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" }), signIn, "certificate_invalid"],
    ["a certificate for another name", failure({ code: "ERR_TLS_CERT_ALTNAME_INVALID" }), signIn, "certificate_invalid"],
    ["no STARTTLS where it is asked for", failure({ tlsFailed: true }, "Server does not support STARTTLS"), signIn, "starttls_unavailable"],
    ["an answer that is no IMAP", failure({ code: "ParserError11" }), imap, "invalid_response"],
    ["an answer without end", failure({ code: "LiteralTooLarge" }), imap, "invalid_response"],
    // Signing in by SMTP.
    ["a refused SMTP password", reply("535 5.7.8 Error: authentication failed"), smtp, "authentication_failed"],
    [
      "SMTP AUTH disabled for the tenant",
      reply("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled"),
      smtp,
      "smtp_auth_disabled",
    ],
    ["SMTP wanting an app password", reply("534-5.7.9 Application-specific password required."), smtp, "app_password_required"],
    [
      "SMTP without basic authentication",
      reply("550 5.7.30 Basic authentication is not supported for Client Submission."),
      smtp,
      "basic_auth_disabled",
    ],
    ["SMTP in passing trouble", reply("454 4.7.0 Temporary authentication failure"), smtp, "unavailable"],
    ["SMTP closing", failure({ code: "ECONNECTION", response: "421 4.3.0 Try later", responseCode: 421 }), smtp, "unavailable"],
    ["SMTP with too many threads", reply("432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"), smtp, "too_many_connections"],
    ["nobody at the SMTP port", failure({ code: "ESOCKET", originalCode: "ECONNREFUSED" }), smtp, "connection_refused"],
    [
      "an SMTP certificate that nobody signed",
      failure({ code: "ESOCKET", originalCode: "DEPTH_ZERO_SELF_SIGNED_CERT" }),
      smtp,
      "certificate_invalid",
    ],
    // What is nothing of the kind.
    ["something that is no error", "boom", imap, "unavailable"],
  ] as const)("%s", (_name, error, context, code) => {
    expect(toMailError(error, context).code).toBe(code);
  });

  test("names the provider's own page as the fix", () => {
    expect(toMailError(refused("no"), { ...signIn, preset: "icloud" }).fix).toContain("https://support.apple.com/102654");
    expect(toMailError(refused("not enabled for IMAP"), { ...signIn, preset: "gmx" }).fix).toContain("https://support.gmx.com/");
    expect(toMailError(refused("no"), signIn).fix).toBe("Enter the current password, then reconnect the mailbox.");
  });

  test("keeps the server's words without addresses and control characters, and nothing that we sent", () => {
    const error = toMailError(
      no("[AUTHENTICATIONFAILED] user ann@example.org\r\nis <unknown>", { executedCommand: '1 LOGIN "ann" "secret"' }),
      signIn,
    );
    expect(error.serverSaid).toBe("[AUTHENTICATIONFAILED] user (address) is <unknown>");
    expect(error.message).not.toContain("secret");
  });

  test("carries how long a throttling server wants to be left alone", () => {
    expect(toMailError(failure({ code: "ETHROTTLE", throttleReset: 5_000 }), imap)).toMatchObject({ code: "rate_limited", retryAfterMs: 5_000 });
  });

  test("leaves a MailError as it is", () => {
    const error = new MailError("not_found", { doing: "x" });
    expect(toMailError(error, imap)).toBe(error);
  });

  test("tells a refusal from a broken connection", () => {
    expect(isRefusal(no("no"))).toBe(true);
    expect(isRefusal(failure({ code: "NoConnection" }))).toBe(false);
    expect(isRefusal(failure({ responseStatus: "BAD", code: "ETHROTTLE" }))).toBe(false);
  });
});
