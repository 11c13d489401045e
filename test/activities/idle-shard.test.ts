import { spawnSync } from "node:child_process";
import { CancelledFailure } from "@temporalio/common";
import { MockActivityEnvironment } from "@temporalio/testing";
import { ImapFlow } from "imapflow";
import { sql } from "kysely";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import type { ActivityDependencies } from "../../activities/dependencies.ts";
import { type IdleShardResult, idleShard } from "../../activities/idle-shard.ts";
import { saveCredentials } from "../../db/credentials.ts";
import { notifyShardOf } from "../../db/watches.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";
import { deliver, deliverTo, dovecot } from "../helpers/dovecot.ts";
import { startDovecot, startPostgres } from "../helpers/own-parts.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";
import { type Engine, startEngine, type TestMailbox, testKeyRing } from "./engine.ts";

let engine: Engine;
let lastShard = 0;
const running: RunningShard[] = [];

beforeAll(async () => {
  engine = await startEngine();
});
afterEach(async () => {
  for (const shard of running.splice(0)) await shard.stop();
});
afterAll(() => engine[Symbol.asyncDispose]());

describe("a shard", () => {
  it("wakes the mailbox within a second of a delivery, and names the folder", async () => {
    const mailbox = await connected(engine);
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    const latencies: number[] = [];
    for (let n = 1; n <= 4; n += 1) {
      const before = wakesOf(engine, mailbox.id).length;
      await deliver(mailbox.email, mail(n));
      const deliveredAt = performance.now();
      await until(() => wakesOf(engine, mailbox.id).length > before, "a wake");
      latencies.push(performance.now() - deliveredAt);
      await engine.run((run) => run.fetchChanges({ mailboxId: mailbox.id, paths: null, isThorough: false }));
    }
    expect(Math.min(...latencies)).toBeLessThan(1_000);
    expect(wakesOf(engine, mailbox.id).every((paths) => paths.length === 1 && paths[0] === "INBOX")).toBe(true);
  });

  it("hears of changes in other folders by asking for their status", async () => {
    const mailbox = await connected(engine);
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    const client = new ImapFlow({
      host: dovecot().host,
      port: dovecot().imapPort,
      secure: false,
      doSTARTTLS: false,
      logger: false,
      auth: { user: mailbox.email, pass: mailbox.password },
    });
    await client.connect();
    await client.append("Archive", mail(1));
    await client.logout();
    await until(() => wakesOf(engine, mailbox.id).some((paths) => paths.includes("Archive")), "a wake that names the folder");
  });

  it("listens to a folder of idlePaths on a connection of its own, and to a folder that is not read on none", async () => {
    const mailbox = await connected(engine);
    const sync = { ...defaultSyncSettings, idlePaths: ["Archive", "Nowhere"] };
    await engine.db
      .updateTable("mailboxes")
      .set({ sync: JSON.stringify(sync) })
      .where("id", "=", mailbox.id)
      .execute();
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    await until(async () => (await connectionsOf(mailbox.email)) === 2, "two connections");
  });

  it("wakes for what came before the watch began [row 73]", async () => {
    const mailbox = await connected(engine);
    await deliver(mailbox.email, mail(1));
    await start(engine, await assign(engine, mailbox.id));
    await until(() => wakesOf(engine, mailbox.id).length > 0, "a wake");
  });

  it("takes a mailbox that is assigned while it runs at once, and lets go of one that is paused or taken away", async () => {
    const first = await connected(engine);
    const shard = await assign(engine, first.id);
    await start(engine, shard);
    await untilWatching(engine, first.id);
    const second = await connected(engine);
    await assign(engine, second.id, shard);
    const assignedAt = performance.now();
    await untilWatching(engine, second.id);
    // Without the notification it would be found ten seconds later.
    expect(performance.now() - assignedAt).toBeLessThan(8_000);

    await engine.run((run) => run.setPaused({ mailboxId: first.id, isPaused: true }));
    await until(async () => (await connectionsOf(first.email)) === 0, "the connection to be closed");
    await engine.run((run) => run.setPaused({ mailboxId: first.id, isPaused: false }));
    await untilWatching(engine, first.id);

    await engine.run((run) => run.forgetMailbox({ mailboxId: second.id, purge: false }));
    const forgottenAt = performance.now();
    await until(async () => (await connectionsOf(second.email)) === 0, "the connection to be closed");
    expect(performance.now() - forgottenAt).toBeLessThan(6_000);
    expect(await connectionsOf(first.email)).toBe(1);
  });

  it("opens a mailbox anew whose credentials changed", async () => {
    const mailbox = await connected(engine);
    const proxy = await startProxy(dovecot().imapPort);
    await through(engine, mailbox.id, proxy.port);
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    const before = proxy.connections;
    await saveCredentials(engine.db, testKeyRing, { id: mailbox.id, customerId: engine.customerId }, { password: mailbox.password });
    await notifyShardOf(engine.db, mailbox.id);
    await until(() => proxy.connections > before, "another connection");
    await untilWatching(engine, mailbox.id);
    await until(async () => (await connectionsOf(mailbox.email)) === 1, "the old connection to be closed");
    await proxy.close();
  });

  it("comes back after the connection broke, and wakes for what came meanwhile [row 60]", async () => {
    const mailbox = await connected(engine);
    const proxy = await startProxy(dovecot().imapPort);
    await through(engine, mailbox.id, proxy.port);
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    proxy.cut();
    await deliver(mailbox.email, mail(1));
    await until(() => wakesOf(engine, mailbox.id).length > 0, "a wake", 25_000);
    expect(proxy.connections).toBeGreaterThan(1);
    await proxy.close();
  });

  it("notices a connection that went silent, and comes back [row 59]", { timeout: 120_000 }, async () => {
    const mailbox = await connected(engine);
    const proxy = await startProxy(dovecot().imapPort);
    await through(engine, mailbox.id, proxy.port);
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    proxy.freeze();
    proxy.thaw();
    await deliver(mailbox.email, mail(1));
    await until(() => wakesOf(engine, mailbox.id).length > 0, "a wake by another connection", 90_000);
    expect(proxy.connections).toBeGreaterThan(1);
    await proxy.close();
  });

  it("finds its mailboxes again after the mail server was killed and started", { timeout: 120_000 }, async () => {
    const server = await startDovecot();
    const mailbox = await connected(engine, { ...server.createMailUser(), port: server.now.ports.imap });
    await start(engine, await assign(engine, mailbox.id));
    await untilWatching(engine, mailbox.id);
    await server.restart();
    await deliverTo(server.now.ports.lmtp, mailbox.email, mail(1));
    await until(() => wakesOf(engine, mailbox.id).some((paths) => paths.includes("INBOX")), "a wake", 60_000);
  });

  it("keeps a wake that Temporal does not take, and sends it later", async () => {
    const mailbox = await connected(engine);
    let refusals = 2;
    await start(engine, await assign(engine, mailbox.id), {
      signals: {
        ...engine.deps.signals,
        async wakeMailbox(id, paths) {
          if (refusals-- > 0) throw new Error("Temporal is away");
          await engine.deps.signals.wakeMailbox(id, paths);
        },
      },
    });
    await untilWatching(engine, mailbox.id);
    await deliver(mailbox.email, mail(1));
    await until(() => wakesOf(engine, mailbox.id).some((paths) => paths.includes("INBOX")), "the wake");
    expect(refusals).toBeLessThan(0);
  });

  it("closes every connection when it is cancelled, and says that it was", async () => {
    const mailboxes = await Promise.all([connected(engine), connected(engine), connected(engine)]);
    const shard = await assign(engine, mailboxes[0]?.id as MailboxId);
    for (const { id } of mailboxes) await assign(engine, id, shard);
    const activity = await start(engine, shard);
    for (const { id } of mailboxes) await untilWatching(engine, id);
    activity.env.cancel();
    await expect(activity.result).rejects.toBeInstanceOf(CancelledFailure);
    for (const { email } of mailboxes) await until(async () => (await connectionsOf(email)) === 0, "the connections to be closed");
  });

  it("ends without a failure when its process drains, so that another takes over", async () => {
    const mailbox = await connected(engine);
    const draining = new AbortController();
    const activity = await start(engine, await assign(engine, mailbox.id), { draining: draining.signal });
    await untilWatching(engine, mailbox.id);
    draining.abort();
    expect(await activity.result).toEqual({ isEmpty: false });
    await until(async () => (await connectionsOf(mailbox.email)) === 0, "the connection to be closed");
  });

  it("holds a hundred mailboxes, and says in its heartbeat how many", { timeout: 180_000 }, async () => {
    const mailboxes: TestMailbox[] = [];
    for (let n = 0; n < 10; n += 1) mailboxes.push(...(await Promise.all(Array.from({ length: 10 }, () => connected(engine)))));
    const shard = await assign(engine, mailboxes[0]?.id as MailboxId);
    await engine.db
      .updateTable("mailboxes")
      .set({ idle_shard: shard })
      .where(
        "id",
        "in",
        mailboxes.map(({ id }) => id),
      )
      .execute();
    const activity = await start(engine, shard);
    await until(() => activity.heartbeat()?.watching === 100, "a hundred watches", 60_000);
    for (const { email } of mailboxes) await deliver(email, mail(1));
    await until(() => mailboxes.every(({ id }) => wakesOf(engine, id).length > 0), "a hundred wakes", 60_000);
  });
});

describe("while the database is away", () => {
  it("a shard keeps its connections and its wakes, and reads its assignments again when it is back", { timeout: 180_000 }, async () => {
    const postgres = await startPostgres();
    const own = await startEngine({ databaseUrl: postgres.now.url });
    const mailbox = await connected(own);
    const proxy = await startProxy(dovecot().imapPort);
    await through(own, mailbox.id, proxy.port);
    const shard = await assign(own, mailbox.id);
    await start(own, shard);
    await untilWatching(own, mailbox.id);
    const before = proxy.connections;
    await postgres.kill();
    await deliver(mailbox.email, mail(1));
    await until(() => wakesOf(own, mailbox.id).some((paths) => paths.includes("INBOX")), "a wake");
    // Two rounds of questions to the other folders, which need to know what is known.
    await until(statusRounds, "two rounds", 20_000);
    expect(await connectionsOf(mailbox.email, own)).toBe(1);
    await postgres.restart();
    const second = await connected(own);
    await assign(own, second.id, shard);
    await untilWatching(own, second.id);
    expect(proxy.connections).toBe(before);
    for (const activity of running.splice(0)) await activity.stop();
    await proxy.close();
    await own[Symbol.asyncDispose]();
  });
});

const startedAt = new WeakMap<object, number>();
const clock = {};
/** True three seconds after it was asked first: three times the interval of status polls. */
function statusRounds(): boolean {
  const since = startedAt.get(clock) ?? performance.now();
  startedAt.set(clock, since);
  return performance.now() - since > 3_000;
}

interface RunningShard {
  readonly env: MockActivityEnvironment;
  readonly result: Promise<IdleShardResult>;
  heartbeat(): { readonly watches: number; readonly watching: number } | undefined;
  stop(): Promise<void>;
}

async function start(on: Engine, shard: number, overrides: Partial<ActivityDependencies> = {}): Promise<RunningShard> {
  const env = new MockActivityEnvironment();
  let last: ReturnType<RunningShard["heartbeat"]>;
  env.on("heartbeat", (details) => {
    last = details;
  });
  const result = env.run(() => idleShard({ ...on.deps, ...overrides }, on.sessions, { shard })) as Promise<IdleShardResult>;
  result.catch(() => {});
  const activity: RunningShard = {
    env,
    result,
    heartbeat: () => last,
    async stop() {
      env.cancel();
      await result.catch(() => {});
    },
  };
  running.push(activity);
  return activity;
}

/** A mailbox that was opened, so that its folders and cursors are on record. */
async function connected(on: Engine, user?: { readonly email: string; readonly password: string; readonly port: number }): Promise<TestMailbox> {
  const mailbox = await on.addMailbox();
  if (user !== undefined) {
    await through(on, mailbox.id, user.port);
    await on.db
      .updateTable("mailboxes")
      .set({ email: user.email, settings: sql`jsonb_set(settings, '{imap,username}', to_jsonb(${user.email}::text))` })
      .where("id", "=", mailbox.id)
      .execute();
    await saveCredentials(on.db, testKeyRing, { id: mailbox.id, customerId: on.customerId }, { password: user.password });
  }
  await on.run((run) => run.openMailbox({ mailboxId: mailbox.id }));
  return { ...mailbox, ...user };
}

/** From now on the mailbox is reached by this port. */
async function through(on: Engine, id: MailboxId, port: number): Promise<void> {
  await on.db
    .updateTable("mailboxes")
    .set({ settings: sql`jsonb_set(settings, '{imap,port}', to_jsonb(${port}::int))`, updated_at: sql<Date>`clock_timestamp()` })
    .where("id", "=", id)
    .execute();
}

/** Puts the mailbox into a shard, one of its own unless told which, and tells the shard. */
async function assign(on: Engine, id: MailboxId, shard = ++lastShard): Promise<number> {
  await on.db.updateTable("mailboxes").set({ idle_shard: shard }).where("id", "=", id).execute();
  await notifyShardOf(on.db, id);
  return shard;
}

async function untilWatching(on: Engine, id: MailboxId): Promise<void> {
  await until(
    async () => {
      const row = await on.db.selectFrom("mailboxes").select("watch_state").where("id", "=", id).executeTakeFirst();
      return row?.watch_state === "watching";
    },
    `${id} to be watched`,
    30_000,
  );
}

function wakesOf(on: Engine, id: MailboxId): readonly (readonly string[])[] {
  return on.woken.mailboxes.filter(([woken]) => woken === id).map(([, paths]) => paths);
}

/** Connections that the server holds for a user; those of other activities' sessions are closed before it asks. */
async function connectionsOf(email: string, on = engine): Promise<number> {
  await on.sessions.closeAll();
  const { stdout } = spawnSync("doveadm", ["-c", `${inject("dovecot").dir}/dovecot.conf`, "who", "-1", email], { encoding: "utf8" });
  return stdout.split("\n").filter((line) => line.startsWith(email)).length;
}

function mail(n: number): string {
  return `From: ann@example.test\r\nTo: bob@example.test\r\nSubject: Subject ${n}\r\nMessage-ID: <${n}@example.test>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nText ${n}.\r\n`;
}
