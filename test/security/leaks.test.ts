import { randomBytes } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Database } from "../../db/database.ts";
import { startApi } from "../api/api.ts";
import { makeThings } from "../api/things.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { fileTraces, findLeaks } from "./leaks.ts";
import type { Trace } from "./traces.ts";

const mark = `m${randomBytes(9).toString("hex")}`;
const secrets = { "the password": `pw${randomBytes(9).toString("hex")}` };
const secret = secrets["the password"];

let api: Awaited<ReturnType<typeof startApi>>;
beforeAll(async () => {
  api = await startApi();
  const { id } = await api.newCustomer();
  await makeThings(api, id);
});
afterAll(() => api[Symbol.asyncDispose]());

/** What is found while something is planted; nothing of it stays. */
async function found(plant: (db: Database) => Promise<unknown>, elsewhere: readonly Trace[] = []): Promise<readonly string[]> {
  const undone = new Error("undone");
  let leaks: readonly string[] = [];
  await api.db
    .transaction()
    .execute(async (db) => {
      await plant(db);
      leaks = await findLeaks({ db, mark, secrets, elsewhere });
      throw undone;
    })
    .catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  return leaks;
}

const nothing = async () => {};

test("finds nothing in a database in which nothing leaked", async () => {
  expect(await found(nothing)).toEqual([]);
});

test("takes content for what it is where it belongs", async () => {
  const plant = (db: Database) =>
    sql`update messages set subject = ${mark}, snippet = ${mark}, envelope = ${JSON.stringify({ subject: mark })}`.execute(db);
  expect(await found(plant)).toEqual([]);
});

test.each<[string, (db: Database) => Promise<unknown>, string]>([
  [
    "audit_log.details",
    (db) => sql`insert into audit_log (id, actor, action, target, details) values ('a', 'a', 'a', 'a', ${{ subject: mark }})`.execute(db),
    "content",
  ],
  ["webhook_deliveries.attempts", (db) => sql`update webhook_deliveries set attempts = ${JSON.stringify([{ error: mark }])}`.execute(db), "content"],
  ["mailboxes.problem", (db) => sql`update mailboxes set problem = ${{ serverSaid: mark }}`.execute(db), "content"],
  ["mailboxes.settings", (db) => sql`update mailboxes set settings = ${{ password: secret }}`.execute(db), "the password"],
  ["messages.subject", (db) => sql`update messages set subject = ${`a secret is none of content: ${secret}`}`.execute(db), "the password"],
  ["events.data", (db) => sql`update events set data = ${{ inBase64: Buffer.from(`x${secret}x`).toString("base64") }}`.execute(db), "the password"],
  [
    "idempotency_keys.request_hash",
    (db) => sql`insert into idempotency_keys (customer_id, key, request_hash) values ('c', 'k', ${Buffer.from(secret)})`.execute(db),
    "the password",
  ],
])("finds what was planted in %s", async (column, plant, what) => {
  expect(await found(plant)).toEqual([expect.stringContaining(`column ${column} holds ${what}`)]);
});

test("finds content and secrets in histories, logs, answers, metrics and files", async () => {
  const dir = mkdtempSync(join(testDirectory("leaks"), "blobs-"));
  writeFileSync(join(dir, "blob"), Buffer.concat([randomBytes(50), Buffer.from(mark), randomBytes(50)]));
  const elsewhere = [
    { where: "a log", text: `{"msg":"logging in with ${secret}"}` },
    { where: "a history", text: JSON.stringify({ payload: JSON.stringify({ from: `${mark}sender@sender.test` }) }) },
    { where: "an id", text: "mbx_1CbWqaK3zvYyZ9rNbX1pQ4" },
    ...fileTraces("the blob store", dir),
  ];
  const leaks = await found(nothing, elsewhere);
  expect(leaks.map((leak) => leak.split(":")[0])).toEqual([
    "a log holds the password",
    "a history holds content",
    "the blob store, blob holds content",
  ]);
});
