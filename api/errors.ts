import { catalogue, MailError } from "../domain/errors.ts";

/**
 * What can go wrong with a request, as far as mail has nothing to do with it: the API's half of the catalogue in domain/errors.ts.
 * The key is the stable end of the problem's `type`.
 */
export const apiProblems = {
  validation_failed: problem(
    400,
    "The request is not valid",
    "A member or parameter is missing, unknown or out of bounds.",
    "Correct what `errors` names; /docs shows every member.",
  ),
  malformed_json: problem(
    400,
    "The request's body is not JSON",
    "The body could not be parsed.",
    "Send one JSON object, in UTF-8, with Content-Type: application/json.",
  ),
  malformed_request: problem(
    400,
    "This is not HTTP",
    "The request line, a header or the framing of the body breaks the rules of HTTP/1.1.",
    "Send HTTP/1.1, with a Host header and one way of saying how long the body is.",
  ),
  customer_required: problem(
    400,
    "It is not said which customer this is for",
    "Administrators have no mailboxes of their own and act for a customer explicitly.",
    "Send the header `Everpost-Customer: cus_…`.",
  ),
  unauthorized: problem(
    401,
    "No valid access key",
    "The access key is missing, unknown, expired or revoked.",
    "Send `Authorization: Bearer evp_…` with a key that is alive.",
  ),
  forbidden_scope: problem(
    403,
    "The access key may not do this",
    "The key lacks the scope that this operation needs.",
    "Use a key with the scope that `detail` names.",
  ),
  administrator_only: problem(403, "Only administrators may do this", "The key belongs to a customer.", "Use an administrator's access key."),
  mailbox_key_refused: problem(
    403,
    "The access key is bound to one mailbox",
    "This operation reaches beyond a single mailbox.",
    "Use a key of the customer that is not bound to a mailbox.",
  ),
  not_found: problem(
    404,
    "There is no such thing",
    "The id is wrong, the thing was deleted, or it belongs to somebody else.",
    "Check the id, and for whom the access key acts.",
  ),
  method_not_allowed: problem(
    405,
    "This path has no such method",
    "The path exists, the method does not.",
    "Use a method that the Allow header names.",
  ),
  request_timeout: problem(
    408,
    "The request did not arrive in time",
    "The headers took longer than 20 seconds, or the whole request longer than 60.",
    "Send the request without pauses.",
  ),
  conflict: problem(
    409,
    "This does not fit what is there already",
    "Something with this name or in this state exists.",
    "Read `detail`, then change or drop it.",
  ),
  idempotency_in_flight: problem(
    409,
    "The same request is still at work",
    "A request with this Idempotency-Key has not been answered yet.",
    "Try again in a few seconds with the same key.",
  ),
  payload_too_large: problem(413, "The request is too large", "The body is larger than 1 MB.", "Send less at once."),
  unsupported_media_type: problem(
    415,
    "This kind of body is not understood",
    "The body is not declared as JSON in UTF-8, or is compressed in an unknown way.",
    "Send Content-Type: application/json.",
  ),
  range_not_satisfiable: problem(
    416,
    "The range lies behind the end",
    "The content has fewer bytes than the Range header assumes.",
    "Ask for a range within the size that Content-Range names.",
  ),
  idempotency_mismatch: problem(
    422,
    "The Idempotency-Key was used for another request",
    "Within 24 hours a key stands for one request.",
    "Make a new key for each new request.",
  ),
  headers_too_large: problem(
    431,
    "The request's head is too large",
    "The URL and the headers are larger than 16 kB together, or there are more than 200 headers.",
    "Send a shorter URL, or fewer and shorter headers.",
  ),
  rate_limited: problem(429, "Too many requests", "The access key used up its allowance.", "Wait as long as Retry-After says."),
  internal_error: problem(
    500,
    "Something went wrong on our side",
    "This is a fault of Everpost.",
    "Report it with the request id in `instance`; the log has the details under it.",
  ),
  service_unavailable: problem(
    503,
    "A part that this needs is not available",
    "The database, Temporal or the workers do not answer.",
    "Look at /readyz, and try again.",
  ),
} as const satisfies Record<string, ApiProblem>;

export interface ApiProblem {
  readonly http: number;
  readonly title: string;
  readonly cause: string;
  readonly fix: string;
}

export type ApiErrorCode = keyof typeof apiProblems;

/** One thing that is wrong with a request: where (RFC 6901, as a URI fragment), and what. */
export interface RequestFault {
  readonly in: "body" | "query" | "path" | "header";
  readonly pointer: string;
  readonly detail: string;
}

export interface ApiErrorOptions {
  readonly detail?: string | undefined;
  readonly fix?: string | undefined;
  readonly errors?: readonly RequestFault[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** A request that cannot be served, in the words that its caller will read. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ApiErrorCode;
  readonly detail: string;
  readonly fix: string;
  readonly errors: readonly RequestFault[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ApiErrorCode, options: ApiErrorOptions = {}) {
    const entry: ApiProblem = apiProblems[code];
    super(options.detail ?? entry.title, { cause: options.cause });
    this.code = code;
    this.detail = options.detail ?? entry.cause;
    this.fix = options.fix ?? entry.fix;
    this.errors = options.errors ?? [];
    this.headers = options.headers ?? {};
  }
}

/** A failure of mail that is one member's fault, and can be told before anything is stored. */
export class MemberRefused extends Error {
  override readonly name = "MemberRefused";
  readonly pointer: string;
  override readonly cause: MailError;

  constructor(pointer: string, cause: MailError) {
    super(cause.message, { cause });
    this.pointer = pointer;
    this.cause = cause;
  }
}

/** What a caller learns of another customer's things is the same as of things that never were. */
export function notFound(what: string): ApiError {
  return new ApiError("not_found", { detail: `There is no such ${what}.` });
}

/** A request with faults in it. */
export function invalid(...errors: readonly RequestFault[]): ApiError {
  return new ApiError("validation_failed", { detail: errors.map((error) => `${error.pointer}: ${error.detail}`).join("; "), errors });
}

/** problem+json (RFC 9457). `instance` is the request's id, under which the log has more. */
export interface ProblemBody {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly instance: string;
  readonly code: string;
  readonly cause: string;
  readonly fix: string;
  readonly errors?: readonly RequestFault[];
}

export interface ProblemAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ProblemBody;
}

/** The answer to whatever was thrown. What nobody foresaw tells nothing of itself. */
export function toProblemAnswer(thrown: unknown, requestId: string): ProblemAnswer {
  if (thrown instanceof MailError) return mailProblem(thrown, requestId);
  if (thrown instanceof MemberRefused) {
    const { pointer, cause: refusal } = thrown;
    const answer = mailProblem(refusal, requestId);
    return { ...answer, body: { ...answer.body, errors: [{ in: "body", pointer, detail: catalogue[refusal.code].title }] } };
  }
  const error = toApiError(thrown);
  const { http: status, title, cause } = apiProblems[error.code];
  const { code, detail, fix, errors } = error;
  const type = `${problemTypes}${code}`;
  return {
    status,
    headers: error.headers,
    body: { type, title, status, detail, instance: requestId, code, cause, fix, ...(errors.length > 0 ? { errors } : {}) },
  };
}

/** Identifies, does not locate: problem types are names under a host that need not answer. */
export const problemTypes = "https://everpost.dev/problems/";

/** Where the server did not say: about as long as a connection that another program or process holds is held. */
const mailRetryAfterMs = 30_000;

/** Mail's problems have types of their own: `rate_limited` by a provider is not `rate_limited` by us. */
function mailProblem(error: MailError, requestId: string): ProblemAnswer {
  const { http: status, title, cause } = catalogue[error.code];
  const retryAfterMs = error.retryAfterMs ?? (status === 429 || status === 503 ? mailRetryAfterMs : undefined);
  const headers: Record<string, string> = retryAfterMs === undefined ? {} : { "Retry-After": String(Math.ceil(retryAfterMs / 1000)) };
  const detail = error.serverSaid === undefined ? cause : `${cause} The server said: ${error.serverSaid}`;
  const type = `${problemTypes}mail/${error.code}`;
  return { status, headers, body: { type, title, status, detail, instance: requestId, code: error.code, cause, fix: error.fix } };
}

function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (isDatabaseAway(thrown)) return new ApiError("service_unavailable", { detail: "The database does not answer.", cause: thrown });
  if (thrown instanceof URIError) return new ApiError("not_found", { detail: "The path is not a valid URL." });
  return new ApiError("internal_error", { cause: thrown });
}

/** Network errors, and SQLSTATE classes 08 (connection), 53 (no resources) and 57P (shutting down, starting up); 57014, a statement that took longer than any may. */
function isDatabaseAway(thrown: unknown): boolean {
  if (/^(ECONNREFUSED|ECONNRESET|EPIPE|ENOTFOUND|ETIMEDOUT|08...|53...|57P..|57014)$/.test(textMember(thrown, "code"))) return true;
  return /Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect/.test(
    textMember(thrown, "message"),
  );
}

function textMember(value: unknown, name: string): string {
  const member: unknown = typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  return typeof member === "string" ? member : "";
}

function problem(http: number, title: string, cause: string, fix: string): ApiProblem {
  return { http, title, cause, fix };
}
