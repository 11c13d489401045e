import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import { type Config, loadConfig } from "../../config.ts";
import { createAccessKey, type NewAccessKey } from "../../db/access-keys.ts";
import { createCustomer } from "../../db/customers.ts";
import type { Database } from "../../db/database.ts";
import { keyScopes } from "../../domain/access.ts";
import type { CustomerId, MailboxId } from "../../domain/ids.ts";
import { base64Part, withParts } from "../api/content.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, deliver, dovecot } from "../helpers/dovecot.ts";
import { type SpawnedApi, type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { until } from "../helpers/wait.ts";
import { type Receiver, startReceiver } from "../webhooks/receiver.ts";
import type { Caller } from "./judge.ts";

/** Everpost as it runs: API and worker as processes, two customers with mail, and an endpoint of each that hears of everything. */
export interface World extends AsyncDisposable {
  readonly api: SpawnedApi;
  readonly worker: SpawnedProcess;
  readonly db: Database;
  readonly config: Config;
  /** The customer whose things are fuzzed. */
  readonly own: Customer;
  /** The customer of whom nothing may ever be seen. */
  readonly other: Customer;
  readonly callers: readonly Caller[];
  /** Ids of the other customer's things. */
  readonly foreign: ReadonlySet<string>;
  call(method: string, path: string, key: string, body?: unknown): Promise<{ readonly status: number; readonly text: string }>;
  /** Settings that connect to a mailbox that is there, of a user of its own. */
  newMailbox(): Promise<Readonly<Record<string, unknown>>>;
  /** A new message for a mailbox that stays. */
  deliverOne(): Promise<void>;
}

export interface Customer {
  readonly id: CustomerId;
  readonly key: string;
  readonly receiver: Receiver;
  readonly mailboxes: readonly MailboxId[];
  readonly emails: readonly string[];
}

/** In every text of the other customer's, and nowhere else. */
export const mark = "zebrafish";

const messagesEach = 24;

export async function startWorld(): Promise<World> {
  const database = await createTestDatabase();
  const env = {
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: inject("temporalAddress"),
    TEMPORAL_NAMESPACE: inject("temporalNamespace"),
    EVERPOST_TASK_QUEUE_PREFIX: `fuzz-${randomBytes(4).toString("hex")}`,
    EVERPOST_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}`,
    EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    EVERPOST_BLOB_DIR: testDirectory("blobs"),
    EVERPOST_LOG_LEVEL: "warn",
    EVERPOST_RATE_LIMIT_PER_MINUTE: "1000000",
  };
  const [api, worker] = await Promise.all([spawnApi(env), spawnWorker(env)]);
  const { db } = database;
  const { key: adminKey } = await createAccessKey(db, { customerId: null, role: "administrator", name: "administrator", scopes: keyScopes });

  const call: World["call"] = async (method, path, key, body) => {
    const response = await fetch(`${api.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  };
  const newMailbox = async () => {
    const { email, password } = await createMailUser();
    return { email, password, imap: { host: "127.0.0.1", port: dovecot().imapPort, security: "none", allowInsecure: true } };
  };
  const expectCreated = async (path: string, key: string, body: unknown) => {
    const { status, text } = await call("POST", path, key, body);
    if (status !== 201) throw new Error(`${path} was answered ${status}: ${text}`);
    return JSON.parse(text) as { readonly id: string };
  };

  /** A customer with an endpoint, and mailboxes whose mail is synced. */
  const settle = async (name: string, word: string, wanted: readonly object[]): Promise<Customer> => {
    const { id } = await createCustomer(db, { name });
    const { key } = await createAccessKey(db, { customerId: id, role: "customer", name: "test", scopes: keyScopes });
    const receiver = await startReceiver();
    await expectCreated("/v1/webhook-endpoints", key, { url: receiver.url, description: word });
    const mailboxes: MailboxId[] = [];
    const emails: string[] = [];
    for (const sync of wanted) {
      const body = await newMailbox();
      for (let number = 0; number < messagesEach; number++) await deliver(String(body.email), message(word, number));
      const externalId = `${word}-${mailboxes.length}`;
      mailboxes.push((await expectCreated("/v1/mailboxes", key, { ...body, externalId, displayName: word, sync })).id as MailboxId);
      emails.push(String(body.email));
    }
    for (const mailbox of mailboxes) {
      const isLive = async () => {
        const { text } = await call("GET", `/v1/mailboxes/${mailbox}`, key);
        const { status, flow, watch, counts } = JSON.parse(text);
        return status === "connected" && flow.state === "live" && watch === "watching" && counts.messages >= messagesEach;
      };
      await until(isLive, `${mailbox} to be live`, 180_000);
    }
    const firstEmail = emails[0] ?? "";
    await deliver(firstEmail, message(word, messagesEach));
    await until(() => receiver.received.some(({ body }) => body.includes("message.created")), "an event to be told", 120_000);
    return { id, key, receiver, mailboxes, emails };
  };

  const full = { content: "full", attachments: "download" };
  const [own, other] = await Promise.all([settle("Own Ltd", "quagga", [full, {}]), settle("Other Ltd", mark, [full])]);
  const foreign = await idsOf(db, other.id);
  const unseenByOwn = new RegExp([mark, ...foreign].join("|"), "i");
  const newKey = async (more: Partial<NewAccessKey>) =>
    (await createAccessKey(db, { customerId: own.id, role: "customer", name: "test", scopes: keyScopes, ...more })).key;
  const reading = keyScopes.filter((scope) => scope.endsWith(":read"));
  const customer = { role: "customer", scopes: keyScopes, isBound: false, unseen: unseenByOwn } as const;
  const [firstMailbox] = own.mailboxes;
  if (firstMailbox === undefined) throw new Error("no mailbox to bind a key to");
  const nobody = { role: "nobody", scopes: [], isBound: false, unseen: unseenByOwn } as const;
  const administrator = { role: "administrator", key: adminKey, scopes: keyScopes, isBound: false } as const;
  const callers: readonly Caller[] = [
    { ...customer, name: "the customer", key: own.key },
    { ...customer, name: "a key for reading", key: await newKey({ scopes: reading }), scopes: reading },
    { ...customer, name: "a key without scopes", key: await newKey({ scopes: [] }), scopes: [] },
    { ...customer, name: "a key bound to a mailbox", key: await newKey({ mailboxId: firstMailbox }), isBound: true },
    { ...administrator, name: "an administrator", unseen: undefined },
    { ...administrator, name: "an administrator for the customer", customer: own.id, unseen: unseenByOwn },
    { ...nobody, name: "nobody", key: undefined },
    { ...nobody, name: "somebody with another key", key: `evp_${"1".repeat(50)}` },
    { ...nobody, name: "an expired key", key: await newKey({ expiresAt: new Date(Date.now() - 1_000).toISOString() }) },
  ];

  let delivered = 0;
  return {
    api,
    worker,
    db,
    config: loadConfig(env),
    own,
    other,
    callers,
    foreign,
    call,
    newMailbox,
    async deliverOne() {
      delivered += 1;
      await deliver(own.emails[delivered % own.emails.length] ?? "", message("quagga", 1_000 + delivered));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([worker.kill("SIGTERM"), api.kill("SIGTERM")]);
      await Promise.all([own.receiver.close(), other.receiver.close()]);
      await database.drop();
    },
  };
}

/** Every third one answers the one before, every second one has something attached. */
function message(word: string, number: number): Buffer {
  const attached = [base64Part('text/csv; name="figures.csv"', 'attachment; filename="figures.csv"', Buffer.from(`${word};${number}\n`.repeat(20)))];
  return withParts(
    `${number % 3 === 2 ? "Re: " : ""}${word} ${Math.floor(number / 3)}`,
    number % 2 === 0 ? attached : [],
    `The ${word} number ${number}.`,
  );
}

/** Every id in every table that belongs to a customer. */
async function idsOf(db: Database, customerId: CustomerId): Promise<ReadonlySet<string>> {
  const tables = [
    "access_keys",
    "mailboxes",
    "folders",
    "messages",
    "threads",
    "events",
    "webhook_endpoints",
    "webhook_deliveries",
    "audit_log",
  ] as const;
  const rows = await Promise.all(tables.map((table) => db.selectFrom(table).select("id").where("customer_id", "=", customerId).execute()));
  return new Set([customerId, ...rows.flat().map(({ id }) => id as string)]);
}
