import { z } from "zod";
import { isMigrated } from "../../db/migrate.ts";
import type { ApiDeps } from "../deps.ts";
import { Reply, route } from "../route.ts";

const checkSchema = z.strictObject({ ok: z.boolean(), fix: z.string().optional().describe("What to do, if it is not.") });
const readinessSchema = z.strictObject({
  ready: z.boolean(),
  checks: z.strictObject({
    database: checkSchema,
    schema: checkSchema,
    temporal: checkSchema,
    mailWorker: checkSchema,
    providersWorker: checkSchema,
  }),
});

const tags = ["Health"];
const auth = { public: true } as const;

export const healthRoutes = [
  route(
    {
      method: "get",
      path: "/healthz",
      operationId: "getHealth",
      summary: "Whether this process is alive",
      description: "It asks nothing of anybody: a process that answers need not be restarted.",
      tags,
      auth,
      response: z.strictObject({ ok: z.literal(true) }),
    },
    async () => ({ ok: true as const }),
  ),

  route(
    {
      method: "get",
      path: "/readyz",
      operationId: "getReadiness",
      summary: "Whether mail can flow",
      description: "200 if the database, Temporal and the workers are there, else 503 with what is not and what to do about it.",
      tags,
      auth,
      response: readinessSchema,
      otherStatuses: [503],
    },
    async ({ deps }) => {
      const checks = await checkAll(deps);
      const ready = Object.values(checks).every((check) => check.ok);
      return new Reply(ready ? 200 : 503, { ready, checks });
    },
  ),
];

/** A check that has not answered by then counts as failed: whoever asks for readiness has a timeout of its own. */
const checkTimeoutMs = 4_000;

async function checkAll({ db, commands, log }: ApiDeps): Promise<z.input<typeof readinessSchema>["checks"]> {
  const check = async (name: string, fix: string, ask: () => Promise<unknown>) => {
    try {
      const ok = (await Promise.race([ask(), timeout()])) !== false;
      return ok ? { ok } : { ok, fix };
    } catch (error) {
      log.debug({ err: error, check: name }, "a readiness check failed");
      return { ok: false, fix };
    }
  };
  const [database, schema, temporal, mailWorker, providersWorker] = await Promise.all([
    check("database", "Start PostgreSQL, or correct DATABASE_URL.", async () => {
      await db.selectFrom("customers").select("id").limit(1).execute().catch(ignoreMissingTable);
    }),
    check("schema", "Run `npm run migrate`.", () => isMigrated(db)),
    check("temporal", "Start Temporal, or correct TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE.", () => commands.ping()),
    check("mailWorker", "Start a worker with the role `mail`: no worker asks for work of this queue.", () => commands.hasPoller("mail")),
    check("providersWorker", "Start a worker with the role `providers`: no worker asks for work of this queue.", () =>
      commands.hasPoller("providers"),
    ),
  ]);
  return { database, schema, temporal, mailWorker, providersWorker };
}

async function timeout(): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), checkTimeoutMs).unref());
}

/** 42P01, no such table: the database answers, and the schema's check says the rest. */
function ignoreMissingTable(error: unknown): void {
  if (typeof error === "object" && error !== null && "code" in error && error.code === "42P01") return;
  throw error;
}
