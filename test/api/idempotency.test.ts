import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { memoryMailbox } from "../../providers/memory/store.ts";
import { until } from "../helpers/wait.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";
import { makeThings, type Things } from "./things.ts";

let api: WholeApi;
let customerId: string;
let key: string;
let things: Things;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  const customer = await api.newCustomer();
  ({ id: customerId, key } = customer);
  things = await makeThings(api, customer.id);
  await dieBeforeAnswersAreKept();
});
afterAll(() => api[Symbol.asyncDispose]());

/**
 * From now on no answer can be kept but in the transaction that makes the change, which is the one that notes it: as if the process died right after
 * each commit.
 */
async function dieBeforeAnswersAreKept(): Promise<void> {
  await sql`
    create function refuse_late_answers() returns trigger language plpgsql as $$ begin
      if not exists (select from audit_log where xmin = pg_current_xact_id()::xid) then raise exception 'died before the answer was kept'; end if;
      return new;
    end $$
  `.execute(api.db);
  await sql`
    create trigger refuse_late_answers before update on idempotency_keys for each row when (new.response is distinct from old.response)
    execute function refuse_late_answers()
  `.execute(api.db);
}

/** Longer ago than any request is at work. */
const letTimePass = () => sql`update idempotency_keys set created_at = created_at - interval '61 seconds'`.execute(api.db);

test.each<[string, () => { readonly path: string; readonly body: object }, string, string]>([
  ["a webhook endpoint", () => ({ path: "webhook-endpoints", body: { url: "https://127.0.0.1:9/hook" } }), "webhook_endpoint.created", "secret"],
  ["an access key", () => ({ path: "access-keys", body: { name: "k" } }), "access_key.created", "key"],
  [
    "a new signing secret",
    () => ({ path: `webhook-endpoints/${things["webhook-endpoints"]}/rotate-secret`, body: {} }),
    "webhook_endpoint.secret_rotated",
    "secret",
  ],
  ["a test event", () => ({ path: `webhook-endpoints/${things["webhook-endpoints"]}/test`, body: {} }), "webhook_endpoint.tested", "eventId"],
  [
    "a replay",
    () => ({ path: `webhook-endpoints/${things["webhook-endpoints"]}/replay`, body: { eventId: things.events } }),
    "webhook_endpoint.replayed",
    "queued",
  ],
  [
    "a change of messages",
    () => ({ path: "message-actions", body: { ids: [things.messages], action: { type: "copy", role: "archive" }, whenAway: "queue" } }),
    "messages.copy",
    "id",
  ],
])("makes %s once, though the process that made it died before it could answer", async (what, request, action, member) => {
  const { path, body } = request();
  const options = { key, body, headers: { "Idempotency-Key": `once-${what.replaceAll(" ", "-")}` } };
  expect((await api.call("POST", `/v1/${path}`, options)).status).toBe(500);
  await letTimePass();
  const again = await api.call("POST", `/v1/${path}`, options);
  expect([again.status, again.headers.get("Idempotency-Replayed")]).toEqual([expect.toBeOneOf([200, 201, 202]), "true"]);
  expect(again.body[member]).toBeDefined();
  const noted = await api.db
    .selectFrom("audit_log")
    .select("target")
    .where("customer_id", "=", customerId as never)
    .where("action", "=", action)
    .execute();
  expect(noted).toHaveLength(1);
});

test("connects a mailbox once, though the process died before it could answer and the mailbox is long at work", async () => {
  const body = { provider: "memory", email: "once@example.com", mailbox: "once", externalId: "once" };
  const options = { key, body, headers: { "Idempotency-Key": "connect-once" } };
  memoryMailbox("once");
  expect((await api.call("POST", "/v1/mailboxes", options)).status).toBe(500);
  const mailboxes = () =>
    api.db
      .selectFrom("mailboxes")
      .select(["id", "status"])
      .where("email", "=", body.email as never)
      .execute();
  const [first] = await until(async () => {
    const rows = await mailboxes();
    return rows[0]?.status === "connected" ? rows : undefined;
  }, "the mailbox to be connected");
  await letTimePass();
  await sql`drop trigger refuse_late_answers on idempotency_keys`.execute(api.db);
  const again = await api.call("POST", "/v1/mailboxes", options);
  expect([again.status, again.body.id]).toEqual([201, first?.id]);
  expect(await mailboxes()).toHaveLength(1);

  const nameless = { ...options, body: { ...body, externalId: undefined, email: "nameless@example.com", mailbox: "nameless" } };
  const other = { ...nameless, headers: { "Idempotency-Key": "connect-nameless" } };
  const { body: made } = await api.call("POST", "/v1/mailboxes", other);
  await until(async () => (await api.call("GET", `/v1/mailboxes/${made.id}`, { key })).body.status === "connected", "the mailbox to be connected");
  await sql`update idempotency_keys set status = null, response = null, created_at = created_at - interval '61 seconds'`.execute(api.db);
  expect((await api.call("POST", "/v1/mailboxes", other)).body.id).toBe(made.id);
});
