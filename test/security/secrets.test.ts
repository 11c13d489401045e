import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAccessKey } from "../../db/access-keys.ts";
import { keyScopes } from "../../domain/access.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { createMailUser, deliver, dovecot } from "../helpers/dovecot.ts";
import { type MailProxy, startMailProxy } from "../helpers/mail-proxy.ts";
import { type SpawnedApi, type SpawnedProcess, spawnApi, spawnWorker } from "../helpers/processes.ts";
import { imapThatSays, type ScriptedServer, smtpThatSays } from "../helpers/scripted-server.ts";
import { connectTemporal, type TemporalConnection, temporalAddress, temporalNamespace } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";
import { type Receiver, startReceiver } from "../webhooks/receiver.ts";
import { databaseTraces, findTraces, type Trace, temporalTraces } from "./traces.ts";

const word = (name: string) => `${name}-${randomBytes(9).toString("hex")}`;
const prefix = `secrets-${randomBytes(4).toString("hex")}`;
const ring = randomBytes(32);

/** What must be found nowhere, by what it is; filled in as the run goes. */
const secrets: Record<string, string> = {
  "the key ring": ring.toString("base64"),
  "the SMTP password": word("smtp-password"),
  "the proxy's password": word("proxy-password"),
  "a wrong proxy password": word("wrong-proxy-password"),
  "a wrong password": `${word("wrong")}"\\quoted`,
  "a password that the server repeats": word("repeated-password"),
  "a password of a refused request": word("refused-password"),
};
/** What stays in the database and out of histories and logs. */
const content: Record<string, string> = {
  "a subject": word("subject"),
  "a body": word("body"),
  "a sender's address": `${word("sender")}@example.org`,
  "a sender's name": word("Sender"),
  "a Message-ID": `${word("id")}@example.org`,
  "an attachment's name": `${word("attachment")}.txt`,
};

let database: TestDatabase;
let temporal: TemporalConnection;
let worker: SpawnedProcess;
let api: SpawnedApi;
let receiver: Receiver;
let smtp: ScriptedServer;
let echo: ScriptedServer;
let echoSmtp: ScriptedServer;
let proxy: MailProxy;
let key: string;
const answers: Trace[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  temporal = await connectTemporal();
  receiver = await startReceiver();
  [smtp, echo, echoSmtp] = await Promise.all([
    smtpThatSays("235 2.7.0 in"),
    imapThatSays("{tag} NO cannot run {line}"),
    smtpThatSays("535 5.7.8 cannot run {line}"),
  ]);
  proxy = await startMailProxy({ type: "http", username: "ann", password: String(secrets["the proxy's password"]) });
  const env = {
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: temporalNamespace(),
    EVERPOST_TASK_QUEUE_PREFIX: prefix,
    EVERPOST_ENCRYPTION_KEYS: `test:${ring.toString("base64")}`,
    EVERPOST_ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    EVERPOST_LOG_LEVEL: "trace",
  };
  secrets["the database's password"] = new URL(database.url).password;
  [worker, api] = await Promise.all([spawnWorker(env), spawnApi(env)]);
  const { key: administrator } = await createAccessKey(database.db, { customerId: null, role: "administrator", name: "t", scopes: keyScopes });
  secrets["the administrator's key"] = administrator;
  const customer = await call("POST", "/v1/customers", { name: "Example" }, {}, administrator);
  const made = await call("POST", "/v1/access-keys", { name: "k" }, { "Everpost-Customer": customer.id }, administrator, "shows a secret");
  key = made.key;
  secrets["the customer's key"] = key;
}, 180_000);

afterAll(async () => {
  await Promise.all([worker?.kill(), api?.kill()]);
  await Promise.all([
    receiver?.close(),
    smtp?.[Symbol.asyncDispose](),
    echo?.[Symbol.asyncDispose](),
    echoSmtp?.[Symbol.asyncDispose](),
    proxy?.close(),
    temporal?.close(),
  ]);
  await database?.drop();
});

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever members it expects; those that are missing fail it
type Body = any;

/** Every answer is kept for the search, save those whose purpose is to show a secret once. */
async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  bearer = key,
  kind: "" | "shows a secret" = "",
): Promise<Body> {
  const response = await fetch(`${api.url}${path}`, {
    method,
    headers: { Authorization: `Bearer ${bearer}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  if (kind === "") answers.push({ where: `answer to ${method} ${path}`, text: `${[...response.headers].join("\n")}\n${text}` });
  return text === "" ? undefined : JSON.parse(text);
}

const mailboxIs = (id: string, wanted: (mailbox: Body) => boolean, what: string) =>
  until(
    async () => {
      const mailbox = await call("GET", `/v1/mailboxes/${id}`);
      return wanted(mailbox) ? mailbox : undefined;
    },
    what,
    90_000,
  );

const workflowTypes = ["mailbox", "webhookRelay", "connectionTest", "messageText", "autodetect"];
const plain = { security: "none", allowInsecure: true } as const;

/** A message that carries every word of `content`, but for its Message-ID's beginning. */
function markedMessage(to: string, id: string): string {
  return [
    `From: ${content["a sender's name"]} <${content["a sender's address"]}>`,
    `To: ${to}`,
    `Subject: ${content["a subject"]}`,
    `Message-ID: <${id}${content["a Message-ID"]}>`,
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="b"',
    "",
    "--b",
    "Content-Type: text/plain",
    "",
    String(content["a body"]),
    "--b",
    `Content-Type: text/plain; name="${content["an attachment's name"]}"`,
    `Content-Disposition: attachment; filename="${content["an attachment's name"]}"`,
    "",
    "attached",
    "--b--",
    "",
  ].join("\r\n");
}

test("the search finds a word in every form in which software writes text", () => {
  const secret = `${word("form")}"\\quoted`;
  const forms = [
    secret,
    JSON.stringify({ secret }),
    JSON.stringify({ inner: JSON.stringify({ secret }) }),
    `/?q=${encodeURIComponent(secret)}`,
    Buffer.from(secret).toString("hex"),
    ...["", "1", "12", "123"].flatMap((before) => [
      Buffer.from(`${before}${secret}after`).toString("base64"),
      Buffer.from(`${before}${secret}`).toString("base64url"),
    ]),
  ];
  for (const text of forms) expect(findTraces([{ where: "here", text }], { secret }), text).not.toEqual([]);
  expect(findTraces([{ where: "here", text: JSON.stringify(forms.map((form) => form.slice(0, 8))) }], { secret })).toEqual([]);
});

describe("a run through everything that holds secrets", () => {
  test("leaves message content and addresses out of histories and logs, and secrets everywhere", { timeout: 300_000 }, async () => {
    const user = await createMailUser();
    secrets["the password"] = user.password;
    content["the mailbox's address"] = user.email;
    const { host, imapPort } = dovecot();
    const imap = { host, port: imapPort, ...plain };
    const good = {
      email: user.email,
      password: user.password,
      imap,
      smtp: { host: "127.0.0.1", port: smtp.port, password: secrets["the SMTP password"], ...plain },
    };
    const way = { type: "http", host: "127.0.0.1", port: proxy.port, username: "ann", password: secrets["the proxy's password"] };
    const bad = { ...good, password: secrets["a wrong password"] };
    const repeated = {
      email: user.email,
      password: secrets["a password that the server repeats"],
      imap: { host: "127.0.0.1", port: echo.port, ...plain },
      smtp: { host: "127.0.0.1", port: echoSmtp.port, ...plain },
    };

    const endpoint = await call(
      "POST",
      "/v1/webhook-endpoints",
      { url: receiver.url, includesText: true },
      { "Idempotency-Key": "endpoint" },
      key,
      "shows a secret",
    );
    secrets["the webhook secret"] = endpoint.secret;
    const rotated = await call(
      "POST",
      `/v1/webhook-endpoints/${endpoint.id}/rotate-secret`,
      {},
      { "Idempotency-Key": "rotate" },
      key,
      "shows a secret",
    );
    secrets["the new webhook secret"] = rotated.secret;
    const spare = await call("POST", "/v1/access-keys", { name: "spare" }, { "Idempotency-Key": "key" }, key, "shows a secret");
    secrets["a spare access key"] = spare.key;

    // Tests of good, wrong and repeated passwords.
    expect((await call("POST", "/v1/mailboxes/test", good)).sending).toMatchObject({ ok: true });
    expect((await call("POST", "/v1/mailboxes/test", bad)).receiving).toMatchObject({ ok: false });
    expect((await call("POST", "/v1/mailboxes/test", repeated)).sending).toMatchObject({ ok: false });
    expect(echo.heard.join()).toContain(secrets["a password that the server repeats"]);
    await call("POST", "/v1/mailboxes/test", { ...good, imap: { host: "imap.nowhere.invalid" } });
    expect((await call("POST", "/v1/mailboxes/test", { ...good, proxy: way })).sending).toMatchObject({ ok: true });
    const shut = { ...way, password: secrets["a wrong proxy password"] };
    expect((await call("POST", "/v1/mailboxes/test", { ...good, proxy: shut })).receiving).toMatchObject({ problem: { code: "proxy_refused" } });

    // Requests that fail with a secret in them.
    const refused = secrets["a password of a refused request"];
    await call("POST", "/v1/mailboxes", `{"password":"${refused}",`);
    await call("POST", "/v1/mailboxes", { ...good, password: { [String(refused)]: refused } });
    await call("POST", "/v1/mailboxes", { email: "not an address", password: refused, imap: { host: refused, port: refused } });
    await call("POST", "/v1/autodetect", { email: `${refused}@nowhere.invalid` });
    await call("GET", `/v1/mailboxes?cursor=${refused}`);
    await call("GET", "/v1/mailboxes", undefined, { "Idempotency-Key": String(refused), "Everpost-Customer": String(refused) });

    await deliver(user.email, markedMessage(user.email, "1."));
    // Mailboxes: one that works, one that does not at first, one whose server repeats the password.
    const first = await call("POST", "/v1/mailboxes", { ...good, proxy: way, externalId: "first" }, { "Idempotency-Key": "first" });
    const second = await call("POST", "/v1/mailboxes", { ...bad, externalId: "second" });
    const third = await call("POST", "/v1/mailboxes", { ...repeated, externalId: "third" });
    await mailboxIs(first.id, (mailbox) => mailbox.status === "connected" && mailbox.flow.state === "live", "the first mailbox to be live");
    await mailboxIs(second.id, (mailbox) => mailbox.status === "error", "the second mailbox to be refused");
    await mailboxIs(third.id, (mailbox) => mailbox.problem !== null, "the third mailbox to be refused");

    await deliver(user.email, markedMessage(user.email, "2."));
    const told = await until(
      () => receiver.received.find(({ body }) => body.includes('"message.created"') && body.includes(String(content["a subject"]))),
      "the message to be told",
      60_000,
    );
    expect(told.body).toContain(content["a body"]);
    const { data: listed } = await call("GET", `/v1/messages?mailboxId=${first.id}`);
    // The newer one's text is kept from its telling, the older one's has to be fetched.
    expect(listed).toHaveLength(2);
    for (const { id } of listed) expect((await call("GET", `/v1/messages/${id}?include=text`)).text).toContain(content["a body"]);

    // Credentials changed for wrong ones, and mended.
    await call("PATCH", `/v1/mailboxes/${first.id}`, { password: secrets["a wrong password"] });
    await mailboxIs(first.id, (mailbox) => mailbox.status === "error", "the first mailbox to be refused");
    await call("PATCH", `/v1/mailboxes/${second.id}`, { password: user.password, proxy: { ...shut, type: "carrier pigeon" } });
    await call("PATCH", `/v1/mailboxes/${second.id}`, { password: user.password });
    await mailboxIs(second.id, (mailbox) => mailbox.status === "connected", "the second mailbox to be mended");
    await call("POST", `/v1/mailboxes/${first.id}/test`);
    for (const command of ["sync", "pause", "resume", "reconnect", "resync"]) await call("POST", `/v1/mailboxes/${first.id}/${command}`);

    // Webhooks again, the log of them, and everything that can be listed.
    await call("POST", `/v1/webhook-endpoints/${endpoint.id}/replay`, { from: new Date(Date.now() - 3_600_000).toISOString() });
    await call("POST", `/v1/webhook-endpoints/${endpoint.id}/test`);
    await until(() => receiver.received.some(({ body }) => body.includes('"webhook.test"')), "the test event", 60_000);
    for (const path of [
      "mailboxes",
      "events",
      "messages",
      "access-keys",
      "audit-log",
      "webhook-endpoints",
      `webhook-endpoints/${endpoint.id}/deliveries`,
      "whoami",
    ]) {
      await call("GET", `/v1/${path}`);
    }
    await call("DELETE", `/v1/mailboxes/${third.id}?purge=true`);

    const rows = await databaseTraces(database.db);
    expect(rows.map(({ where }) => where)).toEqual(expect.arrayContaining(["table credentials", "table idempotency_keys", "table audit_log"]));
    // What can be listed lags a little behind what is there.
    const histories = await until(
      async () => {
        const traces = await temporalTraces(temporal.client, prefix);
        const types = new Set(traces.map(({ where }) => where.split(" ")[1]));
        return workflowTypes.every((type) => types.has(type)) ? traces : undefined;
      },
      `workflows of the types ${workflowTypes.join(", ")}`,
    );
    const logs = [
      { where: "the worker's log", text: worker.logs() },
      { where: "the API's log", text: api.logs() },
    ];
    for (const { text } of logs) {
      expect(text.length).toBeGreaterThan(1_000);
      // No more than this is kept of a process's output, and all of it has to be searched.
      expect(text.length).toBeLessThan(5_000_000);
    }
    const delivered = receiver.received.map(({ body, headers }) => ({ where: "a delivery", text: `${JSON.stringify(headers)}\n${body}` }));

    // The search itself finds what is there: an address in the database, an id in the histories.
    expect(findTraces(rows, { content: String(content["a subject"]) })).not.toEqual([]);
    expect(findTraces(histories, { id: first.id })).not.toEqual([]);

    const mayHold = (name: string, trace: Trace) => name === "a password of a refused request" && trace.where.startsWith("answer");
    for (const [name, value] of Object.entries(secrets)) {
      const traces = [...rows, ...histories, ...logs, ...answers, ...delivered].filter((trace) => !mayHold(name, trace));
      expect(findTraces(traces, { [name]: value }), name).toEqual([]);
    }
    expect(findTraces([...histories, ...logs], content)).toEqual([]);
  });
});
