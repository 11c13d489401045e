import { Agent, request as httpRequest, type IncomingMessage } from "node:http";

/** A request byte by byte: nothing about it is put right on its way. */
export interface RawRequest {
  readonly method: string;
  /** Path and query as they go over the wire. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer | undefined;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  readonly ms: number;
}

export interface Wire {
  /** Rejects when nothing has been answered by the deadline. A stream is read for a moment and left. */
  send(request: RawRequest, options: { readonly timeoutMs: number; readonly isStream: boolean }): Promise<RawAnswer>;
  close(): void;
}

const streamReadMs = 30;

export function openWire(url: string): Wire {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  return {
    send({ method, target, headers, body }, { timeoutMs, isStream }) {
      const startedAt = performance.now();
      const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
      const flat = [
        ["Host", `${hostname}:${port}`],
        ...headers,
        ...(body === undefined && ["GET", "HEAD"].includes(method) ? [] : [["Content-Length", String(body?.length ?? 0)]]),
      ].flat();
      const sent = httpRequest({ agent, hostname, port, method, path: target, headers: flat as string[] });
      const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      let isAnswered = false;
      sent.on("response", (response) => {
        isAnswered = true;
        const chunks: Buffer[] = [];
        const end = () => {
          clearTimeout(timer);
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, ms: performance.now() - startedAt });
        };
        response.on("data", (chunk: Buffer) => {
          if (chunks.length === 0 && isStream && response.statusCode === 200) {
            setTimeout(() => {
              end();
              sent.destroy();
            }, streamReadMs);
          }
          chunks.push(chunk);
        });
        response.on("end", end).on("error", (error) => {
          clearTimeout(timer);
          reject(new Error("the answer broke off", { cause: error }));
        });
      });
      sent.on("error", (error) => {
        // A request that is refused unread has its connection closed under it, behind an answer.
        if (isAnswered) return;
        clearTimeout(timer);
        reject(error);
      });
      sent.end(body);
      return promise;
    },
    close: () => agent.destroy(),
  };
}

/** The line that sends the same request again. Keys of a fuzzed installation are nobody's secret. */
export function toCurl(url: string, { method, target, headers, body }: RawRequest): string {
  const parts = ["curl", "-sS", "-i", "--path-as-is", "-g", ...(method === "HEAD" ? ["-I"] : ["-X", method]), shellQuote(`${url}${target}`)];
  for (const [name, value] of headers) parts.push("-H", shellQuote(value === "" ? `${name};` : `${name}: ${value}`));
  if (body === undefined) return parts.join(" ");
  if (!headers.some(([name]) => name.toLowerCase() === "content-type")) parts.push("-H", "'Content-Type:'");
  const text = body.toString();
  const isPlain = Buffer.from(text).equals(body) && text.length <= 4_000 && !text.includes("\0");
  return [
    ...parts,
    "--data-binary",
    isPlain ? shellQuote(text.startsWith("@") ? `${text}` : text) : `@<(base64 -d <<< ${body.toString("base64")})`,
  ].join(" ");
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
