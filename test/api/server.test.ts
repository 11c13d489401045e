import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { createTestDatabase } from "../helpers/database.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { temporalAddress, temporalNamespace } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

const ring = `test:${Buffer.alloc(32, 7).toString("base64")}`;

function start(env: Record<string, string>): ChildProcess {
  const child = fork(new URL("../../api/server.ts", import.meta.url), {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: [],
    env: { PATH: process.env.PATH, EVERPOST_ENCRYPTION_KEYS: ring, EVERPOST_API_PORT: "0", EVERPOST_LOG_LEVEL: "info", ...env },
  });
  children.push(child);
  return child;
}

async function ready(child: ChildProcess): Promise<string> {
  const [message] = (await Promise.race([once(child, "message"), once(child, "exit").then(() => Promise.reject(new Error("it ended")))])) as [
    { type: string; port: number },
  ];
  expect(message.type).toBe("ready");
  return `http://127.0.0.1:${message.port}`;
}

test("says when it is ready, and at SIGTERM finishes what is in flight and takes nothing new", async () => {
  await using database = await createTestDatabase();
  const child = start({ DATABASE_URL: database.url, TEMPORAL_ADDRESS: temporalAddress(), TEMPORAL_NAMESPACE: temporalNamespace() });
  const url = await ready(child);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  const { body } = (await fetch(`${url}/readyz`).then(async (response) => ({ body: await response.json() }))) as { body: { checks: object } };
  expect(body.checks).toMatchObject({ database: { ok: true }, schema: { ok: true }, temporal: { ok: true } });

  // A request that has begun and not ended: its last header is missing.
  const slow = connect(Number(new URL(url).port), "127.0.0.1").setEncoding("utf8");
  slow.write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
  await until(async () => (await fetch(`${url}/healthz`)).ok, "the server to have seen the first bytes");
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await until(
    () =>
      fetch(`${url}/healthz`).then(
        () => false,
        () => true,
      ),
    "new connections to be refused",
  );
  slow.write("\r\n");
  const answer = (await slow.toArray()).join("");
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(await exited).toEqual([0, null]);
});

test("ends within ten seconds of SIGTERM although its line to PostgreSQL hangs, and names what it did not wait for", async () => {
  await using database = await createTestDatabase();
  const databaseUrl = new URL(database.url);
  const way = await startProxy(Number(databaseUrl.port));
  databaseUrl.port = String(way.port);
  const child = start({ DATABASE_URL: databaseUrl.href, TEMPORAL_ADDRESS: temporalAddress(), TEMPORAL_NAMESPACE: temporalNamespace() });
  let log = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const url = await ready(child);
  await until(async () => /"database":\{"ok":true/.test(await (await fetch(`${url}/readyz`)).text()), "connections to lie in the pool");
  way.freeze();
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
  const exited = once(child, "exit");
  const askedAt = performance.now();
  child.kill("SIGTERM");
  await exited;
  // Ten seconds, and what a machine with too much to do takes to notice.
  expect(performance.now() - askedAt).toBeLessThan(13_000);
  expect(log).toContain('"step":"the database"');
  await way.close();
}, 60_000);

test("drains when its parent is gone", async () => {
  await using database = await createTestDatabase();
  const child = start({ DATABASE_URL: database.url, TEMPORAL_ADDRESS: temporalAddress() });
  await ready(child);
  const exited = once(child, "exit");
  child.disconnect();
  expect(await exited).toEqual([0, null]);
});

test("starts without database and Temporal, and says that it is not ready", async () => {
  const child = start({ DATABASE_URL: "postgres://nobody@127.0.0.1:1/none", TEMPORAL_ADDRESS: "127.0.0.1:1" });
  const url = await ready(child);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/readyz`)).status).toBe(503);
});

test("says in words what is wrong with its settings or its port", async () => {
  const wrong = start({ DATABASE_URL: "mysql://x" });
  const text = (await wrong.stderr?.setEncoding("utf8").toArray())?.join("") ?? "";
  expect(text).toContain("DATABASE_URL");
  expect(text).not.toMatch(/\n\s+at /);
  await using database = await createTestDatabase();
  const url = await ready(start({ DATABASE_URL: database.url }));
  const second = start({ DATABASE_URL: database.url, EVERPOST_API_PORT: new URL(url).port });
  const complaint = (await second.stderr?.setEncoding("utf8").toArray())?.join("") ?? "";
  expect(complaint).toContain("EVERPOST_API_PORT");
});
