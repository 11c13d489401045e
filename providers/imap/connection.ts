import { isIP, type Socket } from "node:net";
import { rootCertificates, connect as startTls } from "node:tls";
import { ImapFlow, type ImapFlowOptions } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { FolderRole } from "../../domain/folder.ts";
import type { HostResolver } from "../../domain/host.ts";
import type { ConnectionTaker, Patience } from "../provider.ts";
import { boundAnswers } from "./answer-bound.ts";
import { type FailureContext, toMailError } from "./errors.ts";
import type { ImapCredentials, ImapSettings, ServerSettings } from "./settings.ts";
import { openTunnel } from "./tunnel.ts";

/** Everything that opening and reading one mailbox needs. */
export interface Account {
  readonly settings: ImapSettings;
  readonly credentials: ImapCredentials;
  readonly resolveHost: HostResolver;
  readonly takeConnection?: ConnectionTaker | undefined;
  readonly roleOverrides: Readonly<Record<string, FolderRole>>;
  readonly patience?: Partial<Patience> | undefined;
}

/**
 * What a server is allowed unless a caller says otherwise. A watch whose connection has silently died is found out after `aliveEveryMs` and `answerMs`: NATs
 * forget a connection after five minutes, servers after thirty (RFC 2177).
 */
export const defaultPatience: Patience = {
  connectMs: 20_000,
  signInMs: 90_000,
  silenceMs: 60_000,
  callMs: 5 * 60_000,
  aliveEveryMs: 4 * 60_000,
  answerMs: 30_000,
};

export function patienceOf(account: Account): Patience {
  return { ...defaultPatience, ...account.patience };
}

/** A literal larger than this is an attack or a fault: sources are read in pieces far below it. */
const literalBytesMax = 16 * 1024 * 1024;
/** The longest line is the answer of a server without ESEARCH that names three million UIDs. */
const lineBytesMax = 32 * 1024 * 1024;
/** Ten thousand parts, which is where servers stop reading a message, are a hundred thousand tokens; each costs a hundred bytes. */
const tokensMax = 300_000;

/** What broke a connection: calls that wait on it hear only that it is gone. */
const brokenBy = new WeakMap<ImapFlow, unknown>();

/** The error of a call, or the fault in the server's answer that ended the connection under it: that one another connection would meet again. */
export function reasonOf(client: ImapFlow, error: unknown, context: FailureContext): MailError {
  const failure = toMailError(error, context);
  if (failure.code !== "unavailable" || !brokenBy.has(client)) return failure;
  const broken = toMailError(brokenBy.get(client), context);
  return broken.code === "invalid_response" ? broken : failure;
}

/**
 * Connects and signs in. The address is the one the resolver allowed, while TLS checks the name (and so a name cannot point elsewhere between
 * check and use). Rejects with a MailError, and at once when the signal aborts.
 */
export async function connect(
  account: Account,
  doing: string,
  signal?: AbortSignal,
  { connectMs, signInMs, silenceMs }: Pick<Patience, "connectMs" | "signInMs" | "silenceMs"> = patienceOf(account),
): Promise<ImapFlow> {
  signal?.throwIfAborted();
  const { settings, credentials } = account;
  const server = settings.imap;
  const { address } = await account.resolveHost(server.host);
  signal?.throwIfAborted();
  const release = await account.takeConnection?.(settings.connectionsMax, signal);
  const tunnel = await tunnelTo(account, { address, port: server.port }, { doing, signal }).catch((error: unknown) => {
    release?.();
    throw error;
  });
  const client = new ImapFlow({
    host: address,
    port: server.port,
    secure: server.security === "tls",
    ...(server.security === "tls" ? {} : { doSTARTTLS: server.security === "starttls" }),
    ...(isIP(server.host) === 0 ? { servername: server.host } : {}),
    auth: { user: server.username, pass: credentials.password },
    tls: tlsOptions(server),
    ...(tunnel === undefined ? {} : { transport: transportOver(tunnel) }),
    logger: false,
    clientInfo: { name: "Everpost", vendor: "Everpost" },
    disableAutoIdle: true,
    // Costs Dovecot 400 µs a message and us 250 kB a connection.
    disableCompression: true,
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    socketTimeout: silenceMs,
    maxLiteralSize: literalBytesMax,
    maxLineLength: lineBytesMax,
    maxResponseSize: literalBytesMax + lineBytesMax,
    maxResponseTokens: tokensMax,
  });
  boundAnswers(client);
  // Without a listener, a connection that breaks while nobody waits for it would end the process.
  client.on("error", (error) => brokenBy.set(client, error));
  if (release !== undefined) client.once("close", release);
  const onAbort = () => client.close();
  signal?.addEventListener("abort", onAbort, { once: true });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    client.close();
  }, signInMs);
  try {
    await client.connect();
    forgetNamespace(client);
    return client;
  } catch (error) {
    client.close();
    release?.();
    signal?.throwIfAborted();
    if (isLate) throw new MailError("connection_timeout", { doing, cause: error });
    throw signInFailure(error, client, account, doing);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The way to a server through the mailbox's proxy; undefined where it has none. */
export async function tunnelTo(
  { settings, credentials, resolveHost }: Account,
  target: { readonly address: string; readonly port: number },
  options: { readonly doing: string; readonly signal?: AbortSignal | undefined },
): Promise<Socket | undefined> {
  const { proxy } = settings;
  return proxy ? openTunnel({ proxy, password: credentials.proxyPassword ?? null, resolveHost }, target, options) : undefined;
}

/**
 * ImapFlow over a connection that is there already. Its own `proxy` option would look names up by itself, past our check, and tell a proxy's failures
 * from the server's by words only.
 */
function transportOver(tunnel: Socket): NonNullable<ImapFlowOptions["transport"]> {
  type Way = Pick<Parameters<NonNullable<ImapFlowOptions["transport"]>["connect"]>[0], "host" | "servername" | "tls">;
  const secure = ({ host, servername, tls }: Way, onSecure: () => void) =>
    startTls({ ...tls, host, ...(servername === undefined ? {} : { servername }), socket: tunnel }, onSecure);
  return {
    connect(options, onConnect) {
      if (options.secure) return secure(options, onConnect);
      setImmediate(onConnect);
      return tunnel;
    },
    upgrade: (_plain, options, onSecure) => secure(options, onSecure),
  };
}

/**
 * Paths are the server's own, whole. ImapFlow would put the personal namespace before each that does not begin with it, and a shared folder could not
 * be named at all.
 */
function forgetNamespace(client: ImapFlow): void {
  client.namespace = { prefix: "", delimiter: client.namespace?.delimiter ?? "" };
}

/** What TLS must hold to for this server; the same for IMAP and SMTP. */
export function tlsOptions(server: ServerSettings) {
  return {
    minVersion: "TLSv1.2" as const,
    rejectUnauthorized: !server.allowSelfSigned,
    ...(server.caCertificate === null ? {} : { ca: [...rootCertificates, server.caCertificate] }),
  };
}

function signInFailure(error: unknown, client: ImapFlow, { settings, credentials }: Account, doing: string): MailError {
  // A BYE in place of a greeting or an answer carries the reason that the closed socket lacks.
  const { byeReason: farewell } = client as unknown as { readonly byeReason?: string };
  const context = { doing, protocol: "imap", preset: settings.preset, isSigningIn: true, secrets: [credentials.password], farewell } as const;
  if (error instanceof Error && typeof farewell === "string" && (error as { response?: unknown }).response === undefined) {
    return toMailError(Object.assign(error, { response: farewell }), context);
  }
  return toMailError(error, context);
}
