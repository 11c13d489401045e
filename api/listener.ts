import { createServer, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { newId } from "../db/ids.ts";
import { ApiError, type ApiErrorCode, toProblemAnswer } from "./errors.ts";

/** Headers alone cannot take longer: nobody who means well needs seconds for 16 kB. */
const headersMsMax = 20_000;
/** A whole request, whose body is 1 MB at most. */
const requestMsMax = 60_000;
/** How far behind the two bounds above a connection may be noticed. */
const checkedEveryMs = 1_000;
/** The request line with all headers. */
const headBytesMax = 16_384;
/** Far more than any client or proxy sends. Node drops what is above its own bound in silence; one more than ours tells us that there were too many. */
const headersMax = 200;
/** Answers that one connection may be owed: Node runs pipelined requests beside each other, and a connection would otherwise hold as many as it likes. */
const unansweredMax = 32;

export interface ListenerOptions {
  /** Connections at once; one more is closed as it comes. */
  readonly connectionsMax: number;
  /** Tests wait less long. */
  readonly headersMs?: number;
  readonly requestMs?: number;
}

/**
 * The HTTP server in front of the app, with a bound on whatever a stranger can make it wait for or keep. What HTTP itself refuses is a problem like any other,
 * written by hand because there is no request yet that could be answered.
 */
export function createListener(app: RequestListener, options: ListenerOptions): Server {
  const { connectionsMax, headersMs = headersMsMax, requestMs = requestMsMax } = options;
  const owed = new WeakMap<Socket, Set<ServerResponse>>();
  const server = createServer({
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: Math.min(checkedEveryMs, headersMs),
    maxHeaderSize: headBytesMax,
    // Longer than a load balancer keeps an idle connection, so that it is never we who close one it is about to use.
    keepAliveTimeout: 75_000,
  });
  server.maxHeadersCount = headersMax + 1;
  server.maxConnections = connectionsMax;
  server.on("request", (request, response) => {
    const { socket } = request;
    const unanswered = owed.get(socket) ?? new Set();
    owed.set(socket, unanswered.add(response));
    response.once("close", () => unanswered.delete(response));
    if (request.rawHeaders.length > 2 * headersMax) return refuse(response, "headers_too_large", `There are more than ${headersMax} headers.`);
    if (unanswered.size > unansweredMax) {
      return refuse(response, "rate_limited", `More than ${unansweredMax} requests were sent on one connection before the first was answered.`);
    }
    app(request, response);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    const begun = [...(owed.get(socket) ?? [])].some((response) => response.headersSent);
    // In the middle of an answer, another one would be taken for a part of it.
    if (socket.writable && !begun && error.code !== "ECONNRESET") socket.write(rawAnswer(httpFaults[error.code ?? ""] ?? "malformed_request"));
    socket.destroySoon();
  });
  return server;
}

/** What Node's parser and clock refuse; all else is no HTTP. */
const httpFaults: Readonly<Record<string, ApiErrorCode>> = {
  HPE_HEADER_OVERFLOW: "headers_too_large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "payload_too_large",
  ERR_HTTP_REQUEST_TIMEOUT: "request_timeout",
};

/** The connection ends with it: what else came on it is not worth reading. */
function refuse(response: ServerResponse, code: ApiErrorCode, detail: string): void {
  const { status, headers, body } = problemOf(code, detail);
  response.writeHead(status, { ...headers, Connection: "close" }).end(body);
}

function rawAnswer(code: ApiErrorCode): string {
  const { status, headers, body } = problemOf(code);
  const lines = Object.entries({ ...headers, "Content-Length": String(Buffer.byteLength(body)), Connection: "close" });
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body}`;
}

function problemOf(code: ApiErrorCode, detail?: string) {
  const requestId = newId("request");
  const answer = toProblemAnswer(new ApiError(code, { detail, headers: code === "rate_limited" ? { "Retry-After": "1" } : {} }), requestId);
  const headers = { "X-Request-Id": requestId, "Content-Type": "application/problem+json", "Cache-Control": "no-store", ...answer.headers };
  return { status: answer.status, headers, body: JSON.stringify(answer.body) };
}
