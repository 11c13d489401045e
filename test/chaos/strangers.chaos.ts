import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { createAccessKey, revokeAccessKey } from "../../db/access-keys.ts";
import { createCustomer } from "../../db/customers.ts";
import type { Database } from "../../db/database.ts";
import { recordEvents } from "../../db/events.ts";
import { keyScopes } from "../../domain/access.ts";
import type { AccessKeyId, CustomerId, MailboxId } from "../../domain/ids.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { spawnApi } from "../helpers/processes.ts";
import { temporalAddress, temporalNamespace } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";
import { type Follower, follow, followAll } from "../security/followers.ts";
import { createMailboxes, tell } from "../webhooks/outbox.ts";

const customers = 1_000;
const perKey = 10;
const streams = customers * perKey;
const patient = 240_000;

interface Tenant {
  readonly customerId: CustomerId;
  readonly mailboxId: MailboxId;
  readonly keyId: AccessKeyId;
  readonly key: string;
}

async function newTenant(db: Database): Promise<Tenant> {
  const { id: customerId } = await createCustomer(db, { name: "Crowd" });
  const [mailboxId] = await createMailboxes(db, customerId, 1);
  const { row, key } = await createAccessKey(db, { customerId, role: "customer", name: "stream", scopes: keyScopes });
  return { customerId, mailboxId: mailboxId as MailboxId, keyId: row.id, key };
}

const rssMb = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

/** Seconds of CPU, at the usual hundred ticks a second. */
function cpuSeconds(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ").slice(11, 13) ?? [];
  return (Number(user) + Number(system)) / 100;
}

async function transactions(db: Database): Promise<number> {
  const { rows } = await sql<{ n: string }>`select xact_commit::text as n from pg_stat_database where datname = current_database()`.execute(db);
  return Number(rows[0]?.n);
}

/** PostgreSQL counts what a session did when it has been idle for up to ten seconds. */
const statisticsMs = 12_000;

test("ten thousand followers of the event stream, while the API serves everybody else", async () => {
  await using database = await createTestDatabase();
  const { db } = database;
  const tenants: Tenant[] = [];
  for (let i = 0; i < customers; i++) tenants.push(await newTenant(db));
  const outsider = await newTenant(db);
  await using api = await spawnApi({
    DATABASE_URL: database.url,
    EVERPOST_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}`,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: temporalNamespace(),
    EVERPOST_API_EVENT_STREAMS_MAX: String(streams),
    EVERPOST_LOG_LEVEL: "warn",
  });
  const report: Record<string, number> = { streams };
  onTestFinished(() => console.log(`ten thousand followers: ${JSON.stringify(report, undefined, 1)}`));
  const get = (path: string, key: string) => fetch(`${api.url}${path}`, { headers: { Authorization: `Bearer ${key}` } });
  const ordinaryMs = async () => {
    const taken: number[] = [];
    for (let i = 0; i < 100; i++) {
      const startedAt = performance.now();
      expect((await get("/v1/mailboxes", outsider.key)).status).toBe(200);
      taken.push(performance.now() - startedAt);
    }
    return Math.round(taken.toSorted((a, b) => a - b)[95] ?? 0);
  };
  report.ordinaryP95MsAlone = await ordinaryMs();
  const mbBefore = rssMb(api.pid);

  // They come.
  const startedAt = performance.now();
  const makers = tenants.flatMap(({ key }) => Array.from({ length: perKey }, () => () => follow(api.url, key)));
  const crowd = await followAll(makers, { atOnce: 250, answered: (condition) => until(condition, "an answer for each stream", patient) });
  report.openedInS = Math.round((performance.now() - startedAt) / 1000);
  expect(crowd.filter((follower) => !follower.isOpen())).toEqual([]);
  report.mbPerStream = Number(((rssMb(api.pid) - mbBefore) / streams).toFixed(4));
  expect(report.mbPerStream).toBeLessThan(0.06);
  const of = (index: number): readonly Follower[] => crowd.slice(index * perKey, (index + 1) * perKey);

  // One more of a key, and one more of anybody, are told so.
  expect((await get("/v1/events/stream", String(tenants[0]?.key))).status).toBe(429);
  expect((await get("/v1/events/stream", outsider.key)).status).toBe(503);

  // They wait, and cost next to nothing.
  await pause(statisticsMs);
  const [cpuBefore, looksBefore, waitedFrom] = [cpuSeconds(api.pid), await transactions(db), performance.now()];
  await pause(20_000);
  const waited = (performance.now() - waitedFrom) / 1000;
  report.transactionsPerSecond = Math.round((await transactions(db)) - looksBefore) / Math.round(waited);
  report.cpuPercentIdle = Math.round(((cpuSeconds(api.pid) - cpuBefore) / waited) * 100);
  expect(report.transactionsPerSecond).toBeLessThan(30);
  report.ordinaryP95MsBesides = await ordinaryMs();
  expect(report.ordinaryP95MsBesides).toBeLessThan(2_000);

  // Something happens to one, and then to everybody at once.
  const one = tenants[7] as Tenant;
  const toldOneAt = performance.now();
  await tell(db, one.customerId, one.mailboxId, 1);
  await until(() => of(7).every(({ sequences }) => sequences.length === 1), "the one event at its ten streams", patient);
  report.oneEventMs = Math.round(performance.now() - toldOneAt);
  const toldAllAt = performance.now();
  for (const { customerId, mailboxId } of tenants) await tell(db, customerId, mailboxId, 1);
  const meanwhile = ordinaryMs();
  await until(() => crowd.every(({ sequences }) => sequences.length >= 1), "an event at every stream", patient);
  report.everybodysEventMs = Math.round(performance.now() - toldAllAt);
  report.ordinaryP95MsWhileTelling = await meanwhile;

  // Two hundred stop reading while megabytes are told to them: what they do not take is not kept for them.
  const slow = tenants.slice(100, 120);
  const mbBeforeSlow = rssMb(api.pid);
  const lazy = slow.flatMap((_tenant, i) => of(100 + i));
  for (const { socket } of lazy) socket.pause();
  const path = "x".repeat(10_000);
  for (const { customerId, mailboxId } of slow) {
    for (let n = 0; n < 4; n++) {
      await db.transaction().execute((trx) =>
        recordEvents(
          trx,
          { customerId, mailboxId },
          Array.from({ length: 100 }, () => ({ type: "mailbox.sync_reset" as const, path })),
        ),
      );
    }
  }
  report.toldToSlowReadersMb = Math.round((slow.length * perKey * 400 * path.length) / 1e6);
  report.ordinaryP95MsBesidesSlow = await ordinaryMs();
  report.mbForSlowReaders = Math.round(rssMb(api.pid) - mbBeforeSlow);
  expect(report.mbForSlowReaders).toBeLessThan(150);
  for (const { socket } of lazy) socket.resume();
  const whole = (follower: Follower) => follower.sequences.length === 401 && follower.sequences.every((sequence, i) => sequence === i + 1);
  await until(() => lazy.every((follower) => whole(follower) || !follower.isOpen()), "all of it at those who were not cut", patient);
  report.slowReadersCut = lazy.filter((follower) => !follower.isOpen()).length;
  for (const { sequences } of lazy) expect(sequences).toEqual(Array.from({ length: sequences.length }, (_, i) => i + 1));

  // A key ends, and with it what it holds open.
  const gone = tenants[300] as Tenant;
  await revokeAccessKey(db, gone.customerId, gone.keyId);
  await until(() => of(300).every((follower) => !follower.isOpen()), "the streams of a revoked key to end", patient);
  expect(crowd.filter((follower) => follower.isOpen()).length).toBe(streams - perKey - (report.slowReadersCut ?? 0));

  // All hang up in one moment.
  for (const { socket } of crowd) socket.destroy();
  await until(
    async () => {
      const response = await get("/v1/events/stream", outsider.key);
      await response.body?.cancel();
      return response.status === 200;
    },
    "room",
    patient,
  );
  report.mbAfter = Math.round(rssMb(api.pid) - mbBefore);
  const faults = api
    .logs()
    .split("\n")
    .filter((line) => /"level":(50|60)/.test(line) && !line.includes('"code":"service_unavailable"'));
  expect(faults).toEqual([]);
});
