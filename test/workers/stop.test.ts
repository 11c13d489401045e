import { afterAll, expect, test } from "vitest";
import { createTestDatabase } from "../helpers/database.ts";
import { spawnWorker } from "../helpers/processes.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { connectTemporal, temporalAddress, temporalNamespace } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";

const { client, close } = await connectTemporal();
afterAll(close);

/** What docs/operations.md promises, and what a machine with too much to do may take to notice. */
const promisedMs = 25_000 + 5_000;

test("a worker whose every line to PostgreSQL hangs while it works ends within 25 seconds of SIGTERM, and names what it was at", async () => {
  await using database = await createTestDatabase();
  const url = new URL(database.url);
  let hangs = false;
  const way = await startProxy(Number(url.port), {
    fromClient(bytes) {
      hangs ||= bytes.includes("select id from mailboxes");
      return bytes;
    },
    fromServer: (bytes) => (hangs ? Buffer.alloc(0) : bytes),
  });
  url.port = String(way.port);
  const prefix = `stop${process.pid}`;
  await using worker = await spawnWorker({
    DATABASE_URL: url.href,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: temporalNamespace(),
    EVERPOST_TASK_QUEUE_PREFIX: prefix,
    EVERPOST_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}`,
  });
  const schedule = client.schedule.getHandle(`${prefix}-housekeeping`);
  await schedule.trigger();
  await until(() => hangs, "housekeeping to have asked what is not answered");
  const askedAt = performance.now();
  await worker.kill("SIGTERM");
  expect(performance.now() - askedAt).toBeLessThan(promisedMs);
  expect(worker.logs()).toContain('"underWay":["startLostWorkflows"]');
  await schedule.delete();
  await way.close();
}, 120_000);
