import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Request, Response } from "express";
import { type ByteRange, readRange } from "./byte-range.ts";
import { attachmentDisposition } from "./content-disposition.ts";
import { ApiError } from "./errors.ts";

/** Something that a request downloads. */
export interface Content {
  readonly contentType: string;
  readonly fileName: string;
  /** Known for what is kept; ranges are served only then. */
  readonly sizeBytes?: number | undefined;
  /** Names these bytes and no others, for `If-Range`. */
  readonly etag?: string | undefined;
  /** Opens it and gives it to `take`, until whose end what it comes from is held. Not called for HEAD. */
  read(range: ByteRange | undefined, signal: AbortSignal, take: (stream: Readable) => Promise<void>): Promise<void>;
}

/** A client that takes nothing for so long is gone, or might as well be: what it holds is wanted by others. */
const stalledMsMax = 120_000;

/**
 * Streams a content as a download: as fast as the client takes it, in parts where it asks for them, and given up as soon as it hangs up. A failure before the
 * first byte is a problem like any other; after it, the connection is cut, so that half a file is not taken for a whole one.
 */
export async function sendContent(request: Request, response: Response, content: Content): Promise<void> {
  const { status, headers, range } = plan(request, content);
  const secure = downloadHeaders(content);
  const write = () => {
    response.status(status);
    // Express would add a charset to what is text.
    for (const [name, value] of Object.entries({ ...secure, ...headers })) response.setHeader(name, value);
  };
  if (request.method === "HEAD") {
    write();
    response.end();
    return;
  }
  await sendStream(response, (signal, take) => content.read(range, signal, take), write);
}

/** What makes a response a download, and nothing that a browser would show or run. */
export function downloadHeaders({ contentType, fileName }: Pick<Content, "contentType" | "fileName">): Readonly<Record<string, string>> {
  return {
    "Content-Type": safeType(contentType),
    "Content-Disposition": attachmentDisposition(fileName),
    // Mail is anybody's: whatever it is, it is not to run under this host's name.
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
  };
}

/** Pipes what `read` opens into the response, and tells `read` by the signal when the client is gone. `onOpen` writes the headers, `onEnd` the trailers. */
export async function sendStream(
  response: Response,
  read: (signal: AbortSignal, take: (stream: Readable) => Promise<void>) => Promise<void>,
  onOpen: () => void,
  onEnd: () => void = () => {},
): Promise<void> {
  const hangUp = new AbortController();
  const onClose = () => hangUp.abort();
  response.once("close", onClose);
  try {
    await read(hangUp.signal, async (stream) => {
      onOpen();
      response.setTimeout(stalledMsMax, () => response.destroy());
      await pipeline(stream, response, { signal: hangUp.signal, end: false });
      onEnd();
      response.end();
    });
  } catch (error) {
    // Nobody is there to be told.
    if (hangUp.signal.aborted) return;
    // What was to be a download becomes a problem.
    if (!response.headersSent) for (const name of downloadOnly) response.removeHeader(name);
    throw error;
  } finally {
    response.off("close", onClose);
  }
}

const downloadOnly = ["Content-Disposition", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Trailer"] as const;

interface Plan {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly range: ByteRange | undefined;
}

function plan(request: Request, { sizeBytes, etag }: Content): Plan {
  const tag = etag === undefined ? {} : { ETag: `"${etag}"` };
  if (sizeBytes === undefined) return { status: 200, headers: { "Accept-Ranges": "none", ...tag }, range: undefined };
  const ifRange = request.get("If-Range");
  const isWanted = ifRange === undefined || ifRange === `"${etag}"`;
  const range = readRange(isWanted ? request.get("Range") : undefined, sizeBytes);
  if (range === "unsatisfiable") {
    throw new ApiError("range_not_satisfiable", { detail: `There are ${sizeBytes} bytes.`, headers: { "Content-Range": `bytes */${sizeBytes}` } });
  }
  const shared = { "Accept-Ranges": "bytes", ...tag };
  if (range === "all") return { status: 200, headers: { ...shared, "Content-Length": String(sizeBytes) }, range: undefined };
  const { first, last } = range;
  const headers = { ...shared, "Content-Length": String(last - first + 1), "Content-Range": `bytes ${first}-${last}/${sizeBytes}` };
  return { status: 206, headers, range };
}

/** What the sender called it, if that is a type at all. */
function safeType(contentType: string): string {
  return /^[a-z0-9][\w.+-]{0,60}\/[a-z0-9][\w.+-]{0,100}$/i.test(contentType) ? contentType.toLowerCase() : "application/octet-stream";
}
