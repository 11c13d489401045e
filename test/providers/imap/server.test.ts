import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ImapFlow } from "imapflow";
import { afterEach, describe, expect, test } from "vitest";
import type { HostResolver } from "../../../domain/host.ts";
import type { SyncCursor } from "../../../domain/sync.ts";
import { imap } from "../../../providers/imap/index.ts";
import type { MailProvider } from "../../../providers/provider.ts";
import { startSandbox } from "../../../sandbox/server.ts";
import { createMailUser, deliver, dovecot } from "../../helpers/dovecot.ts";
import { startProxy, type TcpProxy } from "../../helpers/tcp-proxy.ts";
import { until } from "../../helpers/wait.ts";

const inbox = { path: "INBOX" };
const resolveHost: HostResolver = async () => ({ address: "127.0.0.1", family: 4 });

const toClose: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of toClose.splice(0)) await one.close();
});

interface Server {
  readonly host?: string;
  readonly port: number;
  readonly security?: string;
  readonly allowInsecure?: boolean;
  readonly allowSelfSigned?: boolean;
  readonly caCertificate?: string;
}

function open(user: { readonly email: string; readonly password: string }, server: Server, resolver: HostResolver = resolveHost): MailProvider {
  const { settings, credentials } = imap.split({ password: user.password, imap: { host: "localhost", ...server } }, user.email);
  const provider = imap.open(settings, credentials, { resolveHost: resolver, roleOverrides: {} });
  toClose.push(provider);
  return provider;
}

const plain = (port: number): Server => ({ port, security: "none", allowInsecure: true });

async function proxied(): Promise<TcpProxy> {
  const proxy = await startProxy(dovecot().imapPort);
  toClose.push(proxy);
  return proxy;
}

describe("TLS", () => {
  test("connects by TLS and by STARTTLS when the certificate rests on the given authority", async () => {
    const user = await createMailUser();
    const caCertificate = readFileSync(dovecot().caFile, "utf8");
    await expect(open(user, { port: dovecot().imapsPort, security: "tls", caCertificate }).verify()).resolves.toMatchObject({ address: user.email });
    await expect(open(user, { port: dovecot().imapPort, security: "starttls", caCertificate }).verify()).resolves.toBeDefined();
  });

  test("refuses a certificate that nobody signed, unless told otherwise", async () => {
    const user = await createMailUser();
    await expect(open(user, { port: dovecot().imapsPort, security: "tls" }).verify()).rejects.toMatchObject({ code: "certificate_invalid" });
    await expect(open(user, { port: dovecot().imapPort, security: "starttls" }).verify()).rejects.toMatchObject({ code: "certificate_invalid" });
    await expect(open(user, { port: dovecot().imapsPort, security: "tls", allowSelfSigned: true }).verify()).resolves.toBeDefined();
  });

  test("checks the certificate against the name, not against the address that the name resolved to", async () => {
    const user = await createMailUser();
    const caCertificate = readFileSync(dovecot().caFile, "utf8");
    const server = { host: "imap.acme.example", port: dovecot().imapsPort, security: "tls", caCertificate };
    await expect(open(user, server).verify()).rejects.toMatchObject({ code: "certificate_invalid" });
  });

  test("says tls_failed for TLS to a port that wants STARTTLS", async () => {
    await expect(open(await createMailUser(), { port: dovecot().imapPort, security: "tls" }).verify()).rejects.toMatchObject({ code: "tls_failed" });
  });

  test("connects to the address that was resolved and asks for no other", async () => {
    const asked: string[] = [];
    const provider = open(await createMailUser(), { host: "mail.does-not-exist.example", ...plain(dovecot().imapPort) }, async (host) => {
      asked.push(host);
      return { address: "127.0.0.1", family: 4 };
    });
    await expect(provider.verify()).resolves.toBeDefined();
    expect(asked).toEqual(["mail.does-not-exist.example"]);
  });

  test("says connection_refused where nobody listens", async () => {
    const proxy = await proxied();
    await proxy.close();
    await expect(open(await createMailUser(), plain(proxy.port)).verify()).rejects.toMatchObject({ code: "connection_refused" });
  });
});

describe("a network that fails", () => {
  test("connects anew when the connection broke between two calls [row 75]", async () => {
    const proxy = await proxied();
    const provider = open(await createMailUser(), plain(proxy.port));
    await provider.verify();
    proxy.cut();
    await until(() => !provider.isUsable(), "the broken connection to be noticed");
    await expect(provider.listFolders()).resolves.not.toHaveLength(0);
    expect(provider.isUsable()).toBe(true);
    expect(proxy.connections).toBe(2);
  });

  test("ends a call at once when it is aborted although the server does not answer, and those that wait behind it go on", async () => {
    const proxy = await proxied();
    const provider = open(await createMailUser(), plain(proxy.port));
    await provider.verify();
    proxy.freeze();
    const control = new AbortController();
    const stuck = provider.pullChanges(inbox, undefined, { limit: 10, signal: control.signal });
    const waiting = provider.pullChanges(inbox, undefined, { limit: 10, signal: AbortSignal.timeout(1_000) });
    control.abort(new Error("enough"));
    await expect(stuck).rejects.toThrow("enough");
    await expect(waiting).rejects.toMatchObject({ name: "TimeoutError" });
  });

  test("ends the connecting at once when it is aborted although the server does not greet", async () => {
    const proxy = await proxied();
    proxy.freeze();
    const provider = open(await createMailUser(), plain(proxy.port));
    await expect(provider.verify(AbortSignal.timeout(200))).rejects.toMatchObject({ name: "TimeoutError" });
  });

  test("ends the watch within a minute when the connection has silently died [row 59]", async () => {
    const proxy = await proxied();
    const provider = open(await createMailUser(), plain(proxy.port));
    let isAlive = false;
    const watching = provider.watch({
      scope: inbox,
      knownCursors: async () => new Map(),
      checkEveryMs: 200,
      onChange: () => {},
      onAlive: () => {
        isAlive = true;
      },
      signal: new AbortController().signal,
    });
    watching.catch(() => {});
    await until(() => isAlive, "the watch to begin");
    proxy.freeze();
    await expect(watching).rejects.toMatchObject({ name: "MailError", code: "unavailable" });
  }, 60_000);

  test("gives the import a connection of its own, so that new mail does not wait behind it", async () => {
    const user = await createMailUser();
    await deliver(user.email, "Subject: one\r\n\r\n1");
    const proxy = await proxied();
    const provider = open(user, plain(proxy.port));
    const { historyCursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    await provider.pullHistory(inbox, historyCursor as SyncCursor, { limit: 10 });
    expect(proxy.connections).toBe(2);
  });

  test("keeps to one connection for both where the account allows no more", async () => {
    const user = await createMailUser();
    await deliver(user.email, "Subject: one\r\n\r\n1");
    const proxy = await proxied();
    const { settings, credentials } = imap.split(
      { password: user.password, connectionsMax: 2, imap: { host: "localhost", ...plain(proxy.port) } },
      user.email,
    );
    const provider = imap.open(settings, credentials, { resolveHost, roleOverrides: {} });
    toClose.push(provider);
    const { historyCursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    await provider.pullHistory(inbox, historyCursor as SyncCursor, { limit: 10 });
    expect(proxy.connections).toBe(1);
  });
});

describe("mail as it really is", () => {
  async function readBack(sources: readonly (string | Buffer)[]) {
    const user = await createMailUser();
    const hand = new ImapFlow({
      host: "127.0.0.1",
      port: dovecot().imapPort,
      secure: false,
      doSTARTTLS: false,
      auth: { user: user.email, pass: user.password },
      logger: false,
    });
    await hand.connect();
    for (const source of sources) await hand.append("INBOX", source);
    await hand.logout();
    const provider = open(user, plain(dovecot().imapPort));
    const { historyCursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    const { messages } = await provider.pullHistory(inbox, historyCursor as SyncCursor, { limit: 100 });
    const texts = await provider.fetchTexts(inbox, messages, { bytesMax: 10_000 });
    expect(JSON.stringify([messages, [...texts]])).not.toMatch(/\\u0000|\\ud[89a-f]/i);
    return messages.toReversed().map((message) => ({ ...message, text: texts.get(message.ref) }));
  }

  test("is listed though it has no header, no body, or nothing at all", async () => {
    const messages = await readBack(["Subject: only a subject\r\n\r\n", "\r\njust a body\r\n", "no header line\r\n\r\nbody", "\r\n"]);
    expect(messages.map(({ envelope }) => [envelope.subject, envelope.from, envelope.messageId])).toEqual([
      ["only a subject", [], null],
      ["", [], null],
      ["", [], null],
      ["", [], null],
    ]);
  });

  test("is listed with bad dates, bytes that are no characters, and headers folded and encoded badly", async () => {
    const messages = await readBack([
      "Subject: bad date\r\nDate: the day after tomorrow\r\n\r\nx",
      "Subject: future\r\nDate: Fri, 20 Nov 9026 10:00:00 +0000\r\n\r\nx",
      Buffer.from("Subject: caf\xe9\r\nFrom: Ren\xe9 <rene@example.test>\r\n\r\nx", "latin1"),
      "Subject: =?utf-8?b?R3LDvMOf?=\r\n =?utf-8?q?e?=\r\nTo: =?iso-8859-1?q?J=F6rg?= <j@example.test>, undisclosed-recipients:;\r\n\r\nx",
      "Subject: =?x-nope?q?a=00b?= =?utf-8?b?broken\r\nMessage-ID: no brackets\r\nReferences: <a@b><c@d> junk <e@f>\r\n\r\nx",
    ]);
    expect(messages.map(({ envelope }) => envelope.sentAt)).toEqual([null, null, null, null, null]);
    expect(messages.every((message) => Date.parse(message.receivedAt) > Date.parse("2020-01-01"))).toBe(true);
    expect(messages[2]?.envelope.from[0]?.address).toBe("rene@example.test");
    expect(messages[3]?.envelope).toMatchObject({ subject: "Grüße", to: [{ name: "Jörg", address: "j@example.test" }, { address: "" }] });
    expect(messages[4]?.envelope).toMatchObject({ references: ["<a@b>", "<c@d>", "<e@f>"] });
  });

  test("gives file names in every way that senders encode them", async () => {
    const part = (disposition: string, type = "application/pdf") =>
      `--b\r\nContent-Type: ${type}\r\nContent-Disposition: ${disposition}\r\n\r\nx\r\n`;
    const [message] = await readBack([
      [
        "Subject: files\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
        part(`attachment; filename="plain.pdf"`),
        part(`attachment; filename*=utf-8''%C3%A4.pdf`),
        part(`attachment; filename*0="long ";\r\n filename*1="name.pdf"`),
        part(`attachment; filename="=?utf-8?q?=C3=B6.pdf?="`),
        part(`attachment; filename*=utf-8''%%zz.pdf`),
        part("attachment", `application/pdf; name="only-type.pdf"`),
        part("attachment"),
        "--b--\r\n",
      ].join(""),
    ]);
    const names = message?.attachments.map((attachment) => attachment.fileName) ?? [];
    expect(names.toSpliced(4, 1)).toEqual(["plain.pdf", "ä.pdf", "long name.pdf", "ö.pdf", "only-type.pdf", null]);
    expect(names[4]).toContain("zz.pdf");
    expect(message?.attachments.map((attachment) => attachment.part)).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  });

  test("gives the text of messages of every build", async () => {
    const messages = await readBack([
      "Content-Type: text/plain; charset=iso-8859-15\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n5=A4",
      `Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n${Buffer.from("<p>Grüße <b>aus</b> Köln</p>").toString("base64")}`,
      "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>html\r\n--b--\r\n--a--\r\n",
      "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nnever closed",
      "Content-Type: application/pdf\r\n\r\nno text",
    ]);
    expect(messages.map((message) => message.text)).toEqual(["5€", "Grüße aus Köln", "plain", "never closed", undefined]);
  });

  test("streams a source that is larger than a piece, byte for byte", async () => {
    const body = Array.from({ length: 30_000 }, (_, line) => `line ${line} ${"x".repeat(40)}`).join("\r\n");
    const source = `Subject: large\r\n\r\n${body}\r\n`;
    const user = await createMailUser();
    const hand = new ImapFlow({
      host: "127.0.0.1",
      port: dovecot().imapPort,
      secure: false,
      doSTARTTLS: false,
      auth: { user: user.email, pass: user.password },
      logger: false,
    });
    await hand.connect();
    await hand.append("INBOX", source);
    await hand.logout();
    const provider = open(user, plain(dovecot().imapPort));
    const { sizeBytes, stream } = await provider.openSource(inbox, "1");
    // Somebody else uses the connection while the source is read.
    const [bytes] = await Promise.all([stream.toArray(), provider.listFolders(), provider.pullChanges({ path: "Sent" }, undefined, { limit: 1 })]);
    expect(sizeBytes).toBe(source.length);
    expect(Buffer.concat(bytes).toString()).toBe(source);
  });
});

describe("an answer that cannot be parsed", () => {
  test("keeps back neither the other messages nor the one it is about", async () => {
    const user = await createMailUser();
    // An unterminated string in one message's ENVELOPE, as a broken server sends it.
    const proxy = await startProxy(dovecot().imapPort, {
      fromServer: (bytes) => Buffer.from(bytes.toString("latin1").replaceAll('"broken subject"', '"broken subject'), "latin1"),
    });
    toClose.push(proxy);
    const provider = open(user, plain(proxy.port));
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    for (const subject of ["first", "broken subject", "last"]) await deliver(user.email, `Subject: ${subject}\r\n\r\nx`);
    const page = await provider.pullChanges(inbox, cursor, { limit: 10 });
    expect(page.added.map(({ ref, envelope }) => [ref, envelope.subject])).toEqual([
      ["1", "first"],
      ["2", ""],
      ["3", "last"],
    ]);
    expect(page.added[1]?.sizeBytes).toBeGreaterThan(0);
    const next = await provider.pullChanges(inbox, page.cursor, { limit: 10 });
    expect(next).toMatchObject({ added: [], present: undefined, more: false });
    const history = await provider.pullHistory(inbox, { ...cursor, below: 4 }, { limit: 10 });
    expect(history.messages.map(({ ref }) => ref)).toEqual(["3", "2", "1"]);
  });
});

describe("a test of the connection", () => {
  test("reports each side, the one that works and the one that does not", async () => {
    const user = await createMailUser();
    const proxy = await proxied();
    await proxy.close();
    const { settings, credentials } = imap.split(
      { password: user.password, imap: { host: "localhost", ...plain(dovecot().imapPort) }, smtp: { host: "localhost", ...plain(proxy.port) } },
      user.email,
    );
    const report = await imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
    expect(report.receiving).toMatchObject({ address: user.email, inbox: { total: 0, unseen: 0 }, serverName: "Dovecot" });
    expect(report.sending).toMatchObject({ name: "MailError", code: "connection_refused" });
  });

  test("signs in by SMTP and tells what the server takes, and names a refused SMTP password", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "everpost-smtp-"));
    const account = { email: "alex@sandbox.everpost.test", password: "right" };
    const sandbox = await startSandbox({ dataDir, accounts: [account], withSamples: false });
    try {
      const testWith = (smtpPassword: string) => {
        const { settings, credentials } = imap.split(
          {
            password: account.password,
            imap: { host: "localhost", ...plain(sandbox.imapPort) },
            smtp: { host: "localhost", password: smtpPassword, ...plain(sandbox.smtpPort) },
          },
          account.email,
        );
        return imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
      };
      const report = await testWith("right");
      expect(report.receiving).toMatchObject({ address: account.email });
      expect(report.sending).toMatchObject({
        sizeLimitBytes: expect.any(Number),
        extensions: expect.arrayContaining([expect.stringMatching(/^SIZE/)]),
      });
      expect((await testWith("wrong")).sending).toMatchObject({ name: "MailError", code: "authentication_failed" });
    } finally {
      await sandbox.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  test("says nothing of sending where nothing is sent", async () => {
    const user = await createMailUser();
    const { settings, credentials } = imap.split({ password: "wrong", imap: { host: "localhost", ...plain(dovecot().imapPort) } }, user.email);
    const report = await imap.test(settings, credentials, { resolveHost, roleOverrides: {} });
    expect(report.receiving).toMatchObject({ code: "authentication_failed" });
    expect(report.sending).toBeUndefined();
  });
});
