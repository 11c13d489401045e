import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { MailError } from "../../../domain/errors.ts";
import type { HostResolver } from "../../../domain/host.ts";
import type { SyncCursor } from "../../../domain/sync.ts";
import { createHostResolver } from "../../../network/resolve-host.ts";
import { imap } from "../../../providers/imap/index.ts";
import type { MailProvider } from "../../../providers/provider.ts";
import { createMailUser, deliver, dovecot } from "../../helpers/dovecot.ts";
import { type MailProxy, type MailProxyOptions, startMailProxy } from "../../helpers/mail-proxy.ts";
import { imapThatSays, smtpThatSays } from "../../helpers/scripted-server.ts";
import { startProxy } from "../../helpers/tcp-proxy.ts";
import { until } from "../../helpers/wait.ts";

const inbox = { path: "INBOX" };
const resolveHost: HostResolver = async () => ({ address: "127.0.0.1", family: 4 });
const types = ["socks5", "socks4", "http"] as const;

const toClose: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of toClose.splice(0)) await one.close();
});

async function proxyFor(options: MailProxyOptions): Promise<MailProxy> {
  const proxy = await startMailProxy(options);
  toClose.push(proxy);
  return proxy;
}

interface Way {
  readonly type: string;
  readonly host?: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

const plain = { security: "none", allowInsecure: true } as const;

function split(user: { readonly email: string; readonly password: string }, proxy: Way, more: object = {}) {
  const server = { host: "mail.example.org", port: dovecot().imapPort, ...plain };
  return imap.split({ password: user.password, imap: server, proxy: { host: "proxy.example.org", ...proxy }, ...more }, user.email);
}

function open(user: { readonly email: string; readonly password: string }, proxy: Way, more: object = {}, resolver = resolveHost): MailProvider {
  const { settings, credentials } = split(user, proxy, more);
  const provider = imap.open(settings, credentials, { resolveHost: resolver, roleOverrides: {} });
  toClose.push(provider);
  return provider;
}

const at = ({ type, port }: MailProxy): Way => ({ type, port });

describe("a mailbox with a proxy", () => {
  test.each(types)("reads, imports and watches through %s, and makes no connection beside it", async (type) => {
    const user = await createMailUser();
    await deliver(user.email, "Subject: one\r\n\r\n1");
    const proxy = await proxyFor({ type });
    // Nothing else leads to the server: this way is closed to whoever does not come through the proxy.
    const provider = open(user, at(proxy));
    const { historyCursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    await expect(provider.pullHistory(inbox, historyCursor as SyncCursor, { limit: 10 })).resolves.toMatchObject({ messages: [{ ref: "1" }] });
    const control = new AbortController();
    const seen: (readonly string[])[] = [];
    let isAlive = false;
    const watching = provider.watch({
      scope: inbox,
      knownCursors: async () => new Map(),
      checkEveryMs: 10_000,
      onChange: (paths) => seen.push(paths),
      onAlive: () => {
        isAlive = true;
      },
      signal: control.signal,
    });
    await until(() => isAlive, "the watch to begin");
    expect(proxy.open).toBe(3);
    await deliver(user.email, "Subject: two\r\n\r\n2");
    await until(() => seen.length > 0, "the news through the proxy");
    control.abort();
    await watching;
    await provider.close();
    expect(new Set(proxy.targets)).toEqual(new Set([`127.0.0.1:${dovecot().imapPort}`]));
    await until(() => proxy.open === 0, "the tunnels to be closed");
  });

  test.each(types)("checks the mail server's certificate by the server's name, with TLS and STARTTLS through %s", async (type) => {
    const user = await createMailUser();
    const proxy = await proxyFor({ type });
    const caCertificate = readFileSync(dovecot().caFile, "utf8");
    for (const [security, port] of [
      ["tls", dovecot().imapsPort],
      ["starttls", dovecot().imapPort],
    ] as const) {
      const server = { host: "localhost", port, security, caCertificate };
      await expect(open(user, at(proxy), { imap: server }).verify(), security).resolves.toMatchObject({ address: user.email });
      const other = { ...server, host: "imap.acme.example" };
      await expect(open(user, at(proxy), { imap: other }).verify(), security).rejects.toMatchObject({ code: "certificate_invalid" });
      const unvouched = { host: "localhost", port, security };
      await expect(open(user, at(proxy), { imap: unvouched }).verify(), security).rejects.toMatchObject({ code: "certificate_invalid" });
    }
    expect(proxy.targets).toHaveLength(6);
  });

  test.each(types)("tests sending through %s as well", async (type) => {
    const user = await createMailUser();
    const proxy = await proxyFor({ type });
    await using smtp = await smtpThatSays("235 2.7.0 in");
    const { settings, credentials } = split(user, at(proxy), { smtp: { host: "smtp.example.org", port: smtp.port, ...plain } });
    const report = await imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
    expect(report).toMatchObject({ receiving: { address: user.email }, sending: { extensions: expect.any(Array) } });
    expect(proxy.targets.toSorted()).toEqual([`127.0.0.1:${dovecot().imapPort}`, `127.0.0.1:${smtp.port}`].toSorted());
  });

  test.each(types)("loses no byte that the server sends at once when %s has connected", async (type) => {
    await using server = await imapThatSays("{tag} NO [AUTHENTICATIONFAILED] no");
    const proxy = await proxyFor({ type });
    const provider = open({ email: "ann@example.org", password: "pw" }, at(proxy), { imap: { host: "localhost", port: server.port, ...plain } });
    await expect(provider.verify()).rejects.toMatchObject({ code: "authentication_failed" });
  });

  test("names the mail server by the address that was resolved, so that the proxy resolves nothing", async () => {
    const proxy = await proxyFor({ type: "socks5" });
    const asked: string[] = [];
    const provider = open(await createMailUser(), { ...at(proxy), host: "way.example" }, {}, async (host) => {
      asked.push(host);
      return { address: "127.0.0.1", family: 4 };
    });
    await provider.verify();
    expect(asked.toSorted()).toEqual(["mail.example.org", "way.example"]);
    expect(proxy.targets).toEqual([`127.0.0.1:${dovecot().imapPort}`]);
  });

  test.each(["socks5", "http"] as const)("reaches servers by IPv6 through %s", async (type) => {
    const proxy = await proxyFor({ type, refuseWith: type === "http" ? 403 : 2 });
    const provider = open(await createMailUser(), at(proxy), {}, async (host) =>
      host === "mail.example.org" ? { address: "2001:db8::5:1", family: 6 } : { address: "127.0.0.1", family: 4 },
    );
    await expect(provider.verify()).rejects.toMatchObject({ code: "proxy_refused" });
    const written = type === "http" ? "2001:db8::5:1" : "2001:0db8:0000:0000:0000:0000:0005:0001";
    expect(proxy.targets).toEqual([`${written}:${dovecot().imapPort}`]);
  });

  test("does not reach private networks through a proxy that is allowed", async () => {
    const lookup = async (host: string) => [host === "proxy.example.org" ? "127.0.0.1" : "10.0.0.7"];
    const proxy = await proxyFor({ type: "socks5" });
    const allowed = createHostResolver({ allowPrivateNetworks: ["127.0.0.1/32"], lookup });
    await expect(open(await createMailUser(), at(proxy), {}, allowed).verify()).rejects.toMatchObject({ code: "private_address_refused" });
    expect(proxy.targets).toEqual([]);
  });

  test("does not use a proxy in a private network, and says that it is the proxy", async () => {
    const proxy = await proxyFor({ type: "socks5" });
    const lookup = async (host: string) => [host === "proxy.example.org" ? "127.0.0.1" : "198.51.100.7"];
    const provider = open(await createMailUser(), at(proxy), {}, createHostResolver({ allowPrivateNetworks: ["198.51.100.0/24"], lookup }));
    await expect(provider.verify()).rejects.toMatchObject({ code: "private_address_refused", fix: expect.stringMatching(/^The proxy's host/) });
    expect(proxy.targets).toEqual([]);
  });
});

describe("signing in to a proxy", () => {
  test.each(["socks5", "http"] as const)("goes with user name and password to %s, and is refused with wrong ones", async (type) => {
    const user = await createMailUser();
    const proxy = await proxyFor({ type, username: "ann", password: "pröxy word" });
    await expect(open(user, { ...at(proxy), username: "ann", password: "pröxy word" }).verify()).resolves.toBeDefined();
    for (const wrong of [{ username: "ann", password: "wrong word" }, { username: "ann" }, {}]) {
      await expect(open(user, { ...at(proxy), ...wrong }).verify()).rejects.toMatchObject({ code: "proxy_refused" });
    }
    expect(proxy.targets).toHaveLength(1);
  });

  test("goes with the user name alone to SOCKS4", async () => {
    const user = await createMailUser();
    const proxy = await proxyFor({ type: "socks4", username: "ann" });
    await expect(open(user, { ...at(proxy), username: "ann" }).verify()).resolves.toBeDefined();
    await expect(open(user, { ...at(proxy), username: "bob" }).verify()).rejects.toMatchObject({ code: "proxy_refused", serverSaid: /93/ });
  });

  test("leaves the proxy's password out of what is told of a failure, even where the proxy repeats it", async () => {
    const password = "a-word-that-nobody-may-see";
    const proxy = await proxyFor({ type: "http", username: "ann", password, refuseWith: 403 });
    const { settings, credentials } = split(await createMailUser(), { ...at(proxy), username: "ann", password });
    const { receiving } = await imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
    expect(receiving).toMatchObject({ code: "proxy_refused", serverSaid: "HTTP 403 to CONNECT" });
    const told = inspect([receiving, settings], { depth: 20, showHidden: true });
    for (const form of [password, Buffer.from(`ann:${password}`).toString("base64")]) expect(told).not.toContain(form);
  });
});

describe("a proxy that fails", () => {
  test.each([
    ["socks5", 1, "unavailable"],
    ["socks5", 2, "proxy_refused"],
    ["socks5", 3, "connection_refused"],
    ["socks5", 4, "connection_refused"],
    ["socks5", 5, "connection_refused"],
    ["socks5", 6, "connection_timeout"],
    ["socks5", 8, "proxy_refused"],
    ["socks5", 77, "unavailable"],
    ["socks4", 91, "proxy_refused"],
    ["http", 403, "proxy_refused"],
    ["http", 500, "unavailable"],
    ["http", 502, "connection_refused"],
    ["http", 504, "connection_timeout"],
  ] as const)("is understood when %s answers %i", async (type, refuseWith, code) => {
    const proxy = await proxyFor({ type, refuseWith });
    const failure = await open(await createMailUser(), at(proxy))
      .verify()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(MailError);
    expect(failure).toMatchObject({ code, serverSaid: expect.stringContaining(String(refuseWith)) });
  });

  test("is told as the proxy's failure when nobody listens there, or its name does not exist", async () => {
    const proxy = await proxyFor({ type: "socks5" });
    await proxy.close();
    const user = await createMailUser();
    await expect(open(user, at(proxy)).verify()).rejects.toMatchObject({ code: "proxy_unreachable", serverSaid: "ECONNREFUSED" });
    const nowhere = createHostResolver({
      allowPrivateNetworks: ["127.0.0.0/8"],
      lookup: async (host) => (host.startsWith("mail") ? ["127.0.0.1"] : []),
    });
    await expect(open(user, at(proxy), {}, nowhere).verify()).rejects.toMatchObject({ code: "proxy_unreachable" });
  });

  test.each(types)("is told when what answers a %s client is a mail server", async (type) => {
    await using server = await imapThatSays("{tag} NO no");
    const provider = open(await createMailUser(), { type, port: server.port });
    await expect(provider.verify()).rejects.toMatchObject({ code: "proxy_unreachable" });
  });

  test("is not waited for once the caller has had enough", async () => {
    const silent = await startProxy(dovecot().imapPort);
    toClose.push(silent);
    silent.freeze();
    const provider = open(await createMailUser(), { type: "socks5", port: silent.port });
    await expect(provider.verify(AbortSignal.timeout(200))).rejects.toMatchObject({ name: "TimeoutError" });
    await until(() => silent.open === 0, "the connection to be given up");
  });

  test("gives back the place among the account's connections", async () => {
    const proxy = await proxyFor({ type: "http", refuseWith: 403 });
    const { settings, credentials } = split(await createMailUser(), at(proxy));
    let taken = 0;
    const takeConnection = async () => {
      taken += 1;
      return () => {
        taken -= 1;
      };
    };
    const provider = imap.open(settings, credentials, { resolveHost, takeConnection, roleOverrides: {} });
    toClose.push(provider);
    await expect(provider.verify()).rejects.toMatchObject({ code: "proxy_refused" });
    expect(taken).toBe(0);
  });

  test("fails both sides of a connection test, each by itself", async () => {
    const user = await createMailUser();
    const proxy = await proxyFor({ type: "socks5" });
    const { settings, credentials } = split(user, at(proxy), { smtp: { host: "smtp.example.org", port: 1, ...plain } });
    const report = await imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
    expect(report.receiving).toMatchObject({ address: user.email });
    expect(report.sending).toBeInstanceOf(MailError);
    await proxy.close();
    const closed = await imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
    expect(closed).toMatchObject({ receiving: { code: "proxy_unreachable" }, sending: { code: "proxy_unreachable" } });
  });
});
