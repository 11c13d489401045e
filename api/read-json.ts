import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import type { Request } from "express";
import { ApiError } from "./errors.ts";

const bytesMax = 1_048_576;

/**
 * The request's body, parsed; undefined where there is none. Called after the caller is known, so that a stranger's megabyte is never read. Not by Express's
 * own parser: that reads what is too large to its end before it says so.
 */
export async function readJson(request: Request): Promise<unknown> {
  const declared = Number(request.get("Content-Length") ?? 0);
  if (request.get("Transfer-Encoding") === undefined && declared === 0) return undefined;
  if (!request.is(["application/json", "application/*+json"])) {
    throw new ApiError("unsupported_media_type", {
      detail: `The body's Content-Type is ${request.get("Content-Type") === undefined ? "missing" : "not JSON"}.`,
    });
  }
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(request.get("Content-Type") ?? "")?.[1] ?? "utf-8";
  if (!/^(utf-?8|us-ascii)$/i.test(charset)) throw new ApiError("unsupported_media_type", { detail: "The body's charset is not UTF-8." });
  if (declared > bytesMax) throw new ApiError("payload_too_large");
  return parse(await readBytes(request));
}

const decoders = { gzip: createGunzip, "x-gzip": createGunzip, deflate: createInflate, br: createBrotliDecompress } as const;

/** Neither reading nor refusing ends the request: whoever sends it is to hear the answer. */
async function readBytes(request: Request): Promise<Buffer> {
  const encoding = (request.get("Content-Encoding") ?? "identity").trim().toLowerCase();
  if (encoding === "identity") return collect(request.iterator({ destroyOnReturn: false }));
  if (!Object.hasOwn(decoders, encoding)) {
    throw new ApiError("unsupported_media_type", { detail: "The body's Content-Encoding is not one of gzip, deflate and br." });
  }
  const unpacked = decoders[encoding as keyof typeof decoders]();
  const onClose = () => {
    if (!request.complete) unpacked.destroy(new Error("the connection closed"));
  };
  request.pipe(unpacked);
  request.once("close", onClose);
  try {
    return await collect(unpacked);
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new ApiError("malformed_json", { detail: "The body is not compressed as its Content-Encoding says.", cause });
  } finally {
    request.off("close", onClose);
    request.unpipe(unpacked);
    unpacked.destroy();
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of stream) {
    bytes += piece.length;
    if (bytes > bytesMax) throw new ApiError("payload_too_large");
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function parse(bytes: Buffer): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text === "" ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new ApiError("malformed_json", { cause });
  }
}
