import { z } from "zod";
import { createConnectionTest, type NewConnectionTest, takeTestReport } from "../../db/connection-tests.ts";
import { findMailbox, readCredentials } from "../../db/mailboxes.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { folderRoles } from "../../domain/folder.ts";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";
import type { ApiDeps } from "../deps.ts";
import { ApiError, notFound } from "../errors.ts";
import { newMailboxSchema, toWantedMailbox } from "../mailbox-body.ts";
import { mailProblemSchema } from "../mailbox-schemas.ts";
import { type Route, route } from "../route.ts";
import { idParams } from "../schemas.ts";

const failedSide = z.strictObject({ ok: z.literal(false), problem: mailProblemSchema });

const reportSchema = z
  .strictObject({
    receiving: z.discriminatedUnion("ok", [
      z.strictObject({
        ok: z.literal(true),
        address: z.string().describe("The mailbox's address as the server confirms it."),
        inbox: z.strictObject({ total: z.int(), unseen: z.int() }),
        folders: z.array(
          z.strictObject({
            path: z.string(),
            name: z.string(),
            delimiter: z.string(),
            role: z.enum(folderRoles),
            roleSource: z.enum(["server", "name", "override", "none"]),
            selectable: z.boolean(),
            isShared: z.boolean().describe("A folder of another user, or of all: not read unless its path is included."),
            stableId: z.string().nullable().describe("The provider's id of the folder that stays when it is renamed, where there is one."),
          }),
        ),
        serverCapabilities: z.array(z.string()),
        serverName: z.string().nullable(),
      }),
      failedSide,
    ]),
    sending: z
      .discriminatedUnion("ok", [
        z.strictObject({ ok: z.literal(true), sizeLimitBytes: z.int().nullable(), extensions: z.array(z.string()) }),
        failedSide,
      ])
      .nullable()
      .describe("Null where nothing is configured to send."),
  })
  .meta({ id: "ConnectionReport", description: "What each side of the mailbox answered, or why it did not." });

const tags = ["Mailboxes"];
const description = "200 whatever was found: read `ok` of each side.";

export const connectionTestRoutes: readonly Route[] = [
  route(
    {
      method: "post",
      path: "/v1/mailboxes/test",
      operationId: "testConnection",
      summary: "Test settings and credentials without saving them",
      description: `Takes what \`POST /v1/mailboxes\` takes. ${description}`,
      tags,
      auth: { scope: "mailboxes:write" },
      isChange: false,
      body: newMailboxSchema,
      example: { email: "ann@example.com", preset: "fastmail", password: "an app password" },
      response: reportSchema,
    },
    async ({ body, scope, deps, db }) => {
      const { provider, email, settings, credentials, sync } = toWantedMailbox(body);
      const { roleOverrides } = sync;
      return runTest(deps, db, { customerId: scope.customerId, mailboxId: null, provider, email, settings, credentials, roleOverrides });
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/mailboxes/{id}/test",
      operationId: "testMailbox",
      summary: "Test a mailbox's stored settings and credentials",
      description,
      tags,
      auth: { scope: "mailboxes:write", openToMailboxKeys: true },
      isChange: false,
      params: idParams("mailbox"),
      response: reportSchema,
      problems: ["conflict"],
    },
    async ({ params, scope, deps, db }) => {
      const row = await findMailbox(db, params.id);
      if (row === undefined) throw notFound("mailbox");
      const credentials = await readCredentials(db, deps.config.keyRing, row.id);
      if (credentials === undefined) throw new ApiError("conflict", { detail: "The mailbox has no credentials.", fix: "Set them with PATCH." });
      const { provider, email, settings } = row;
      const { roleOverrides } = { ...defaultSyncSettings, ...row.sync };
      return runTest(deps, db, { customerId: scope.customerId, mailboxId: row.id, provider, email, settings, credentials, roleOverrides });
    },
  ),
];

async function runTest(deps: ApiDeps, db: ScopedConnection, test: NewConnectionTest): Promise<z.input<typeof reportSchema>> {
  const id = await createConnectionTest(db, deps.config.keyRing, test);
  try {
    await deps.commands.testConnection(id);
  } catch (error) {
    // Whether or not the worker gets to it: nobody will read the report, and the credentials should not lie about.
    await takeTestReport(db, id);
    throw error;
  }
  const report = await takeTestReport(db, id);
  if (report === undefined) throw new Error("the test ended without a report");
  return report as z.input<typeof reportSchema>;
}
