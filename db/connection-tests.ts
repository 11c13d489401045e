import { sql } from "kysely";
import type { TestReport } from "../domain/connection-report.ts";
import type { ConnectionTestId, CustomerId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { newId } from "./ids.ts";
import type { ScopedConnection } from "./scope.ts";
import { type KeyRing, seal, unseal } from "./secrets.ts";

/** What is tested, credentials included: sealed where it lies. */
export interface TestRequest {
  readonly settings: unknown;
  readonly credentials: unknown;
  readonly roleOverrides: Readonly<Record<string, string>>;
}

export interface NewConnectionTest extends TestRequest {
  readonly customerId: CustomerId;
  readonly mailboxId: MailboxId | null;
  readonly provider: string;
  readonly email: string;
}

/** Puts a test down for the workflow that carries it out; only the id goes through Temporal. */
export async function createConnectionTest(db: ScopedConnection, ring: KeyRing, test: NewConnectionTest): Promise<ConnectionTestId> {
  const id = newId("connectionTest");
  const { customerId, mailboxId, provider, email, settings, credentials, roleOverrides } = test;
  const sealed = seal(ring, id, { settings, credentials, roleOverrides } satisfies TestRequest);
  await db
    .insertInto("connection_tests")
    .values({ id, customer_id: customerId, mailbox_id: mailboxId, provider, email, sealed_request: JSON.stringify(sealed) })
    .execute();
  return id;
}

/** For the activity: what is to be tested; undefined if the test is gone or has its report already. */
export async function openConnectionTest(
  db: Connection,
  ring: KeyRing,
  id: ConnectionTestId,
): Promise<(TestRequest & { readonly provider: string; readonly email: string }) | undefined> {
  const row = await db
    .selectFrom("connection_tests")
    .select(["provider", "email", "sealed_request"])
    .where("id", "=", id)
    .where("sealed_request", "is not", null)
    .executeTakeFirst();
  if (row?.sealed_request == null) return undefined;
  return { provider: row.provider, email: row.email, ...(unseal(ring, id, row.sealed_request) as TestRequest) };
}

/** Keeps what the test found and forgets the credentials it was made with. */
export async function saveTestReport(db: Connection, id: ConnectionTestId, report: TestReport): Promise<void> {
  await db
    .updateTable("connection_tests")
    .set({ report: JSON.stringify(report), sealed_request: null })
    .where("id", "=", id)
    .execute();
}

/** The report and nothing else: it is shown once and not kept. */
export async function takeTestReport(db: ScopedConnection, id: ConnectionTestId): Promise<TestReport | undefined> {
  const row = await db.deleteFrom("connection_tests").where("id", "=", id).returning("report").executeTakeFirst();
  return (row?.report ?? undefined) as TestReport | undefined;
}

/** Removes tests that nobody fetched, and with them the credentials in them; returns how many. Run every few minutes. */
export async function sweepConnectionTests(db: Connection): Promise<number> {
  const { numAffectedRows } = await sql`delete from connection_tests where created_at < now() - interval '10 minutes'`.execute(db);
  return Number(numAffectedRows ?? 0);
}
