import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createConnectionTest, openConnectionTest } from "../../db/connection-tests.ts";
import { scopedTo } from "../../db/scope.ts";
import { unseal } from "../../db/secrets.ts";
import { openEndpointSecrets } from "../../db/webhook-endpoints.ts";
import { type Api, startApi } from "../api/api.ts";
import { makeThings } from "../api/things.ts";
import { type SpawnedApi, spawnApi } from "../helpers/processes.ts";
import { databaseTraces } from "./traces.ts";

const run = promisify(execFile);
const fresh = { name: "fresh", bytes: randomBytes(32) };
const asSetting = (keys: readonly { readonly name: string; readonly bytes: Buffer }[]) =>
  keys.map(({ name, bytes }) => `${name}:${bytes.toString("base64")}`).join();

let api: Api;
let later: SpawnedApi | undefined;
beforeAll(async () => {
  api = await startApi();
});
afterAll(async () => {
  await later?.kill();
  await api[Symbol.asyncDispose]();
});

const rotate = (keys: Parameters<typeof asSetting>[0]) =>
  run("npm", ["run", "--silent", "rotate-keys"], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    env: { ...process.env, DATABASE_URL: api.config.database.url, EVERPOST_ENCRYPTION_KEYS: asSetting(keys) },
  });

const sealedBy = async (name: string) =>
  (await databaseTraces(api.db)).filter(({ text }) => text.includes(`"key": "${name}"`)).map(({ where }) => where);

test("after npm run rotate-keys everything opens with the new key alone", { timeout: 120_000 }, async () => {
  const { id: customerId, key } = await api.newCustomer();
  const things = await makeThings(api, customerId);
  const once = { key, headers: { "Idempotency-Key": "once" }, body: { name: "made once" } };
  const made = await api.call("POST", "/v1/access-keys", once);
  const hook = { key, headers: { "Idempotency-Key": "hook/with%slash" }, body: { url: "http://127.0.0.1:9/hook" } };
  const endpoint = await api.call("POST", "/v1/webhook-endpoints", hook);
  expect([made.status, endpoint.status]).toEqual([201, 201]);
  const db = scopedTo(api.db, { customerId, mailboxId: null });
  const wanted = { settings: {}, credentials: { password: "tested" }, roleOverrides: {} };
  const testId = await createConnectionTest(db, api.config.keyRing, {
    ...wanted,
    customerId,
    mailboxId: null,
    provider: "imap",
    email: "ann@example.com",
  });
  expect(await sealedBy("test")).toHaveLength(4);

  // Without the old key nothing can be done, and that is said and leaves everything as it is.
  await expect(rotate([fresh])).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(`credentials ${things.mailboxes}`) });
  expect(await sealedBy("fresh")).toEqual([]);

  expect((await rotate([fresh, ...api.config.keyRing])).stdout).toMatch(/^6 secrets are now under key "fresh"/);
  expect(await sealedBy("test")).toEqual([]);
  expect((await rotate([fresh, ...api.config.keyRing])).stdout).toMatch(/^0 secrets/);

  const { sealed } = await api.db.selectFrom("credentials").select("sealed").where("mailbox_id", "=", things.mailboxes).executeTakeFirstOrThrow();
  expect(unseal([fresh], things.mailboxes, sealed)).toEqual({ password: "memory" });
  const row = await api.db.selectFrom("webhook_endpoints").selectAll().where("id", "=", endpoint.body.id).executeTakeFirstOrThrow();
  expect(openEndpointSecrets([fresh], row).map(({ secret }) => secret)).toEqual([endpoint.body.secret]);
  expect(await openConnectionTest(api.db, [fresh], testId)).toMatchObject({ credentials: { password: "tested" } });

  later = await spawnApi({
    DATABASE_URL: api.config.database.url,
    EVERPOST_ENCRYPTION_KEYS: asSetting([fresh]),
    TEMPORAL_ADDRESS: "127.0.0.1:9",
    EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
  });
  const again = async (path: string, { headers, body }: typeof once | typeof hook, more: object = {}) => {
    const response = await fetch(`${later?.url}${path}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ ...body, ...more }),
    });
    return { status: response.status, replayed: response.headers.get("Idempotency-Replayed"), body: await response.json() };
  };
  expect(await again("/v1/access-keys", once)).toEqual({ status: 201, replayed: "true", body: made.body });
  expect(await again("/v1/webhook-endpoints", hook)).toEqual({ status: 201, replayed: "true", body: endpoint.body });
  expect(await again("/v1/access-keys", once, { name: "another" })).toMatchObject({ status: 422, body: { code: "idempotency_mismatch" } });
});
