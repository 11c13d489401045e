import { rootCertificates } from "node:tls";
import { Agent, request } from "undici";
import type { HostResolver } from "../../domain/host.ts";

const timeoutMs = 8_000;
const bytesMax = 64 * 1024;
/** Autoconfig hosts forward to a provider's; longer chains are loops. */
const redirectsMax = 3;

/**
 * A small text by https; undefined where the server has none. Every hop goes to the address that the resolver allowed for its host, so neither a
 * name nor a redirect leads into a private network.
 */
export async function fetchText(url: string, resolveHost: HostResolver, trust: Trust = {}): Promise<string | undefined> {
  const signal = AbortSignal.timeout(timeoutMs);
  let target = URL.parse(url);
  for (let hop = 0; hop <= redirectsMax; hop += 1) {
    if (target?.protocol !== "https:") return undefined;
    const answer = await fetchOnce(target, resolveHost, trust, signal);
    if (answer.location === undefined) return answer.text;
    target = URL.parse(answer.location, target.href);
  }
  return undefined;
}

/** Certificates to trust besides the well-known ones; tests sign their own. */
interface Trust {
  readonly ca?: string;
}

interface Answer {
  readonly text: string | undefined;
  readonly location: string | undefined;
}

async function fetchOnce(target: URL, resolveHost: HostResolver, { ca }: Trust, signal: AbortSignal): Promise<Answer> {
  const { address, family } = await resolveHost(target.hostname);
  const dispatcher = new Agent({
    connect: {
      timeout: timeoutMs,
      ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
      lookup: (_host, options, done) => (options.all ? done(null, [{ address, family }]) : done(null, address, family)),
    },
  });
  try {
    const { statusCode, headers, body } = await request(target, { dispatcher, signal, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
    if (statusCode >= 300 && statusCode < 400 && typeof headers.location === "string") return { text: undefined, location: headers.location };
    return { text: statusCode === 200 ? await readText(body) : undefined, location: undefined };
  } finally {
    await dispatcher.destroy();
  }
}

async function readText(body: AsyncIterable<Buffer>): Promise<string | undefined> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > bytesMax) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}
