import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createMailUser, deliver, dovecot } from "../helpers/dovecot.ts";
import { type MailProxy, type MailProxyOptions, startMailProxy } from "../helpers/mail-proxy.ts";
import { until } from "../helpers/wait.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";

let api: WholeApi;
let key: string;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  ({ key } = await api.newCustomer());
});
afterAll(() => api[Symbol.asyncDispose]());

const toClose: MailProxy[] = [];
afterEach(async () => {
  for (const one of toClose.splice(0)) await one.close();
});

async function proxyFor(options: MailProxyOptions): Promise<MailProxy> {
  const proxy = await startMailProxy(options);
  toClose.push(proxy);
  return proxy;
}

const mailbox = async () => {
  const { email, password } = await createMailUser();
  return { email, password, imap: { host: "127.0.0.1", port: dovecot().imapPort, security: "none", allowInsecure: true }, smtp: null };
};
const through = ({ type, port }: MailProxy, more: object = {}) => ({ type, host: "127.0.0.1", port, ...more });

const shown = (id: string, isSo: (mailbox: Awaited<ReturnType<typeof api.call>>["body"]) => boolean, what: string) =>
  until(
    async () => {
      const { body } = await api.call("GET", `/v1/mailboxes/${id}`, { key });
      return isSo(body) ? body : undefined;
    },
    what,
    60_000,
  );
const subjects = async (id: string): Promise<readonly string[]> =>
  (await api.call("GET", `/v1/messages?mailboxId=${id}`, { key })).body.data.map((message: { subject: string }) => message.subject);

test("moves a running mailbox to another proxy, the watch included, and back to none", { timeout: 180_000 }, async () => {
  const secret = "the-proxy-s3cret";
  const first = await proxyFor({ type: "socks5", username: "ann", password: secret });
  const second = await proxyFor({ type: "http" });
  const own = await mailbox();
  const connected = await api.call("POST", "/v1/mailboxes", { key, body: { ...own, proxy: through(first, { username: "ann", password: secret }) } });
  expect(connected.status).toBe(201);
  const { id } = connected.body;
  const live = await shown(id, ({ flow, watch }) => flow.state === "live" && watch === "watching", "the mailbox to be live");
  expect(live.settings.proxy).toEqual({ type: "socks5", host: "127.0.0.1", port: first.port, username: "ann" });
  expect(JSON.stringify([connected.body, live])).not.toContain(secret);

  expect((await api.call("PATCH", `/v1/mailboxes/${id}`, { key, body: { proxy: through(second, { username: null }) } })).status).toBe(200);
  await until(() => second.open > 0 && first.open === 0, "every connection to have moved", 60_000);
  await shown(id, ({ watch }) => watch === "watching", "the watch to be back");
  const before = first.targets.length;
  await deliver(own.email, "Subject: through the second\r\n\r\n1");
  await until(async () => (await subjects(id)).includes("through the second"), "news through the second proxy", 30_000);
  expect(first.targets).toHaveLength(before);

  const asked = second.targets.length;
  await api.call("PATCH", `/v1/mailboxes/${id}`, { key, body: { proxy: null } });
  await until(() => second.open === 0, "every connection to have left the proxy", 60_000);
  await shown(id, ({ watch, settings }) => watch === "watching" && settings.proxy === null, "the watch to be back");
  await deliver(own.email, "Subject: straight\r\n\r\n1");
  await until(async () => (await subjects(id)).includes("straight"), "news on the straight way", 30_000);
  expect(second.targets).toHaveLength(asked);

  const kept = await api.db.selectFrom("mailboxes").innerJoin("credentials", "mailbox_id", "id").selectAll().where("id", "=", id).execute();
  const audit = await api.db.selectFrom("audit_log").selectAll().where("target", "=", id).execute();
  expect(JSON.stringify([kept, audit, api.logLines])).not.toContain(secret);
});

test("says on each side of a connection test what the proxy did, and names the member that is wrong", async () => {
  const proxy = await proxyFor({ type: "socks5", username: "ann", password: "right" });
  const own = { ...(await mailbox()), smtp: { host: "127.0.0.1", port: 1, security: "none", allowInsecure: true } };
  const tried = (members: object) => api.call("POST", "/v1/mailboxes/test", { key, body: { ...own, proxy: through(proxy, members) } });
  const refused = await tried({ username: "ann", password: "wrong" });
  expect(refused.body).toMatchObject({
    receiving: { ok: false, problem: { code: "proxy_refused", fix: expect.stringContaining("`password`") } },
    sending: { ok: false, problem: { code: "proxy_refused" } },
  });
  const half = await tried({ username: "ann", password: "right" });
  expect(half.body).toMatchObject({ receiving: { ok: true }, sending: { ok: false } });
  await proxy.close();
  expect((await tried({})).body).toMatchObject({
    receiving: { ok: false, problem: { code: "proxy_unreachable" } },
    sending: { ok: false, problem: { code: "proxy_unreachable" } },
  });
  const wrong = await tried({ type: "carrier-pigeon" });
  expect(wrong.status).toBe(400);
  expect(JSON.stringify(wrong.body)).toContain("#/proxy/type");
});

test("shows a proxy that went away as the mailbox's problem, and goes on at once through another", { timeout: 180_000 }, async () => {
  const proxy = await proxyFor({ type: "http" });
  const { id } = (await api.call("POST", "/v1/mailboxes", { key, body: { ...(await mailbox()), proxy: through(proxy) } })).body;
  await shown(id, ({ flow }) => flow.state === "live", "the mailbox to be live");
  await proxy.close();
  await api.call("POST", `/v1/mailboxes/${id}/sync`, { key });
  await until(
    async () =>
      (await api.db.selectFrom("mailboxes").select("problem").where("id", "=", id).executeTakeFirst())?.problem?.code === "proxy_unreachable",
    "the problem to be written down",
    60_000,
  );
  const other = await proxyFor({ type: "socks4" });
  expect((await api.call("PATCH", `/v1/mailboxes/${id}`, { key, body: { proxy: { type: "socks4", port: other.port } } })).status).toBe(200);
  await shown(id, ({ flow, problem }) => flow.state === "live" && problem === null, "the mailbox to go on");
  expect(other.targets).not.toEqual([]);
});
