import { isIP } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { rootCertificates } from "node:tls";
import { Agent, buildConnector, type Dispatcher, errors } from "undici";
import { MailError } from "../domain/errors.ts";
import type { HostResolver } from "../domain/host.ts";
import { signWebhook } from "./sign.ts";

export interface DelivererOptions {
  readonly resolveHost: HostResolver;
  /** An attempt that has no answer after this time has failed. */
  readonly timeoutMs?: number;
  /** Certificates to trust besides the well-known ones; tests sign their own. */
  readonly ca?: string;
}

export interface WebhookPost {
  readonly url: string;
  /** The event's id. */
  readonly id: string;
  readonly body: string;
  readonly secrets: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** What one attempt came to. `error` says it in a few words and holds nothing that the receiver sent. */
export type DeliveryOutcome = { readonly status: number | null; readonly durationMs: number } & (
  | { readonly kind: "delivered"; readonly error: null }
  /** Worth another attempt, not before `retryAfterMs` if that is there. */
  | { readonly kind: "retry"; readonly error: string; readonly retryAfterMs: number | undefined }
  /** The receiver answered 410: it wants nothing more, ever. */
  | { readonly kind: "gone"; readonly error: string }
  /** We would not connect there: the host's address is not public. */
  | { readonly kind: "refused"; readonly error: string }
);

export interface Deliverer {
  /** Makes one attempt. Never throws for what the receiver or the network does; rejects only when `signal` aborts. */
  deliver(post: WebhookPost): Promise<DeliveryOutcome>;
  /** Ends the connections that are kept open for the next delivery. */
  close(): Promise<void>;
}

/**
 * Posts signed events. Connections are kept alive per origin and shared by all deliveries of the process; each new one asks the resolver for its
 * address and goes to that address and no other, with the URL's host in Host and SNI. Redirects are answers like any other: they are not followed.
 */
export function createDeliverer(options: DelivererOptions): Deliverer {
  const { resolveHost, timeoutMs = 15_000, ca } = options;
  const agent = new Agent({
    connect: pinnedConnector(resolveHost, { timeoutMs, ca }),
    allowH2: false,
    pipelining: 1,
    headersTimeout: timeoutMs,
    bodyTimeout: answerMsMax,
    keepAliveTimeout: 10_000,
    maxHeaderSize: 16_384,
  });
  return {
    deliver: (post) => attempt(agent, timeoutMs, post),
    close: () => agent.destroy(),
  };
}

/** Read so that the connection can be used again; a longer answer costs its sender the connection. */
const answerBytesMax = 4_096;
/** The status is known and the delivery done: a body that does not end may hold its slot no longer than this. */
const answerMsMax = 2_000;

async function attempt(agent: Agent, timeoutMs: number, post: WebhookPost): Promise<DeliveryOutcome> {
  const started = performance.now();
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = post.signal === undefined ? timeout : AbortSignal.any([timeout, post.signal]);
  try {
    const response = await send(agent, post, signal);
    const durationMs = Math.round(performance.now() - started);
    await dropBody(response);
    return { durationMs, ...judge(response) };
  } catch (error) {
    if (post.signal?.aborted === true) throw post.signal.reason;
    const durationMs = Math.round(performance.now() - started);
    if (isRefusal(error)) return { kind: "refused", status: null, durationMs, error: "the host's address is not allowed" };
    const said = timeout.aborted ? `no answer within ${timeoutMs / 1000} s` : describe(error);
    return { kind: "retry", status: null, durationMs, error: said, retryAfterMs: undefined };
  }
}

function send(agent: Agent, { url, id, body, secrets }: WebhookPost, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
  const { origin, pathname, search } = new URL(url);
  const headers = {
    "content-type": "application/json; charset=utf-8",
    "user-agent": "Everpost-Webhooks/1",
    ...signWebhook({ id, timestampSeconds: Math.floor(Date.now() / 1000), body }, secrets),
  };
  return agent.request({ origin, path: `${pathname}${search}`, method: "POST", headers, body, signal });
}

async function dropBody({ body }: Dispatcher.ResponseData): Promise<void> {
  // A body that breaks off changes nothing: the status has been said.
  await body.dump({ limit: answerBytesMax, signal: AbortSignal.timeout(answerMsMax) }).catch(() => body.destroy());
}

type Verdict = DeliveryOutcome extends infer Outcome ? (Outcome extends unknown ? Omit<Outcome, "durationMs"> : never) : never;

function judge({ statusCode: status, headers }: Dispatcher.ResponseData): Verdict {
  if (status >= 200 && status < 300) return { kind: "delivered", status, error: null };
  if (status === 410) return { kind: "gone", status, error: "the endpoint answered 410 Gone" };
  const error = status >= 300 && status < 400 ? `answered ${status}; redirects are not followed` : `answered ${status}`;
  return { kind: "retry", status, error, retryAfterMs: retryAfter(headers["retry-after"]) };
}

/** RFC 9110 §10.2.3: seconds or a date. Anything else is as if it were not there. */
function retryAfter(header: string | string[] | undefined): number | undefined {
  const text = Array.isArray(header) ? header[0] : header;
  if (text === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

function pinnedConnector(resolveHost: HostResolver, { timeoutMs, ca }: { timeoutMs: number; ca: string | undefined }): buildConnector.connector {
  const connect = buildConnector({ allowH2: false, timeout: timeoutMs, ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }) });
  return (target, callback) => {
    const host = target.hostname;
    const resolving = Promise.race([
      resolveHost(host),
      pause(timeoutMs, undefined, { ref: false }).then(() => Promise.reject(new Error("DNS timeout"))),
    ]);
    resolving.then(
      ({ address }) => {
        // The certificate is checked against the name that was asked for, or against the address where the URL holds one.
        const servername = target.protocol === "https:" && isIP(host.replace(/^\[|\]$/g, "")) === 0 ? { servername: host } : {};
        connect({ ...target, hostname: address, ...servername }, callback);
      },
      (error: Error) => callback(error, null),
    );
  };
}

function isRefusal(error: unknown): boolean {
  return error instanceof MailError && error.code === "private_address_refused";
}

/** Our own words for what is usual, and the error's code otherwise: its message may hold addresses. */
function describe(error: unknown): string {
  if (error instanceof MailError) return "the host name was not found";
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.ConnectTimeoutError) return "no answer in time";
  if (error instanceof errors.HTTPParserError) return "the answer is not HTTP";
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
  return connectionErrors[code] ?? (code === "" ? "the connection failed" : `the connection failed (${code})`);
}

const connectionErrors: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was closed",
  UND_ERR_SOCKET: "the connection was closed",
  UND_ERR_HEADERS_OVERFLOW: "the answer's headers are too large",
  EHOSTUNREACH: "the host is not reachable",
  ENETUNREACH: "the host is not reachable",
  ETIMEDOUT: "no answer in time",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the certificate is not trusted (self-signed)",
  SELF_SIGNED_CERT_IN_CHAIN: "the certificate is not trusted (self-signed)",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the certificate is not trusted (its issuer is missing)",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the certificate is not trusted (its issuer is missing)",
  CERT_HAS_EXPIRED: "the certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "the certificate is for another host",
};
