import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, expect, test } from "vitest";
import { freePort } from "../../embedded/ports.ts";
import { startPostgres as start } from "../../embedded/postgres.ts";
import { isAlive } from "../../embedded/processes.ts";
import { startPostgres } from "../helpers/own-parts.ts";
import { sweep, testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";

const dir = testDirectory("postgres-test");
afterAll(() => sweep(dir));

async function options(name: string) {
  return { dataDir: join(dir, name), logFile: join(dir, `${name}.log`), port: await freePort(), password: "p:/@ß" };
}

async function ask(url: string, statement: string): Promise<readonly Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  return (await client.query(statement).finally(() => client.end())).rows;
}

test("keeps what was committed through a SIGKILL, on the same port", async () => {
  const postgres = await startPostgres();
  await ask(postgres.now.url, "create table kept as select 7 as n");
  const before = postgres.now.pid;
  // A session in the middle of work is what keeps the shared memory of a killed server in use.
  const busy = ask(postgres.now.url, "select pg_sleep(60)").catch(() => "broken off");
  await until(
    async () => (await ask(postgres.now.url, "select 1 from pg_stat_activity where query like 'select pg_sleep%'")).length > 0,
    "the busy session",
  );
  await postgres.kill();
  await postgres.restart();
  expect(postgres.now.pid).not.toBe(before);
  expect(await ask(postgres.now.url, "select n from kept")).toEqual([{ n: 7 }]);
  expect(await busy).toBe("broken off");
});

test("stops the server of a parent that was killed and starts its own on the same data", async () => {
  const settings = await options("leftover");
  const first = await start(settings);
  await ask(first.url, "create table kept as select 1 as n");
  const second = await start(settings);
  expect(isAlive(first.pid)).toBe(false);
  expect(await ask(second.url, "select n from kept")).toEqual([{ n: 1 }]);
  await second.stop();
});

test("leaves a stranger alone that carries the pid of a dead server", async () => {
  const settings = await options("stranger");
  await (await start(settings)).stop();
  const stranger = spawn("sleep", ["60"]);
  try {
    writeFileSync(join(settings.dataDir, "postmaster.pid"), `${stranger.pid}\n${settings.dataDir}\n`);
    const server = await start(settings);
    expect(stranger.exitCode ?? stranger.signalCode).toBe(null);
    await server.stop();
  } finally {
    stranger.kill();
  }
});

test("makes the cluster anew when making it was broken off half-way", async () => {
  const settings = await options("half");
  mkdirSync(join(settings.dataDir, "base"), { recursive: true });
  writeFileSync(join(settings.dataDir, "pg_hba.conf"), "rubbish");
  const server = await start(settings);
  expect(await ask(server.url, "select 1 as n")).toEqual([{ n: 1 }]);
  await server.stop();
});

test("lets nobody in without the password, and says so when the one kept beside the data is another", async () => {
  const settings = await options("password");
  const server = await start(settings);
  const url = new URL(server.url);
  url.password = "wrong";
  await expect(ask(url.href, "select 1")).rejects.toMatchObject({ code: "28P01" });
  await server.stop();
  await expect(start({ ...settings, password: "another" })).rejects.toThrow("another password");
});

test("says in one line that its port is taken, even where another PostgreSQL would answer there", async () => {
  const settings = await options("first");
  const server = await start(settings);
  const error = await start({ ...(await options("second")), port: settings.port }).catch((reason: Error) => reason);
  await server.stop();
  expect(error).toMatchObject({ name: "StartError", message: `port ${settings.port}, which PostgreSQL is to use, is taken by another process` });
});

test("stops a server twice as well as once", async () => {
  const server = await start(await options("twice"));
  await Promise.all([server.stop(), server.stop()]);
  await server.stop();
  expect(isAlive(server.pid)).toBe(false);
});
