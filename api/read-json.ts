import express, { type Request, type Response } from "express";
import { ApiError } from "./errors.ts";

const parse = express.json({ limit: "1mb", type: () => true, strict: false });

/** The request's body, parsed; undefined where there is none. Called after the caller is known, so that a stranger's megabyte is never read. */
export async function readJson(request: Request, response: Response): Promise<unknown> {
  if (request.get("Transfer-Encoding") === undefined && Number(request.get("Content-Length") ?? 0) === 0) return undefined;
  if (!request.is(["application/json", "application/*+json"])) {
    throw new ApiError("unsupported_media_type", {
      detail: `The body's Content-Type is ${request.get("Content-Type") === undefined ? "missing" : "not JSON"}.`,
    });
  }
  await new Promise<void>((resolve, reject) =>
    parse(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(orMisdeclared(error)))),
  );
  return request.body;
}

/** zlib's complaints are the only ones that body-parser passes on without a type of its own. */
function orMisdeclared(error: unknown): unknown {
  if (!(error instanceof Error) || "type" in error || !("code" in error) || !/^(Z_|ERR_)/.test(String(error.code))) return error;
  return new ApiError("malformed_json", { detail: "The body is not compressed as its Content-Encoding says.", cause: error });
}
