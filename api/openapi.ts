import { z } from "zod";
import { catalogue } from "../domain/errors.ts";
import { type ApiErrorCode, apiProblems, problemTypes } from "./errors.ts";
import { idempotencyKeyPattern } from "./idempotency.ts";
import type { Route } from "./route.ts";
import { idPattern } from "./schemas.ts";
import { successStatus } from "./serve.ts";

type Json = { readonly [member: string]: unknown };

/** The OpenAPI 3.1 document of these routes. A schema with a `meta({ id })` becomes a component of that name. */
export function createDocument(routes: readonly Route[]): Json {
  const components = new Map<string, Json>();
  const shown = routes.filter((route) => route.isHidden !== true);
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of shown) {
    paths[route.path] ??= {};
    (paths[route.path] as Record<string, Json>)[route.method] = toOperation(route, components);
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Everpost",
      version: "1",
      summary: "Mailboxes that stay in sync, every message told once.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      description,
    },
    servers: [{ url: "/" }],
    tags: [...new Set(shown.flatMap((route) => route.tags))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { accessKey: { type: "http", scheme: "bearer", description: "An access key: `evp_…`." } },
      schemas: {
        ...Object.fromEntries([...components].sort(([a], [b]) => (a < b ? -1 : 1))),
        Problem: toSchema(problemSchema, "output", components),
      },
      headers: sharedHeaders,
    },
    security: [{ accessKey: [] }],
  };
}

const description = `Every request carries an access key: \`Authorization: Bearer evp_…\`. Administrators act for a customer with the header \`Everpost-Customer\`.

Errors are problem+json (RFC 9457) with a stable \`type\`, a \`cause\` and a \`fix\`. A POST with an \`Idempotency-Key\` is carried out once: the same key and body
get the same answer for 24 hours. Listings are paged by \`cursor\`; \`nextCursor\` is null on the last page. Members that are not known are an error.
No text holds U+0000 or half a surrogate pair; lengths are counted in UTF-16 units, and names are trimmed before they are.`;

const problemSchema = z.strictObject({
  type: z.url().describe(`Stable name of the kind of problem, under ${problemTypes}.`),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  instance: z.string().describe("The request's id."),
  code: z.string().describe("The end of `type`."),
  cause: z.string().describe("Why it happened, for a person."),
  fix: z.string().describe("What to do about it, for a person."),
  errors: z
    .array(
      z.strictObject({
        in: z.enum(["body", "query", "path", "header"]),
        pointer: z.string().describe("RFC 6901, as a URI fragment."),
        detail: z.string(),
      }),
    )
    .optional(),
});

const sharedHeaders = {
  RequestId: { description: "The request's id, also in the logs.", schema: { type: "string" } },
  RateLimit: { description: "What is left of the allowance: `r` requests for `t` seconds.", schema: { type: "string" } },
  RateLimitPolicy: { description: "The allowance: `q` requests in `w` seconds.", schema: { type: "string" } },
  IdempotencyReplayed: {
    description: "`true` if this is the answer to an earlier request with this key.",
    schema: { type: "string", const: "true" },
  },
  RetryAfter: { description: "Seconds to wait.", schema: { type: "integer" } },
};

const headerRef = (name: keyof typeof sharedHeaders): Json => ({ $ref: `#/components/headers/${name}` });

function toOperation(route: Route, components: Map<string, Json>): Json {
  const isPublic = "public" in route.auth;
  const body = route.body === undefined ? undefined : toSchema(route.body, "input", components);
  return {
    operationId: route.operationId,
    summary: route.summary,
    description: [route.description, accessNote(route)].filter((text) => text !== undefined).join("\n\n"),
    tags: route.tags,
    ...(isPublic ? { security: [] } : {}),
    parameters: [...parameters(route.params, "path", components), ...parameters(route.query, "query", components), ...headerParameters(route)],
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: !(route.body?.safeParse({}).success ?? true),
            content: { "application/json": { schema: body, ...(route.example === undefined ? {} : { example: route.example }) } },
          },
        }),
    responses: {
      ...problemResponses(route),
      ...Object.fromEntries([successStatus(route), ...(route.otherStatuses ?? [])].map((status) => [status, success(route, components)])),
    },
  };
}

function accessNote({ auth }: Route): string | undefined {
  if ("public" in auth) return "Needs no access key.";
  if ("role" in auth) return "For administrators.";
  const scope = auth.scope === null ? "Needs no scope." : `Needs the scope \`${auth.scope}\`.`;
  return auth.openToMailboxKeys === true ? scope : `${scope} Refused for keys that are bound to a mailbox.`;
}

function parameters(schema: z.ZodType | undefined, place: "path" | "query", components: Map<string, Json>): readonly Json[] {
  if (schema === undefined) return [];
  const object = toSchema(schema, "input", components);
  const required = new Set((object.required as readonly string[] | undefined) ?? []);
  return Object.entries((object.properties as Record<string, Json> | undefined) ?? {}).map(([name, member]) => {
    const { description: text, ...rest } = member;
    return { name, in: place, required: place === "path" || required.has(name), ...(text === undefined ? {} : { description: text }), schema: rest };
  });
}

function headerParameters({ auth, method }: Route): readonly Json[] {
  if ("public" in auth) return [];
  const isForCustomer = !("role" in auth);
  return [
    ...(isForCustomer
      ? [
          {
            name: "Everpost-Customer",
            in: "header",
            required: false,
            description: "For administrators: whom this is for.",
            schema: { type: "string", pattern: idPattern("customer") },
          },
        ]
      : []),
    ...(method === "post"
      ? [
          {
            name: "Idempotency-Key",
            in: "header",
            required: false,
            description: "Carries the request out once.",
            schema: { type: "string", pattern: idempotencyKeyPattern.source },
          },
        ]
      : []),
  ];
}

function success(route: Route, components: Map<string, Json>): Json {
  const content =
    route.response !== undefined
      ? { "application/json": { schema: toSchema(route.response, "output", components) } }
      : route.contentType !== undefined
        ? Object.fromEntries([route.contentType].flat().map((type) => [type, { schema: { type: "string" } }]))
        : undefined;
  const limits = "public" in route.auth ? {} : { RateLimit: headerRef("RateLimit"), "RateLimit-Policy": headerRef("RateLimitPolicy") };
  const replay = route.method === "post" && !("public" in route.auth) ? { "Idempotency-Replayed": headerRef("IdempotencyReplayed") } : {};
  return {
    description: route.responseDescription ?? route.summary,
    headers: { "X-Request-Id": headerRef("RequestId"), ...limits, ...replay },
    ...(content === undefined ? {} : { content }),
  };
}

/** Problems by status: those of every route, those that its kind brings with it, and its own. */
function problemResponses(route: Route): Json {
  const problems = [...new Set(problemCodes(route))].map((code) => ({ code: code as string, ...apiProblems[code] }));
  const mailProblems = (route.mailProblems ?? []).map((code) => ({ code: `mail/${code}`, ...catalogue[code] }));
  const byStatus = Map.groupBy([...problems, ...mailProblems], ({ http }) => http);
  return Object.fromEntries(
    [...byStatus]
      .sort(([a], [b]) => a - b)
      .map(([status, answered]) => [
        status,
        {
          description: answered.map(({ code, title }) => `\`${code}\`: ${title}.`).join(" "),
          headers: {
            "X-Request-Id": headerRef("RequestId"),
            ...(status === 429 || status === 503 ? { "Retry-After": headerRef("RetryAfter") } : {}),
          },
          content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
        },
      ]),
  );
}

function problemCodes(route: Route): readonly ApiErrorCode[] {
  // Members of query and body that are not known are refused also where none are; so a body is read also where none is wanted.
  const read = ["validation_failed", "malformed_json", "payload_too_large", "unsupported_media_type"] as const;
  const codes: ApiErrorCode[] = ["internal_error", ...read, "headers_too_large", "request_timeout", ...(route.problems ?? [])];
  if (route.params !== undefined) codes.push("not_found");
  if ("public" in route.auth) return codes;
  codes.push("unauthorized", "rate_limited", "service_unavailable");
  if (route.method === "post") codes.push("idempotency_in_flight", "idempotency_mismatch");
  if ("role" in route.auth) return [...codes, "administrator_only"];
  // Everpost-Customer may name nobody.
  codes.push("not_found");
  if (route.auth.scope !== null) codes.push("forbidden_scope");
  if (route.auth.openToMailboxKeys !== true) codes.push("mailbox_key_refused");
  if (route.auth.customer !== "optional") codes.push("customer_required");
  return codes;
}

/** JSON Schema 2020-12, which OpenAPI 3.1 takes as it is; named parts move to the components. */
function toSchema(schema: z.ZodType, io: "input" | "output", components: Map<string, Json>): Json {
  const { $schema: _dialect, $defs: definitions, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any", override: showDefault }) as Json;
  for (const [name, definition] of Object.entries((definitions as Record<string, Json> | undefined) ?? {})) {
    const { id: _id, ...content } = definition;
    components.set(name, relocate(content) as Json);
  }
  const { id, ...content } = rest;
  if (typeof id !== "string") return relocate(content) as Json;
  components.set(id, relocate(content) as Json);
  return { $ref: `#/components/schemas/${id}` };
}

/** zod leaves out the default of what is transformed on its way in. */
function showDefault({ zodSchema, jsonSchema }: { readonly zodSchema: z.core.$ZodTypes; readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  const { def } = zodSchema._zod;
  if (def.type === "default" && def.defaultValue !== undefined) jsonSchema.default = JSON.parse(JSON.stringify(def.defaultValue));
}

function relocate(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relocate);
  if (typeof value !== "object" || value === null) return value;
  // zod spells dates out as a pattern of its own beside the format; the format says it.
  const isInstant = "format" in value && value.format === "date-time";
  const members = Object.entries(value).filter(([key]) => !(isInstant && key === "pattern"));
  return Object.fromEntries(
    members.map(([key, member]) => [
      key,
      key === "$ref" && typeof member === "string" ? member.replace("#/$defs/", "#/components/schemas/") : relocate(member),
    ]),
  );
}
