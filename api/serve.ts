import type { Request, RequestHandler, Response } from "express";
import { z } from "zod";
import type { Connection } from "../db/database.ts";
import type { StoredAnswer } from "../db/idempotency.ts";
import { type Scope, scopedTo } from "../db/scope.ts";
import { type AuditNote, auditNote, authenticate, authorise, type Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import { answerOnce, type KeepAnswer, readIdempotencyKey } from "./idempotency.ts";
import type { RateLimit } from "./rate-limit.ts";
import { readJson } from "./read-json.ts";
import { notesOf } from "./request-notes.ts";
import { answered, Reply, type Route } from "./route.ts";
import { validate } from "./validate.ts";

/** A route as Express runs it: who is it, may they, within their allowance; then the request is parsed, served once, and answered. */
export function serve(route: Route, deps: ApiDeps, rateLimit: RateLimit): RequestHandler {
  return async (request, response) => {
    const { requestId } = Object.assign(notesOf(request), { routePath: route.path });
    const access = await admit(route, deps, rateLimit, request, response);
    const idempotencyKey = route.method === "post" ? readIdempotencyKey(request.get("Idempotency-Key")) : undefined;
    const body = await readJson(request);
    const parsed = {
      params: validate(route.params ?? nothing, "path", request.params),
      query: validate(route.query ?? nothing, "query", request.query),
      // Without a body, a body schema sees {}: an operation whose members are all optional needs none.
      body: validate(route.body ?? nothing, "body", body === undefined ? {} : body),
    };
    const run = (keep?: KeepAnswer) => runHandler(route, deps, access, { ...parsed, deps, request, response, requestId, idempotencyKey }, keep);
    const answer =
      idempotencyKey === undefined || access === undefined
        ? await run()
        : await answerOnce(
            deps,
            {
              owner: access.scope?.customerId ?? access.caller.keyId,
              key: idempotencyKey,
              fingerprint: [route.method, request.path, request.query, access.caller.mailboxId, access.caller.scopes, body ?? null],
              requestId,
            },
            run,
          );
    if (!response.headersSent) send(response, answer);
  };
}

interface Access {
  readonly caller: Caller;
  readonly scope: Scope | undefined;
}

const nothing = z.strictObject({});

async function admit({ auth }: Route, deps: ApiDeps, rateLimit: RateLimit, request: Request, response: Response): Promise<Access | undefined> {
  if ("public" in auth) return undefined;
  const caller = await authenticate(deps.db, request.get("Authorization"), Date.now());
  const note = Object.assign(notesOf(request), { keyId: caller.keyId });
  response.set(await rateLimit.take(caller.keyId));
  const scope = await authorise(deps.db, caller, auth, request.get("Everpost-Customer"));
  if (scope !== undefined) note.customerId = scope.customerId;
  return { caller, scope };
}

async function runHandler(
  route: Route,
  deps: ApiDeps,
  access: Access | undefined,
  basics: { readonly requestId: string; readonly [member: string]: unknown },
  keepAnswer?: KeepAnswer,
): Promise<StoredAnswer> {
  let isAudited = false;
  const granted = access === undefined ? {} : grant(deps, access, basics.requestId, () => (isAudited = true));
  // `route` tied the handler to its context by types; the list of routes has forgotten them.
  const keep = async (trx: Connection, reply: Reply<unknown>) => {
    await keepAnswer?.(trx, toAnswer(route, deps, reply));
    return reply;
  };
  const result = await route.handler({ ...basics, ...granted, keep } as never);
  if (deps.isStrict === true && route.method !== "get" && route.isChange !== false && !isAudited && result !== answered) {
    throw new Error(`${route.operationId} changed something and noted nothing in the audit log`);
  }
  return toAnswer(route, deps, result);
}

function grant(deps: ApiDeps, { caller, scope }: Access, requestId: string, onAudit: () => void) {
  const note = auditNote(caller, scope, requestId);
  const audit: AuditNote = async (db, entry) => {
    await note(db, entry);
    onAudit();
  };
  return { caller, scope, audit, db: scope === undefined ? undefined : scopedTo(deps.db, scope) };
}

/** Only a handler that wrote its response itself leaves it without an answer to send. */
function toAnswer(route: Route, deps: ApiDeps, result: unknown): StoredAnswer {
  if (result === answered) return { status: successStatus(route), body: undefined, headers: {} };
  const reply = result instanceof Reply ? result : new Reply(successStatus(route), result);
  if (deps.isStrict === true && route.response !== undefined) {
    const checked = route.response.safeParse(reply.body);
    if (!checked.success) throw new Error(`${route.operationId} answered what its schema forbids: ${z.prettifyError(checked.error)}`);
  }
  return { status: reply.status, body: reply.body, headers: reply.headers };
}

/** The status of a route's ordinary success. */
export function successStatus(route: Route): number {
  return route.status ?? (route.response === undefined && route.contentType === undefined ? 204 : 200);
}

/** Whole, whatever the client says that it has already: `If-None-Match: *` would make Express answer 304 to what no cache keeps. */
export function sendJson(response: Response, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.set("Content-Length", String(bytes.length)).end(bytes);
}

function send(response: Response, { status, headers, body }: StoredAnswer): void {
  response.status(status).set(headers);
  if (body === undefined) response.end();
  else sendJson(response, body);
}
