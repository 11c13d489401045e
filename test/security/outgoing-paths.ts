import { MailError } from "../../domain/errors.ts";
import type { HostResolver } from "../../domain/host.ts";
import { fetchText } from "../../providers/imap/fetch-text.ts";
import { imap } from "../../providers/imap/index.ts";
import type { ImapCredentials, ImapSettings } from "../../providers/imap/settings.ts";
import { testSending } from "../../providers/imap/smtp.ts";
import { openTunnel } from "../../providers/imap/tunnel.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { newSigningSecret } from "../../webhooks/sign.ts";

/** Goes to the host as it would for a customer; resolves to the code of the refusal, or to whatever else became of it. */
export type Attempt = (host: string, resolveHost: HostResolver) => Promise<string>;

const port = 9;
const patience = { connectMs: 500, signInMs: 1_000 };

/** Every way on which a connection goes where a customer, a sender or a server of theirs says. */
export const outgoingPaths = {
  "a webhook": async (host, resolveHost) => {
    const deliverer = createDeliverer({ resolveHost, timeoutMs: 1_000 });
    try {
      const outcome = await deliverer.deliver({ url: `http://${inUrl(host)}:${port}/`, id: "evt_1", body: "{}", secrets: [newSigningSecret()] });
      return outcome.kind === "refused" ? "private_address_refused" : String(outcome.error);
    } finally {
      await deliverer.close();
    }
  },
  IMAP: (host, resolveHost) => codeOf(verify({ host }, resolveHost)),
  "IMAP behind a proxy": (host, resolveHost) => codeOf(verify({ host, proxy: "socks5" }, resolveHost)),
  SMTP: (host, resolveHost) => codeOf(testSending(account({ host }, resolveHost))),
  "SMTP behind a proxy": (host, resolveHost) => codeOf(testSending(account({ host, proxy: "http" }, resolveHost))),
  "a SOCKS5 proxy": (host, resolveHost) => codeOf(tunnel("socks5", host, resolveHost)),
  "a SOCKS4 proxy": (host, resolveHost) => codeOf(tunnel("socks4", host, resolveHost)),
  "an HTTP proxy": (host, resolveHost) => codeOf(tunnel("http", host, resolveHost)),
  "an autoconfig file": (host, resolveHost) => codeOf(fetchText(`https://${inUrl(host)}:${port}/mail/config-v1.1.xml`, resolveHost)),
} as const satisfies Record<string, Attempt>;

export type OutgoingPath = keyof typeof outgoingPaths;

/** The proxy of the paths behind one: a public address, so that it is the target that is refused. */
export const proxyAddress = "93.184.215.1";

interface Where {
  readonly host: string;
  readonly proxy?: "socks5" | "http";
}

/** Past the schema of requests, which takes few spellings: what counts is what a connection does with each. */
function account({ host, proxy }: Where, resolveHost: HostResolver) {
  const { settings, credentials } = imap.split(
    {
      password: "secret",
      imap: { host: "mail.example", port, security: "none", allowInsecure: true },
      ...(proxy === undefined ? {} : { proxy: { type: proxy, host: proxyAddress, port } }),
    },
    "ann@example.test",
  ) as { readonly settings: ImapSettings; readonly credentials: ImapCredentials };
  const server = { ...settings.imap, host };
  return { settings: { ...settings, imap: server, smtp: server }, credentials, resolveHost, roleOverrides: {}, patience };
}

async function verify(where: Where, resolveHost: HostResolver): Promise<unknown> {
  const { settings, credentials, ...options } = account(where, resolveHost);
  const provider = imap.open(settings, credentials, options);
  try {
    return await provider.verify();
  } finally {
    await provider.close();
  }
}

function tunnel(type: "socks5" | "socks4" | "http", host: string, resolveHost: HostResolver) {
  const proxy = { type, host, port, username: null };
  return openTunnel({ proxy, password: null, resolveHost }, { address: "93.184.215.2", port }, { doing: "trying", timeoutMs: 500 });
}

function inUrl(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "went on";
  } catch (error) {
    if (error instanceof MailError) return error.code;
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

/**
 * Every file that can open a connection by itself, because it loads a module or calls a function that does: for whom it goes out. A new one begins with a
 * line here; where strangers say where to, its way stands above and is tried with every address.
 */
export const whoConnects: Readonly<Record<string, { readonly paths: readonly OutgoingPath[] } | { readonly reason: string }>> = {
  "webhooks/deliver.ts": { paths: ["a webhook"] },
  "providers/imap/connection.ts": { paths: ["IMAP", "IMAP behind a proxy"] },
  "providers/imap/smtp.ts": { paths: ["SMTP", "SMTP behind a proxy"] },
  "providers/imap/tunnel.ts": { paths: ["a SOCKS5 proxy", "a SOCKS4 proxy", "an HTTP proxy"] },
  "providers/imap/fetch-text.ts": { paths: ["an autoconfig file"] },
  "providers/imap/autodetect.ts": { reason: "asks the machine's name servers for MX and SRV records, and connects to nobody" },
  "network/resolve-host.ts": { reason: "is the judge" },
  "blobs/s3.ts": { reason: "the bucket is the operator's, named in the environment and by nobody else" },
  "api/listener.ts": { reason: "listens" },
  "db/database.ts": { reason: "the database is the operator's" },
  "db/listener.ts": { reason: "the database is the operator's" },
  "db/connection-slots.ts": { reason: "the database is the operator's" },
  "embedded/postgres.ts": { reason: "starts and asks the embedded PostgreSQL" },
  "embedded/temporal-binary.ts": { reason: "downloads from where the operator says" },
  "embedded/first-run.ts": { reason: "asks the API on loopback" },
  "embedded/ports.ts": { reason: "looks for free ports" },
};
