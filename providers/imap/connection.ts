import { isIP, type Socket } from "node:net";
import { rootCertificates, connect as startTls } from "node:tls";
import { ImapFlow, type ImapFlowOptions } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { FolderRole } from "../../domain/folder.ts";
import type { ConnectionTaker, HostResolver } from "../provider.ts";
import { toMailError } from "./errors.ts";
import type { ImapCredentials, ImapSettings, ServerSettings } from "./settings.ts";
import { openTunnel } from "./tunnel.ts";

/** Everything that opening and reading one mailbox needs. */
export interface Account {
  readonly settings: ImapSettings;
  readonly credentials: ImapCredentials;
  readonly resolveHost: HostResolver;
  readonly takeConnection?: ConnectionTaker | undefined;
  readonly roleOverrides: Readonly<Record<string, FolderRole>>;
}

/** Time for TCP, TLS and the greeting each; a server that needs longer is no use to anybody. */
const connectTimeoutMs = 20_000;
/** Time for all of it. A server that answers a byte a second is never silent, and no use either. */
const signInTimeoutMs = 90_000;
/** Silence of the server while an answer is due. Large searches may think for a while. */
const silenceMaxMs = 60_000;
/** A single answer larger than this is an attack or a fault: sources are read in pieces far below it. */
const literalBytesMax = 64 * 1024 * 1024;

/**
 * Connects and signs in. The address is the one the resolver allowed, while TLS checks the name (and so a name cannot point elsewhere between
 * check and use). Rejects with a MailError, and at once when the signal aborts.
 */
export async function connect(
  account: Account,
  doing: string,
  signal?: AbortSignal,
  options: { readonly silenceMaxMs?: number; readonly signInTimeoutMs?: number } = {},
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
    connectionTimeout: connectTimeoutMs,
    greetingTimeout: connectTimeoutMs,
    socketTimeout: options.silenceMaxMs ?? silenceMaxMs,
    maxLiteralSize: literalBytesMax,
    maxLineLength: literalBytesMax,
    maxResponseSize: 2 * literalBytesMax,
  });
  // Without a listener, a connection that breaks while nobody waits for it would end the process.
  client.on("error", () => {});
  if (release !== undefined) client.once("close", release);
  const onAbort = () => client.close();
  signal?.addEventListener("abort", onAbort, { once: true });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    client.close();
  }, options.signInTimeoutMs ?? signInTimeoutMs);
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
  const context = { doing, protocol: "imap", preset: settings.preset, isSigningIn: true, secrets: [credentials.password] } as const;
  // A BYE in place of a greeting or an answer carries the reason that the closed socket lacks.
  const byeReason = (client as unknown as { byeReason?: unknown }).byeReason;
  if (error instanceof Error && typeof byeReason === "string" && (error as { response?: unknown }).response === undefined) {
    return toMailError(Object.assign(error, { response: byeReason }), context);
  }
  return toMailError(error, context);
}
