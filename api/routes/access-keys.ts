import { z } from "zod";
import { type AccessKeyRow, createAccessKey, listAccessKeys, revokeAccessKey } from "../../db/access-keys.ts";
import { findMailbox } from "../../db/mailboxes.ts";
import { type KeyScope, keyScopes } from "../../domain/access.ts";
import type { Caller } from "../auth.ts";
import { ApiError, invalid, notFound } from "../errors.ts";
import { Reply, route } from "../route.ts";
import { idParams, idSchema, instantOut, instantSchema, nameSchema, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const scopesSchema = z.array(z.enum(keyScopes));

const accessKeySchema = z
  .strictObject({
    id: idSchema("accessKey"),
    role: z.enum(["administrator", "customer"]),
    customerId: idSchema("customer").nullable(),
    name: z.string(),
    prefix: z.string().describe("The key's first characters, to recognise it by."),
    scopes: scopesSchema,
    mailboxId: idSchema("mailbox").nullable().describe("The one mailbox that the key reaches; null for all."),
    expiresAt: instantOut.nullable(),
    lastUsedAt: instantOut.nullable().describe("To the minute."),
    revokedAt: instantOut.nullable(),
    createdAt: instantOut,
  })
  .meta({ id: "AccessKey" });

const newAccessKeySchema = accessKeySchema
  .extend({ key: z.string().describe("The key itself. It is shown this once and can never be had again.") })
  .meta({ id: "NewAccessKey" });

const tags = ["Access keys"];

export const accessKeyRoutes = [
  route(
    {
      method: "get",
      path: "/v1/whoami",
      operationId: "whoAmI",
      summary: "Show what the access key is and may do",
      tags,
      auth: { scope: null, openToMailboxKeys: true, customer: "optional" },
      response: z.strictObject({
        keyId: idSchema("accessKey"),
        name: z.string(),
        role: z.enum(["administrator", "customer"]),
        scopes: scopesSchema,
        customerId: idSchema("customer").nullable().describe("For whom requests like this one are made."),
        mailboxId: idSchema("mailbox").nullable(),
        expiresAt: instantOut.nullable(),
      }),
    },
    async ({ caller, scope }) => ({
      keyId: caller.keyId,
      name: caller.name,
      role: caller.role,
      scopes: [...caller.scopes],
      customerId: scope?.customerId ?? null,
      mailboxId: caller.mailboxId,
      expiresAt: caller.expiresAt?.toISOString() ?? null,
    }),
  ),

  route(
    {
      method: "get",
      path: "/v1/access-keys",
      operationId: "listAccessKeys",
      summary: "List access keys",
      description: "An administrator who acts for no customer sees the administrators' keys.",
      tags,
      auth: { scope: "keys:read", customer: "optional" },
      query: z.strictObject(pageQuery),
      response: pageOf(accessKeySchema),
    },
    async ({ query, scope, deps }) => {
      const page = await listAccessKeys(deps.db, scope?.customerId ?? null, toPageRequest("access-keys", query));
      return toPageBody("access-keys", page, toBody);
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/access-keys",
      operationId: "createAccessKey",
      summary: "Create an access key",
      description:
        "Several keys may be alive at once: create the new one, change over, revoke the old one. A key can give no more than it has. " +
        "An administrator who acts for no customer creates an administrator's key.",
      tags,
      auth: { scope: "keys:write", customer: "optional" },
      status: 201,
      body: z.strictObject({
        name: nameSchema,
        scopes: scopesSchema
          .optional()
          .describe("All that the creating key has, if left out. An administrator's key has every one and cannot be limited."),
        mailboxId: idSchema("mailbox").optional().describe("Binds the key to this mailbox; not for an administrator's key."),
        expiresAt: instantSchema.optional().describe("When the creating key ends, if left out."),
      }),
      example: { name: "backend, production", scopes: ["mailboxes:read", "messages:read"] },
      response: newAccessKeySchema,
    },
    async ({ body, caller, scope, deps, db, audit, keep }) => {
      const customerId = scope?.customerId ?? null;
      if (body.expiresAt !== undefined && Date.parse(body.expiresAt) <= Date.now()) {
        throw invalid({ in: "body", pointer: "#/expiresAt", detail: "lies in the past" });
      }
      const isLent = caller.role === "administrator" && customerId !== null;
      const expiresAt = isLent ? (body.expiresAt ?? null) : withinLife(caller, body.expiresAt);
      const scopes = customerId === null ? administratorScopes(body) : grantable(caller, body.scopes);
      if (body.mailboxId !== undefined && (db === undefined || (await findMailbox(db, body.mailboxId)) === undefined)) throw notFound("mailbox");
      const role = customerId === null ? "administrator" : "customer";
      return deps.db.transaction().execute(async (trx) => {
        const created = await createAccessKey(trx, {
          customerId,
          role,
          name: body.name,
          scopes,
          mailboxId: body.mailboxId ?? null,
          expiresAt,
        });
        const details = { name: body.name, role, scopes, mailboxId: body.mailboxId ?? null, expiresAt };
        await audit(trx, { action: "access_key.created", target: created.row.id, details });
        return keep(trx, new Reply(201, { ...toBody(created.row), key: created.key }));
      });
    },
  ),

  route(
    {
      method: "delete",
      path: "/v1/access-keys/{id}",
      operationId: "revokeAccessKey",
      summary: "Revoke an access key",
      description: "The key is refused from now on. Revoking it again changes nothing.",
      tags,
      auth: { scope: "keys:write", customer: "optional" },
      params: idParams("accessKey"),
      response: accessKeySchema,
    },
    async ({ params, scope, deps, audit }) =>
      deps.db.transaction().execute(async (trx) => {
        const row = await revokeAccessKey(trx, scope?.customerId ?? null, params.id);
        if (row === undefined) throw notFound("access key");
        await audit(trx, { action: "access_key.revoked", target: row.id, details: { name: row.name } });
        return toBody(row);
      }),
  ),
];

/** Administrators' keys may do everything; to ask for less would look like a limit and be none. */
function administratorScopes(body: { readonly scopes?: unknown; readonly mailboxId?: unknown }): readonly KeyScope[] {
  for (const member of ["scopes", "mailboxId"] as const) {
    if (body[member] !== undefined) throw invalid({ in: "body", pointer: `#/${member}`, detail: "an administrator's key cannot be limited" });
  }
  return keyScopes;
}

function grantable(caller: Caller, wanted: readonly KeyScope[] | undefined): readonly KeyScope[] {
  const missing = (wanted ?? []).filter((scope) => !caller.scopes.includes(scope));
  if (missing.length > 0) throw new ApiError("forbidden_scope", { detail: `A key cannot give what it does not have: ${missing.join(", ")}.` });
  return [...new Set(wanted ?? caller.scopes)];
}

/** A key that ends would not end if it could leave one behind that does not. */
function withinLife({ expiresAt }: Caller, wanted: string | undefined): string | null {
  if (expiresAt === null) return wanted ?? null;
  if (wanted !== undefined && Date.parse(wanted) > expiresAt.getTime()) {
    throw invalid({ in: "body", pointer: "#/expiresAt", detail: `is later than the end of the creating key, ${expiresAt.toISOString()}` });
  }
  return wanted ?? expiresAt.toISOString();
}

function toBody(row: AccessKeyRow): z.input<typeof accessKeySchema> {
  return {
    id: row.id,
    role: row.role,
    customerId: row.customer_id,
    name: row.name,
    prefix: row.prefix,
    scopes: keyScopes.filter((scope) => row.scopes.includes(scope)),
    mailboxId: row.mailbox_id,
    expiresAt: row.expires_at?.toISOString() ?? null,
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
    revokedAt: row.revoked_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
  };
}
