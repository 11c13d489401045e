import { ImapFlow } from "imapflow";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { searchAttributes } from "../../workflows/names.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { createMailUser, deliver, dovecot } from "../helpers/dovecot.ts";
import { connectTemporal, temporalNamespace } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test("gives each test file a migrated database of its own", async () => {
  await using other = await createTestDatabase();
  await sql`create table only_here (id int)`.execute(other.db);
  const { rows } = await sql`select 1 from information_schema.tables where table_name = 'only_here'`.execute(database.db);
  expect(rows).toEqual([]);
  expect(await database.db.selectFrom("mailboxes").selectAll().execute()).toEqual([]);
});

test("runs a Temporal server that knows the namespace and every search attribute", async () => {
  const { connection, close } = await connectTemporal();
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: temporalNamespace() });
    expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining(Object.values(searchAttributes).map(({ name }) => name)));
  } finally {
    await close();
  }
});

test("runs an IMAP server that delivers and lets a fresh user log in", async () => {
  const user = await createMailUser();
  await deliver(user.email, `From: a@example.test\r\nTo: ${user.email}\r\nSubject: hello\r\nMessage-ID: <1@example.test>\r\n\r\nHi\r\n`);
  const client = new ImapFlow({
    host: dovecot().host,
    port: dovecot().imapPort,
    secure: false,
    doSTARTTLS: false,
    logger: false,
    auth: { user: user.email, pass: user.password },
  });
  client.on("error", () => {});
  await client.connect();
  try {
    const status = await client.status("INBOX", { messages: true });
    expect(status).toMatchObject({ messages: 1 });
    expect((await client.list()).map((folder) => folder.specialUse)).toEqual(
      expect.arrayContaining(["\\Sent", "\\Drafts", "\\Trash", "\\Junk", "\\Archive"]),
    );
  } finally {
    await client.logout();
  }
});

test("until says what it waited for and why the condition failed", async () => {
  const waiting = until(
    () => {
      throw new Error("not there");
    },
    "a pig that flies",
    20,
  );
  await expect(waiting).rejects.toMatchObject({ message: expect.stringContaining("a pig that flies"), cause: new Error("not there") });
});
