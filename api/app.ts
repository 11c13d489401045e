import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler, type Response } from "express";
import helmet from "helmet";
import { newId } from "../db/ids.ts";
import type { ApiDeps } from "./deps.ts";
import { docsPages } from "./docs.ts";
import { ApiError, notFound, toProblemAnswer } from "./errors.ts";
import { createDocument } from "./openapi.ts";
import { createRateLimit } from "./rate-limit.ts";
import { beginNotes, notesOf } from "./request-notes.ts";
import type { Route } from "./route.ts";
import { routes as allRoutes } from "./routes/index.ts";
import { sendJson, serve } from "./serve.ts";

/** The API as an Express app that listens to nothing. */
export function createApp(deps: ApiDeps, routes: readonly Route[] = allRoutes): Express {
  const app = express();
  const rateLimit = createRateLimit(deps.config.api.rateLimitPerMinute);
  app.disable("etag").set("query parser", "simple").set("case sensitive routing", true);
  app.use(identify, logRequest(deps), secureHeaders);
  for (const route of routes) app[route.method](toExpressPath(route.path), jsonHeaders, serve(route, deps, rateLimit));
  app.use(docsPages(createDocument(routes)));
  app.use(refuseMethod(routes), () => {
    throw notFound("path");
  });
  app.use(answerProblem(deps));
  return app;
}

/** The caller's own request id if it is harmless in logs and headers, else a new one; always sent back. */
const identify: RequestHandler = (request, response, next) => {
  const given = request.get("X-Request-Id");
  const requestId = given !== undefined && /^[\w.:-]{8,100}$/.test(given) ? given : newId("request");
  beginNotes(request, requestId);
  response.set("X-Request-Id", requestId);
  next();
};

/** One line a request: by the route's pattern, never the path's ids alone, and never a body or a header. */
function logRequest({ log }: ApiDeps): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    response.on("close", () => {
      const { requestId, routePath = null, keyId, customerId } = notesOf(request);
      const durationMs = Math.round(performance.now() - startedAt);
      const isCut = !response.writableFinished;
      log.info(
        {
          requestId,
          method: request.method,
          route: routePath,
          status: response.statusCode,
          durationMs,
          keyId,
          customerId,
          ...(isCut ? { isCut } : {}),
        },
        "request",
      );
    });
    next();
  };
}

/** Nothing of the API is a page: no scripts, no frames. The docs set a policy of their own. */
const secureHeaders = helmet({
  contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
});

const jsonHeaders: RequestHandler = (_request, response, next) => {
  response.set({ "Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store" });
  next();
};

/** `/v1/mailboxes/{id}` as Express writes it. */
function toExpressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

function refuseMethod(routes: readonly Route[]): RequestHandler {
  const paths = new Map<string, string[]>();
  for (const { path, method } of routes) paths.set(path, [...(paths.get(path) ?? []), method.toUpperCase()]);
  const known = [...paths].map(([path, methods]) => ({ pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}/?$`), methods }));
  return (request, _response, next) => {
    const methods = known.filter(({ pattern }) => pattern.test(request.path)).flatMap((path) => path.methods);
    if (methods.length === 0) return next();
    throw new ApiError("method_not_allowed", { detail: `This path takes ${methods.join(", ")}.`, headers: { Allow: methods.join(", ") } });
  };
}

/** The only place where an error becomes an answer. A fault of ours is told to the log with everything, to the caller with the request id. */
function answerProblem({ log }: ApiDeps): ErrorRequestHandler {
  return (thrown, request, response, _next) => {
    const { requestId } = notesOf(request);
    const { status, headers, body } = toProblemAnswer(thrown, requestId);
    if (status >= 500) log.error({ err: thrown, requestId }, "a request failed");
    if (response.headersSent) {
      response.destroy();
      return;
    }
    response.status(status).set(headers).set({ "Content-Type": "application/problem+json", "Cache-Control": "no-store" });
    if (request.complete || !hasBody(request)) sendJson(response, body);
    else answerUnread(request, response, Buffer.from(JSON.stringify(body)));
  };
}

/** Known before the last byte of the head is parsed, when `complete` is not. */
function hasBody(request: Request): boolean {
  return request.get("Transfer-Encoding") !== undefined || Number(request.get("Content-Length") ?? 0) > 0;
}

/** Long enough for a client to notice that it was answered. */
const lingerMs = 1_000;
/** What such a client sends meanwhile is read and thrown away, so that it comes to reading; beyond this it is left to wait. */
const lingerBytesMax = 4 * 1_048_576;

/**
 * Answers a request whose body was not read to its end. What is left of it would be taken for the next request, so the connection ends; but not before the
 * client has had time to read why, because what a closed connection still receives makes the client's system forget what it was sent.
 */
function answerUnread(request: Request, response: Response, text: Buffer): void {
  response.set({ Connection: "close", "Content-Length": String(text.length) });
  response.write(text);
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, lingerMs);
  let bytes = 0;
  request.once("end", end).once("close", end);
  request.on("data", (piece: Buffer) => {
    bytes += piece.length;
    if (bytes > lingerBytesMax) request.pause();
  });
}
