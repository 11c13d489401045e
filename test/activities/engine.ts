import { MockActivityEnvironment } from "@temporalio/testing";
import { pino } from "pino";
import type { ActivityDependencies } from "../../activities/dependencies.ts";
import { type Activities, createActivities } from "../../activities/index.ts";
import { createRelays } from "../../activities/relays.ts";
import { folderBlobStore } from "../../blobs/folder.ts";
import type { BlobStore } from "../../blobs/store.ts";
import { openConnectionSlots } from "../../db/connection-slots.ts";
import { saveCredentials } from "../../db/credentials.ts";
import { type Database, openDatabase } from "../../db/database.ts";
import { newId } from "../../db/ids.ts";
import type { CustomerId, MailboxId } from "../../domain/ids.ts";
import { defaultSyncSettings, type SyncSettings } from "../../domain/sync-settings.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { getProvider } from "../../providers/index.ts";
import { createSessions, type Sessions } from "../../sessions/sessions.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { testDirectory } from "../helpers/test-run.ts";

export const testKeyRing = [{ name: "test", bytes: Buffer.alloc(32, 7) }];

/** The activities on a database and a Dovecot of the test's own, called without a workflow; signals are written down. */
export interface Engine extends AsyncDisposable {
  readonly db: Database;
  readonly activities: Activities;
  readonly deps: ActivityDependencies;
  readonly sessions: Sessions;
  readonly customerId: CustomerId;
  readonly woken: {
    readonly mailboxes: [MailboxId, readonly string[]][];
    readonly relays: string[];
    readonly shards: number[];
    readonly actions: MailboxId[];
    readonly keepers: MailboxId[];
  };
  /** Runs one activity in an activity's context. */
  run<Result>(work: (activities: Activities) => Promise<Result>): Promise<Result>;
  /** A Dovecot user and a mailbox row that opens it. */
  addMailbox(options?: { readonly sync?: Partial<SyncSettings>; readonly password?: string }): Promise<TestMailbox>;
}

export interface TestMailbox {
  readonly id: MailboxId;
  readonly email: string;
  readonly password: string;
}

export interface EngineOptions {
  readonly pageSize?: number;
  readonly blobs?: BlobStore;
  readonly graceMs?: number;
  /** What is told is delivered by this process; otherwise relays are woken. */
  readonly drainsItself?: boolean;
  /** A database of the test's own, migrated; without one it is a clone of the template. */
  readonly databaseUrl?: string;
}

export async function startEngine(options: EngineOptions = {}): Promise<Engine> {
  const database = options.databaseUrl === undefined ? await createTestDatabase() : open(options.databaseUrl);
  const { db } = database;
  const woken: Engine["woken"] = { mailboxes: [], relays: [], shards: [], actions: [], keepers: [] };
  const resolveHost = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] });
  const deliverer = createDeliverer({ resolveHost });
  const slots = await openConnectionSlots(database.url);
  const sessions = createSessions({ keyRing: testKeyRing, getProvider, resolveHost, slots });
  const blobs = options.blobs ?? folderBlobStore(testDirectory("blobs"));
  const signals: ActivityDependencies["signals"] = {
    wakeMailbox: async (id, paths) => void woken.mailboxes.push([id, paths]),
    wakeRelay: async (id) => void woken.relays.push(id),
    wakeActions: async (id) => void woken.actions.push(id),
    keepContent: async (id) => void woken.keepers.push(id),
    startShard: async (shard) => void woken.shards.push(shard),
  };
  const draining = new AbortController().signal;
  const drains = { db, keyRing: testKeyRing, log: pino({ level: "silent" }), signals, deliverer, draining };
  const relays = createRelays(drains, { drainsItself: options.drainsItself ?? false });
  const deps: ActivityDependencies = {
    ...drains,
    relays,
    blobs,
    databaseUrl: database.url,
    resolveHost,
    getProvider,
    allowPrivateNetworks: ["127.0.0.0/8"],
    sync: {
      pageSize: options.pageSize ?? 500,
      pollFloorMs: 3_600_000,
      statusPollMs: 1_000,
      graceMs: options.graceMs ?? 60_000,
      idleConnectionsPerShard: 500,
    },
  };
  const activities = createActivities(deps, sessions);
  const customerId = newId("customer");
  await db.insertInto("customers").values({ id: customerId, name: "Test" }).execute();
  return {
    db,
    activities,
    deps,
    sessions,
    customerId,
    woken,
    run: (work) => new MockActivityEnvironment().run(() => work(activities)),
    addMailbox: (mailbox = {}) => addMailbox(db, customerId, mailbox),
    async [Symbol.asyncDispose]() {
      await relays.settled();
      await sessions.closeAll();
      await slots.close();
      await deliverer.close();
      await database.drop();
    },
  };
}

function open(url: string) {
  const db = openDatabase({ url, poolMax: 10, onIdleError: () => {} });
  return { db, url, drop: () => db.destroy() };
}

async function addMailbox(
  db: Database,
  customerId: CustomerId,
  { sync = {}, password }: { readonly sync?: Partial<SyncSettings>; readonly password?: string },
): Promise<TestMailbox> {
  const user = await createMailUser();
  const { host, imapPort } = dovecot();
  const id = newId("mailbox");
  const imap = getProvider("imap");
  const { settings, credentials } = imap.split(
    imap.connectSchema.parse({ imap: { host, port: imapPort, security: "none", allowInsecure: true }, password: password ?? user.password }),
    user.email,
  );
  await db
    .insertInto("mailboxes")
    .values({
      id,
      customer_id: customerId,
      email: user.email,
      provider: "imap",
      settings: JSON.stringify(settings),
      sync: JSON.stringify({ ...defaultSyncSettings, ...sync }),
    })
    .execute();
  await saveCredentials(db, testKeyRing, { id, customerId }, credentials);
  return { id, ...user };
}
