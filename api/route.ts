import type { Request, Response } from "express";
import type { z } from "zod";
import type { Connection } from "../db/database.ts";
import type { Scope, ScopedConnection } from "../db/scope.ts";
import type { MailErrorCode } from "../domain/errors.ts";
import type { AuditNote, Auth, Caller } from "./auth.ts";
import type { ApiDeps } from "./deps.ts";
import type { ApiErrorCode } from "./errors.ts";

export type Method = "get" | "post" | "put" | "patch" | "delete";

/** What a handler has besides its request, by who may call. `db` is limited to the caller's customer, and to its mailbox for a bound key. */
type Access<A extends Auth> = A extends { readonly public: true }
  ? object
  : A extends { readonly role: "administrator" }
    ? Changing
    : A extends { readonly customer: "optional" }
      ? Changing & { readonly scope: Scope | undefined; readonly db: ScopedConnection | undefined }
      : Changing & { readonly scope: Scope; readonly db: ScopedConnection };

interface Changing {
  readonly caller: Caller;
  /** Notes a change in the audit log; call it with the transaction that makes the change. */
  readonly audit: AuditNote;
  /** Keeps the reply for repetitions with the same Idempotency-Key; call it with the transaction that makes the change, as the last thing in it. */
  readonly keep: <Body>(trx: Connection, reply: Reply<Body>) => Promise<Reply<Body>>;
}

interface Basics<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly deps: ApiDeps;
  readonly requestId: string;
  readonly idempotencyKey: string | undefined;
  readonly request: Request;
  readonly response: Response;
}

export type Context<Params, Query, Body, A extends Auth> = Basics<Params, Query, Body> & Access<A>;

/** An answer with another status than the route's first one, or with headers. */
export class Reply<Body> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, body: Body, headers: Readonly<Record<string, string>> = {}) {
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** Returned by a handler that has written the response itself: streams, pages. */
export const answered: unique symbol = Symbol("answered");

interface Description {
  readonly method: Method;
  /** As OpenAPI writes it: `/v1/mailboxes/{id}`. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  /** Status of a success; 200 unless told, 204 without a response schema. */
  readonly status?: number;
  readonly responseDescription?: string;
  /** Further statuses with the same body as a success. */
  readonly otherStatuses?: readonly number[];
  /** A success that is no JSON: `text/event-stream`, one of several, or any for whatever a sender called it. */
  readonly contentType?: string | readonly string[];
  /** Problems this route may answer besides those that its kind always may. */
  readonly problems?: readonly ApiErrorCode[];
  /** What a mail server, or the network in front of it, may have caused. */
  readonly mailProblems?: readonly MailErrorCode[];
  /** An example body, shown in the document. */
  readonly example?: unknown;
  /** False for a POST that changes nothing that lasts: no audit entry is wanted. */
  readonly isChange?: boolean;
  /** Not in the document: the document itself and its viewer. */
  readonly isHidden?: boolean;
}

/** A route as the app and the document see it, its types forgotten. */
export interface Route extends Description {
  readonly auth: Auth;
  readonly params: z.ZodType | undefined;
  readonly query: z.ZodType | undefined;
  readonly body: z.ZodType | undefined;
  readonly response: z.ZodType | undefined;
  readonly handler: (context: never) => Promise<unknown>;
}

type Output<S extends z.ZodType | undefined, Absent> = S extends z.ZodType ? z.output<S> : Absent;
type Result<S extends z.ZodType | undefined> = S extends z.ZodType
  ? z.input<S> | Reply<z.input<S>> | typeof answered
  : undefined | Reply<undefined> | typeof answered;

/**
 * One operation: what it takes, what it answers, who may call it, and what it does. The app, the OpenAPI document and the tests that walk over all
 * routes are made from the list of these, so nothing about an operation is written twice. Use `z.strictObject`: unknown members are an error.
 */
export function route<
  const A extends Auth,
  Params extends z.ZodType | undefined = undefined,
  Query extends z.ZodType | undefined = undefined,
  Body extends z.ZodType | undefined = undefined,
  Response extends z.ZodType | undefined = undefined,
>(
  spec: Description & {
    readonly auth: A;
    readonly params?: Params;
    readonly query?: Query;
    readonly body?: Body;
    readonly response?: Response;
  },
  handler: (
    context: Context<Output<Params, Record<string, never>>, Output<Query, Record<string, never>>, Output<Body, undefined>, A>,
  ) => Promise<Result<Response>>,
): Route {
  return { ...spec, params: spec.params, query: spec.query, body: spec.body, response: spec.response, handler };
}
