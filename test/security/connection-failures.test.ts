import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { startWholeApi, type WholeApi } from "../api/engine.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { imapThatSays, type ScriptedServer, smtpThatSays } from "../helpers/scripted-server.ts";

let api: WholeApi;
let key: string;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers"]);
  ({ key } = await api.newCustomer());
});
afterAll(() => api[Symbol.asyncDispose]());

const secret = "pw-3c5b8e-secret";
const open = { security: "none", allowInsecure: true } as const;

const tryOut = async (more: object) => {
  const { status, body } = await api.call("POST", "/v1/mailboxes/test", { key, body: { email: "ann@example.com", password: secret, ...more } });
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
};

function expectProblem(side: { readonly ok: boolean; readonly problem?: Readonly<Record<string, unknown>> }, code: MailErrorCode, fix?: RegExp) {
  const { title, cause } = catalogue[code];
  expect(side).toMatchObject({ ok: false, problem: { code, title, cause } });
  expect(side.problem?.fix).toMatch(fix ?? /^.{20,}$/);
  expect(JSON.stringify(side)).not.toContain(secret);
}

type Refusal = readonly [what: string, said: string, code: MailErrorCode];

const receiving: Refusal[] = [
  ["a wrong password", "{tag} NO [AUTHENTICATIONFAILED] Authentication failed.", "authentication_failed"],
  ["a refusal without a reason", "{tag} NO LOGIN failed.", "authentication_failed"],
  [
    "Gmail's demand for an app password",
    "{tag} NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)",
    "app_password_required",
  ],
  ["Microsoft's refusal of passwords", "{tag} NO AUTHENTICATE failed. LogonDenied-BasicAuthBlocked", "basic_auth_disabled"],
  ["IMAP that is switched off", "{tag} NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page.", "imap_disabled"],
  ["too many connections (Gmail) [row 64]", "{tag} NO [ALERT] Too many simultaneous connections. (Failure)", "too_many_connections"],
  ["too many connections (Dovecot) [row 64]", "{tag} NO [LIMIT] Maximum number of connections from user+IP exceeded", "too_many_connections"],
  ["throttling (Microsoft)", "{tag} BAD Request is throttled. Suggested Backoff Time: 1000 milliseconds", "rate_limited"],
  ["throttling (Yahoo)", "{tag} NO [LIMIT] Rate limit hit.", "too_many_connections"],
  [
    "throttling by bandwidth",
    "* BYE Account exceeded command or bandwidth limits.\r\n{tag} NO Account exceeded command or bandwidth limits.",
    "rate_limited",
  ],
  ["a locked account", "{tag} NO [WEBALERT https://accounts.google.com/signin] Web login required.", "account_disabled"],
  ["a server that is busy", "{tag} NO [UNAVAILABLE] Temporary authentication failure.", "unavailable"],
  [
    "a server that wants encryption",
    "{tag} NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure connections.",
    "starttls_unavailable",
  ],
  ["a password that the server repeats", "{tag} BAD Error in IMAP command: {line}", "authentication_failed"],
];

test.each(receiving)("names %s", async (_what, said, code) => {
  await using server = await imapThatSays(said);
  const { receiving: side, sending } = await tryOut({
    imap: { host: "127.0.0.1", port: server.port, ...open },
    smtp: null,
  });
  expectProblem(side, code);
  expect(sending).toBeNull();
  expect(server.heard.some((line) => line.includes("LOGIN"))).toBe(true);
});

test("tells who takes app passwords only that this may be the account's own", async () => {
  await using server = await imapThatSays("{tag} NO [AUTHENTICATIONFAILED] (#AUTH012) Incorrect username or password.");
  const { receiving: side } = await tryOut({ preset: "yahoo", imap: { host: "127.0.0.1", port: server.port, ...open }, smtp: null });
  expectProblem(side, "authentication_failed", /app password at https:\/\/login\.yahoo\.com/);
});

const submission: Refusal[] = [
  ["a wrong password", "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6", "authentication_failed"],
  [
    "SMTP AUTH that is switched off (Microsoft)",
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.",
    "smtp_auth_disabled",
  ],
  [
    "Gmail's demand for an app password",
    "534-5.7.9 Application-specific password required. For more information, go to\r\n534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor",
    "app_password_required",
  ],
  [
    "too many connections",
    "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel",
    "too_many_connections",
  ],
  ["a used-up allowance", "454 4.7.0 Too many login attempts, please try again later.", "rate_limited"],
  ["a server that is busy", "454 4.7.0 Temporary authentication failure", "unavailable"],
  ["a password that the server repeats", "535 5.7.8 could not decode {line}", "authentication_failed"],
];

test.each(submission)("names %s on the sending side, beside a receiving side that works", async (_what, said, code) => {
  await using server = await smtpThatSays(said);
  const user = await createMailUser();
  const { host, imapPort } = dovecot();
  const body = await tryOut({
    email: user.email,
    password: user.password,
    imap: { host, port: imapPort, ...open },
    smtp: { host: "127.0.0.1", port: server.port, password: secret, ...open },
  });
  expect(body.receiving).toMatchObject({ ok: true, address: user.email });
  expectProblem(body.sending, code);
  for (const form of [secret, Buffer.from(secret).toString("base64"), Buffer.from(`\0${user.email}\0${secret}`).toString("base64")]) {
    expect(JSON.stringify(body)).not.toContain(form);
  }
});

test("names a host that does not exist, a port where nothing listens, and a private network", async () => {
  const nobody = await tryOut({ imap: { host: "imap.nowhere.invalid" }, smtp: { host: "smtp.nowhere.invalid" } });
  expectProblem(nobody.receiving, "host_not_found", /autodetect/);
  expectProblem(nobody.sending, "host_not_found");
  const closed = await closedPort();
  const refused = await tryOut({ imap: { host: "127.0.0.1", port: closed, ...open }, smtp: { host: "127.0.0.1", port: closed, ...open } });
  expectProblem(refused.receiving, "connection_refused", /993/);
  expectProblem(refused.sending, "connection_refused", /587/);
  const inside = await tryOut({ imap: { host: "169.254.169.254" }, smtp: { host: "10.0.0.1" } });
  expectProblem(inside.receiving, "private_address_refused");
  expectProblem(inside.sending, "private_address_refused");
});

test("names TLS towards a server that speaks none, STARTTLS that is not offered, and a certificate that nobody vouches for", async () => {
  await using imap: ScriptedServer = await imapThatSays("{tag} OK in");
  await using smtp: ScriptedServer = await smtpThatSays("235 in");
  const at = (port: number, security: string) => ({ host: "127.0.0.1", port, security });
  const mistaken = await tryOut({ imap: at(imap.port, "tls"), smtp: at(smtp.port, "tls") });
  expectProblem(mistaken.receiving, "tls_failed", /993/);
  expectProblem(mistaken.sending, "tls_failed", /465/);
  const plain = await tryOut({ imap: at(imap.port, "starttls"), smtp: at(smtp.port, "starttls") });
  expectProblem(plain.receiving, "starttls_unavailable");
  expectProblem(plain.sending, "starttls_unavailable");
  // Nothing was signed in to in the clear.
  expect(imap.heard.filter((line) => /LOGIN|AUTHENTICATE/i.test(line))).toEqual([]);
  expect(smtp.heard.filter((line) => /AUTH/i.test(line))).toEqual([]);
  const selfSigned = await tryOut({ imap: at(dovecot().imapsPort, "tls"), smtp: null });
  expectProblem(selfSigned.receiving, "certificate_invalid");
});

test("names a server that hangs up, and one that speaks another protocol", async () => {
  await using gone = await imapThatSays("* BYE Too many connections from your IP\r\n");
  expectProblem((await tryOut({ imap: { host: "127.0.0.1", port: gone.port, ...open }, smtp: null })).receiving, "too_many_connections");
  await using web = await imapThatSays("", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  const { receiving: side } = await tryOut({ imap: { host: "127.0.0.1", port: web.port, ...open }, smtp: null });
  expect(side.ok).toBe(false);
  expect(["invalid_response", "unavailable", "connection_timeout"]).toContain(side.problem.code);
}, 60_000);

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
