import { afterAll, beforeAll, expect, test } from "vitest";
import { createAccessKey, findLiveAccessKey, touchAccessKey } from "../../db/access-keys.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const administrator = { customerId: null, role: "administrator", name: "test", scopes: [] } as const;

test("stores a hash and a prefix, never the key", async () => {
  const { row, key } = await createAccessKey(database.db, administrator);
  expect(key).toMatch(/^evp_[1-9A-HJ-NP-Za-km-z]{50}$/);
  const stored = await database.db.selectFrom("access_keys").selectAll().where("id", "=", row.id).executeTakeFirstOrThrow();
  expect(JSON.stringify({ ...stored, hash: stored.hash.toString("latin1") })).not.toContain(key.slice(12));
  expect(stored.hash).toHaveLength(32);
});

test("finds a key that is alive and no other", async () => {
  const { row, key } = await createAccessKey(database.db, administrator);
  expect((await findLiveAccessKey(database.db, key))?.id).toBe(row.id);
  const other = key.slice(0, 20) + (key[20] === "a" ? "b" : "a") + key.slice(21);
  expect(await findLiveAccessKey(database.db, other)).toBeUndefined();
  const { key: expired } = await createAccessKey(database.db, { ...administrator, expiresAt: new Date(Date.now() - 1).toISOString() });
  expect(await findLiveAccessKey(database.db, expired)).toBeUndefined();
});

test("tells rubbish by its checksum without asking the database", async () => {
  const closed = await createTestDatabase();
  const { key } = await createAccessKey(closed.db, administrator);
  await closed.drop();
  for (const rubbish of ["", "evp_", "evp_x", key.slice(0, -1), `${key}1`, key.replace("evp_", "evq_"), `evp_${"1".repeat(50)}`]) {
    expect(await findLiveAccessKey(closed.db, rubbish)).toBeUndefined();
  }
  await expect(findLiveAccessKey(closed.db, key)).rejects.toThrow();
});

test("notes the last use at most once a minute", async () => {
  const { row } = await createAccessKey(database.db, administrator);
  const read = () => database.db.selectFrom("access_keys").select(["id", "last_used_at"]).where("id", "=", row.id).executeTakeFirstOrThrow();
  await touchAccessKey(database.db, row, Date.now());
  const first = await read();
  expect(first.last_used_at).not.toBeNull();
  await touchAccessKey(database.db, row, Date.now());
  await touchAccessKey(database.db, first, Date.now());
  expect(await read()).toEqual(first);
  const old = new Date(Date.now() - 61_000);
  await database.db.updateTable("access_keys").set({ last_used_at: old }).where("id", "=", row.id).execute();
  await touchAccessKey(database.db, { ...row, last_used_at: old }, Date.now());
  expect((await read()).last_used_at?.getTime()).toBeGreaterThan(old.getTime());
});
