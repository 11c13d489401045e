import type { Auth } from "../../api/auth.ts";
import { type ApiErrorCode, apiProblems, problemTypes } from "../../api/errors.ts";
import { keyScopes } from "../../domain/access.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import type { Described, Operation, Schema } from "./operations.ts";
import { mayRefuse, mayShow } from "./rules.ts";
import type { Validators } from "./validators.ts";
import type { RawAnswer } from "./wire.ts";

/** What is known of a request before it is answered. */
export interface Sent {
  /** Undefined where no operation has this path and method. */
  readonly operation: Operation | undefined;
  readonly method: string;
  /** Who asks: decides what has to be refused whatever is asked. */
  readonly caller: Caller;
  /** What the document says of the request; undefined where that cannot be told. */
  readonly fault: string | undefined | "unknown";
  /** Where the one thing is that is wrong with it. */
  readonly broken: { readonly in: "body" | "query" | "path" | "header"; readonly pointer: string } | undefined;
  /** Everything that was sent, to be told from what the API said of its own. */
  readonly text: string;
  /** The answer to the same request before. */
  readonly replayOf?: { readonly status: number; readonly text: string } | "another request";
}

export interface Caller {
  readonly name: string;
  readonly key: string | undefined;
  /** Sent as Everpost-Customer. */
  readonly customer?: string;
  /** Unclear where two headers contradict each other. */
  readonly role: "nobody" | "customer" | "administrator" | "unclear";
  readonly scopes: readonly string[];
  readonly isBound: boolean;
  /** Texts that this caller must never be shown. */
  readonly unseen: RegExp | undefined;
}

export interface Problem {
  readonly type: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly instance: string;
  readonly errors?: readonly { readonly in: string; readonly pointer: string; readonly detail: string }[];
}

export interface Judge {
  /** What is wrong with an answer; empty if nothing is. */
  faultsOf(sent: Sent, answer: RawAnswer): readonly string[];
}

/** Texts that only the inside of a program knows. */
const internals =
  /\n\s+at .+:\d+:\d+|node_modules|node:internal|\.ts:\d+|postgres(ql)?:\/\/|kysely|sqlstate|syntax error at or near|violates .* constraint|relation "\w+"|invalid input syntax|(Type|Reference|Range|Syntax)Error|Cannot read propert|ECONNREFUSED|\[object Object\]|evp_\w{20}/i;

export function createJudge({ components }: Described, { faultOf }: Validators): Judge {
  const problemSchema: Schema = { $ref: "#/components/schemas/Problem" };
  if (components.Problem === undefined) throw new Error("the document does not describe problems");

  return {
    faultsOf(sent, answer) {
      const problem = answer.status >= 400 ? parseJson(answer.text) : undefined;
      return [
        ...statusFaults(sent, answer, problem as Problem | undefined),
        ...bodyFaults(sent, answer),
        ...(answer.status >= 400 && sent.method !== "HEAD" ? problemFaults(sent, answer, problem) : []),
        ...accessFaults(sent, answer),
        ...validityFaults(sent, answer, problem as Problem | undefined),
        ...replayFaults(sent, answer, problem as Problem | undefined),
        ...secrecyFaults(sent, answer),
        ...headerFaults(sent, answer),
      ];
    },
  };

  function statusFaults({ operation }: Sent, { status }: RawAnswer, problem: Problem | undefined): readonly string[] {
    if (operation !== undefined && operation.responses[status] === undefined) return [`${status} is not documented for ${operation.id}`];
    // A mail server's failure is told as one of its own.
    const isOfMail = operation !== undefined && String(problem?.type).startsWith(`${problemTypes}mail/`);
    return status < 500 || isOfMail || isPutOff(operation, problem) ? [] : [`${status}: ${problem?.code} ${problem?.detail}`];
  }

  function bodyFaults({ operation, method }: Sent, { status, headers, text }: RawAnswer): readonly string[] {
    if (method === "HEAD" || status === 204) return text === "" ? [] : [`${status} to ${method} has a body`];
    const content = operation?.responses[status]?.content;
    if (content === undefined)
      return operation?.responses[status] !== undefined && text !== "" ? [`${status} has a body and none is documented`] : [];
    const type = String(headers["content-type"]).replace(/;.*/, "");
    const media = content[type] ?? content[type.replace(/\/.*/, "/*")] ?? content["*/*"];
    if (media === undefined) return [`${status} is ${type}; documented are ${Object.keys(content).join(", ")}`];
    if (!/[/+]json$/.test(type) || operation === undefined || status >= 400) return [];
    const value = parseJson(text);
    if (value === undefined) return [`${status} is no JSON: ${text.slice(0, 100)}`];
    const fault = faultOf(media.schema, value);
    return fault === undefined ? [] : [`${status} is not what its schema says: ${fault}`];
  }

  function problemFaults(sent: Sent, { status, headers, text }: RawAnswer, problem: unknown): readonly string[] {
    const { operation } = sent;
    // 503 of /readyz is its own report.
    if (operation?.responses[status]?.content?.["application/json"] !== undefined) return [];
    if (headers["content-type"] !== "application/problem+json")
      return [`${status} is ${headers["content-type"]}, no problem+json: ${text.slice(0, 200)}`];
    const fault = faultOf(problemSchema, problem);
    if (fault !== undefined) return [`no problem as documented: ${fault}: ${text.slice(0, 200)}`];
    const told = problem as Problem;
    const faults: string[] = [];
    const name = told.type.replace(problemTypes, "");
    const entry = name.startsWith("mail/") ? catalogue[told.code as MailErrorCode] : apiProblems[told.code as ApiErrorCode];
    if (entry === undefined || name.replace("mail/", "") !== told.code) faults.push(`${told.type} is of no catalogue`);
    else if (entry.http !== status || told.status !== status) faults.push(`${told.code} was sent as ${status}`);
    if (operation !== undefined && !operation.responses[status]?.description.includes(`\`${name}\``)) {
      faults.push(`${name} is not documented for ${operation.id} under ${status}`);
    }
    if (told.instance !== headers["x-request-id"] && headers["idempotency-replayed"] === undefined) faults.push("instance is not the request's id");
    if (told.code === "validation_failed") faults.push(...namingFaults(told, sent));
    return faults;
  }

  function namingFaults({ errors = [] }: Problem, { broken, fault }: Sent): readonly string[] {
    if (errors.length === 0) return ["validation_failed names no field"];
    const odd = errors.filter(({ pointer }) => !/^#(\/|$)/.test(pointer));
    if (odd.length > 0) return [`no pointer: ${odd[0]?.pointer}`];
    // What was meant to be wrong may be right after all.
    if (broken === undefined || fault?.startsWith(`${broken.in} `) !== true) return [];
    const isNamed = errors.some(
      (error) => error.in === broken.in && (isWithin(error.pointer, broken.pointer) || isWithin(broken.pointer, error.pointer)),
    );
    return isNamed
      ? []
      : [`${broken.in} ${broken.pointer} is wrong, and named is ${errors.map((error) => `${error.in} ${error.pointer}`).join(", ")}`];
  }

  /** What an access key may not do is refused whatever else is wrong with the request. */
  function accessFaults({ operation, caller, fault }: Sent, { status }: RawAnswer): readonly string[] {
    if (operation === undefined || "public" in operation.auth) return [];
    const wanted = expectedRefusal(operation.auth, caller);
    if (wanted !== undefined && status !== wanted) return [`${caller.name} was answered ${status} instead of ${wanted}`];
    if (wanted === undefined && [401, 403].includes(status) && fault === undefined && operation.id !== "createAccessKey") {
      return [`${caller.name} may do this and was answered ${status}`];
    }
    return [];
  }

  function validityFaults({ operation, fault, caller }: Sent, { status }: RawAnswer, problem: Problem | undefined): readonly string[] {
    if (operation === undefined || fault === "unknown") return [];
    if (fault !== undefined && status < 400) return [`${status} to what the document forbids: ${fault}`];
    if (fault !== undefined || status !== 400 || problem?.code !== "validation_failed") return [];
    const refused = (problem.errors ?? []).filter(
      (error) => !mayRefuse({ operation: operation.id, in: error.in, pointer: error.pointer, detail: error.detail }),
    );
    return refused.length === 0 ? [] : [`${caller.name} sent what the document allows, and it was refused: ${JSON.stringify(refused)}`];
  }

  function replayFaults({ replayOf }: Sent, answer: RawAnswer, problem: Problem | undefined): readonly string[] {
    if (replayOf === undefined || isPutOff(undefined, problem)) return [];
    if (replayOf === "another request") {
      return [400, 401, 403, 404, 409, 413, 415, 422].includes(answer.status) ? [] : [`${answer.status} to another request under a used key`];
    }
    const faults = [];
    if (answer.status !== replayOf.status) faults.push(`a repetition was answered ${answer.status} instead of ${replayOf.status}`);
    else if (answer.text !== replayOf.text) faults.push("a repetition was answered with another body");
    else if (answer.headers["idempotency-replayed"] !== "true") faults.push("a repetition does not say so");
    return faults;
  }

  function secrecyFaults({ operation, caller, text: sent }: Sent, { status, text }: RawAnswer): readonly string[] {
    const faults: string[] = [];
    const plain = text.replaceAll("\\n", "\n").replaceAll('\\"', '"');
    const internal = status >= 400 ? internals.exec(plain)?.[0] : undefined;
    if (internal !== undefined && !sent.includes(internal)) faults.push(`the inside is shown: ${internal}`);
    // What is for administrators is about all customers.
    const isForAll = operation !== undefined && "role" in operation.auth;
    const foreign = isForAll ? undefined : caller.unseen?.exec(text)?.[0];
    if (foreign !== undefined && !sent.includes(foreign) && !mayShow(operation?.id ?? (isOfActions(sent) ? "getMessageAction" : ""), foreign))
      faults.push(`${caller.name} was shown another customer's ${foreign} by ${operation?.id}`);
    return faults;
  }

  function headerFaults({ operation, caller }: Sent, { status, headers }: RawAnswer): readonly string[] {
    const faults: string[] = [];
    const needs = (name: string) => headers[name] === undefined && faults.push(`${status} lacks ${name}`);
    needs("x-request-id");
    // What is no HTTP is refused before anything of ours has seen it.
    if (operation !== undefined) needs("x-content-type-options");
    if (status === 401) needs("www-authenticate");
    if (status === 405) needs("allow");
    if (status === 429 || (status === 503 && operation?.id !== "getReadiness")) needs("retry-after");
    if (operation !== undefined && !("public" in operation.auth) && caller.role !== "nobody" && status !== 401) needs("ratelimit");
    if (headers["set-cookie"] !== undefined || headers["x-powered-by"] !== undefined) faults.push("says more of itself than it should");
    return faults;
  }
}

/**
 * A worker or Temporal did not answer in time, which on a machine with too much to do may happen to any of them; how often, the run counts. Not so the
 * database: nobody takes it away here, so that a statement which it does not answer in a minute is a finding.
 */
function isPutOff(operation: Operation | undefined, answered: unknown): boolean {
  const { type, detail, checks } = (answered ?? {}) as Partial<Problem> & { readonly checks?: { readonly database: { readonly ok: boolean } } };
  if (operation?.id === "getReadiness" && checks !== undefined) return checks.database.ok;
  return type === `${problemTypes}service_unavailable` && /worker|Temporal/.test(detail ?? "");
}

/** The status that such a caller is answered whatever it asks; undefined where it may ask. */
function expectedRefusal(auth: Auth, caller: Caller): number | undefined {
  if ("public" in auth || caller.role === "unclear") return undefined;
  if (caller.role === "nobody") return 401;
  if ("role" in auth) return caller.role === "administrator" ? undefined : 403;
  if (auth.scope !== null && caller.role === "customer" && !caller.scopes.includes(auth.scope)) return 403;
  if (caller.isBound && auth.openToMailboxKeys !== true) return 403;
  if (caller.role === "administrator" && caller.customer === undefined && auth.customer !== "optional") return 400;
  return undefined;
}

/** A path that is no operation's by the letter, a slash at its end, is answered by one all the same. */
function isOfActions(sent: string): boolean {
  return /^\/v1\/message-actions\//.test(sent);
}

export const everyScope: readonly string[] = keyScopes;

function isWithin(pointer: string, other: string): boolean {
  return pointer === other || pointer.startsWith(`${other}/`) || other === "#/";
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
