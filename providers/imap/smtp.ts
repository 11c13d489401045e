import { isIP } from "node:net";
import SMTPConnection from "nodemailer/lib/smtp-connection";
import { MailError } from "../../domain/errors.ts";
import type { SendingReport } from "../provider.ts";
import { type Account, tlsOptions, tunnelTo } from "./connection.ts";
import { toMailError } from "./errors.ts";
import type { ServerSettings } from "./settings.ts";

const connectTimeoutMs = 20_000;
const silenceMaxMs = 30_000;

const doing = "signing in by SMTP";

/** Connects to the submission server as it would be for sending, signs in, and says what the server can do. Sends nothing. */
export async function testSending(account: Account, signal?: AbortSignal): Promise<SendingReport> {
  signal?.throwIfAborted();
  const { settings, credentials } = account;
  const server = settings.smtp;
  if (server === null) throw new MailError("permission_denied", { doing: `${doing}: the mailbox has no SMTP settings` });
  const login = { user: server.username, pass: credentials.smtpPassword ?? credentials.password };
  const { address } = await account.resolveHost(server.host);
  const tunnel = await tunnelTo(account, { address, port: server.port }, { doing, signal });
  const connection = new SMTPConnection({ ...connectionOptions(server, address), ...(tunnel === undefined ? {} : { connection: tunnel }) });
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {});
  connection.on("error", reject);
  connection.on("end", () => reject(Object.assign(new Error("the server closed the connection"), { code: "ECONNECTION" })));
  const onAbort = () => {
    reject(signal?.reason);
    connection.close();
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([failed, promised((done) => connection.connect(done))]);
    const extensions = extensionsOf(connection);
    await Promise.race([failed, promised((done) => connection.login(login, done))]);
    return { sizeLimitBytes: sizeLimitOf(extensions), extensions };
  } catch (error) {
    signal?.throwIfAborted();
    throw toMailError(error, { doing, protocol: "smtp", preset: settings.preset, isSigningIn: true, secrets: [login.pass] });
  } finally {
    signal?.removeEventListener("abort", onAbort);
    connection.close();
  }
}

function connectionOptions(server: ServerSettings, address: string) {
  return {
    host: address,
    port: server.port,
    secure: server.security === "tls",
    requireTLS: server.security === "starttls",
    ignoreTLS: server.security === "none",
    ...(isIP(server.host) === 0 ? { servername: server.host } : {}),
    tls: tlsOptions(server),
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    socketTimeout: silenceMaxMs,
    logger: false,
  };
}

/** The keywords of the EHLO answer (RFC 5321 §4.1.1.1) with their parameters, as the server spells them. */
function extensionsOf(connection: SMTPConnection): readonly string[] {
  const { lastServerResponse } = connection as unknown as { readonly lastServerResponse?: unknown };
  if (typeof lastServerResponse !== "string") return [];
  return lastServerResponse
    .split(/\r?\n/)
    .slice(1)
    .map((line) => line.replace(/^250[ -]/, "").trim())
    .filter((line) => line !== "");
}

function sizeLimitOf(extensions: readonly string[]): number | null {
  const size = extensions.map((line) => /^SIZE\s+(\d+)$/i.exec(line)?.[1]).find((text) => text !== undefined);
  // RFC 1870 §4: zero says that there is no fixed limit.
  return size === undefined || Number(size) === 0 ? null : Number(size);
}

function promised(start: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}
