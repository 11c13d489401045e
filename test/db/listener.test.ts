import { sql } from "kysely";
import { expect, test } from "vitest";
import { openListener } from "../../db/listener.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";

test("a connection that listens and hangs without a word is found out, and opened anew", async () => {
  await using database = await createTestDatabase();
  const url = new URL(database.url);
  const way = await startProxy(Number(url.port));
  url.port = String(way.port);
  const heard: string[] = [];
  const listener = await openListener(url.href, "hanging", (payload) => heard.push(payload), { askEveryMs: 2_000, answerMs: 1_000 });
  way.freeze();
  await sql`select pg_notify('hanging', 'lost')`.execute(database.db);
  way.thaw();
  // An empty payload says that something may have been missed.
  await until(() => heard.length === 2, "the connection to be opened anew");
  await sql`select pg_notify('hanging', 'heard')`.execute(database.db);
  await until(() => heard.includes("heard"), "a notification on the new connection");
  expect(heard).toEqual(["", "", "heard"]);
  await listener.close();
  await way.close();
});

test("a first opening that fails is the caller's, and leaves nobody behind who tries again", async () => {
  await using database = await createTestDatabase();
  const url = new URL(database.url);
  let isRefusing = true;
  const way = await startProxy(Number(url.port), {
    fromServer(bytes, link) {
      if (isRefusing) link.cut();
      return bytes;
    },
  });
  url.port = String(way.port);
  await expect(openListener(url.href, "nobody", () => {})).rejects.toThrow();
  const before = way.connections;
  isRefusing = false;
  // Longer than the pause before a lost connection is opened anew.
  await sql`select pg_sleep(1.5)`.execute(database.db);
  expect(way.connections).toBe(before);
  await way.close();
});
