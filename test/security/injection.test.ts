import { connect } from "node:net";
import { expect, test } from "vitest";
import { attachmentDisposition } from "../../api/content-disposition.ts";
import { maildirEntry } from "../../api/export/maildir.ts";
import { newId } from "../../db/ids.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { testSending } from "../../providers/imap/smtp.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { newSigningSecret } from "../../webhooks/sign.ts";
import { startApi } from "../api/api.ts";
import { smtpThatSays } from "../helpers/scripted-server.ts";
import { startReceiver } from "../webhooks/receiver.ts";

/** Names that end lines, quotes, paths and headers, or move a cursor. */
const names = [
  "a\r\nX-Injected: 1",
  'a"; filename="evil.exe',
  "a\\",
  "\u001b[2J\u009b1A.txt",
  "../../../etc/cron.d/evil",
  "a\u2028b\u0000c",
  "\u202efdp.exe",
  "\ud800",
  `${"n".repeat(100_000)}.pdf`,
];

test.each(names)("a file's name cannot leave its place in Content-Disposition (%#)", (name) => {
  const header = attachmentDisposition(name);
  expect(header).toMatch(/^attachment; filename="[^"\\\p{Cc}/]*"; filename\*=UTF-8''[\w.!#$&+^`|~%-]*$/u);
  expect(header.length).toBeLessThan(1_000);
  expect(new Headers({ "Content-Disposition": header }).get("Content-Disposition")).toBe(header);
});

test.each(names)("a folder's path cannot leave its place in an archive (%#)", async (path) => {
  const message = { id: newId("message"), receivedAt: new Date(0), flags: [], path: `x/${path}`, delimiter: "/" };
  const pieces: Buffer[] = [];
  for await (const piece of maildirEntry(message, {
    sizeBytes: 1,
    stream: (async function* () {
      yield Buffer.from("m");
    })(),
  }))
    pieces.push(piece);
  const archive = Buffer.concat(pieces);
  expect(archive.length % 512).toBe(0);
  const text = archive.toString();
  const written = / path=([^\n]*)\n/.exec(text)?.[1] ?? text.slice(0, text.indexOf("\0"));
  expect(written).toMatch(/^\.x\.[^/]*\/cur\/0\.msg_\w+\.everpost:2,$/);
  expect(written).not.toMatch(/\p{Cc}/u);
});

test("a webhook's URL cannot add a header, whatever stands in it", async () => {
  await using receiver = await startReceiver();
  const deliverer = createDeliverer({ resolveHost: createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] }) });
  const base = receiver.url.replace(/\/$/, "");
  for (const path of [
    "/a\r\nX-Injected: 1",
    "/a%0d%0aX-Injected:%201",
    "/?q=\r\nX-Injected: 1",
    "/?q=%0aX-Injected:%201",
    "/a HTTP/1.1\r\nX-Injected: 1\r\n\r\n",
  ]) {
    const outcome = await deliverer.deliver({ url: `${base}${path}`, id: "evt_1", body: "{}", secrets: [newSigningSecret()] });
    expect(outcome.kind, path).toBe("delivered");
  }
  await deliverer.close();
  expect(receiver.received).toHaveLength(5);
  for (const { headers } of receiver.received) expect(Object.keys(headers)).not.toContain("x-injected");
});

/** Bytes on the wire that no client library would send: line ends, colours, a cursor that moves, in one byte too, quotes, and length. */
const hostile = ["a\r\n b", "\u001b[2J\u001b[1A", "\u009b2J", "\u0007\b\u007f", '"},{"level":60,"msg":"forged"}', "x".repeat(10_000)];

test.each([false, true])(
  "a request writes one line into the log, whatever its path, its headers and its client are called (pretty: %s)",
  async (isPretty) => {
    await using api = await startApi({ env: { EVERPOST_LOG_PRETTY: String(isPretty), EVERPOST_LOG_LEVEL: "debug" } });
    const { key } = await api.newCustomer();
    const before = api.logLines.length;
    let answered = 0;
    const send = async (target: string, header: string) => {
      const socket = connect(Number(new URL(api.url).port), "127.0.0.1").setEncoding("latin1");
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${key}\r\n${header}\r\n\r\n`, "latin1");
      const answer = (await socket.toArray()).join("");
      expect(answer, `${target} ${header}`).toMatch(/^HTTP\/1\.1 [24]\d\d /);
      const [head = ""] = answer.split("\r\n\r\n");
      expect(head).not.toMatch(/[^\r\n\x20-\x7e]|forged/);
      // What is no HTTP to the parser never becomes a request.
      if (/^x-content-type-options/im.test(head)) answered += 1;
    };
    for (const text of hostile) {
      await send("/v1/mailboxes", `User-Agent: ${text}`);
      await send("/v1/mailboxes", `X-Request-Id: req_12345678${text}`);
      await send("/v1/mailboxes", `X-Forwarded-For: ${text}`);
      await send(`/v1/mailboxes/${encodeURIComponent(text)}`, "User-Agent: test");
      await send(`/v1/mailboxes?cursor=${encodeURIComponent(text)}`, "User-Agent: test");
      await send(`/${text.replaceAll(/[\r\n ]/g, "")}`, "User-Agent: test");
    }
    const lines = api.logLines.slice(before);
    expect(answered).toBeGreaterThan(hostile.length * 2);
    expect(lines).toHaveLength(answered);
    expect(lines.join("")).not.toMatch(/\p{Cc}|forged|xxxx/u);
    for (const line of lines) {
      if (isPretty) expect(line).toMatch(/^\d\d:\d\d:\d\d info {2}request requestId=req_\w+ method=GET /);
      else expect(JSON.parse(line)).toMatchObject({ level: 30, msg: "request", method: "GET", requestId: expect.stringMatching(/^req_\w+$/) });
    }
  },
);

test("a user name or a password for SMTP cannot add a command, even one that was stored before such were refused", async () => {
  for (const text of ["ann\r\nMAIL FROM:<evil@example.test>", "ann\nRSET", "ann\u0000evil", "ann\rQUIT"]) {
    await using server = await smtpThatSays("235 2.7.0 welcome");
    const smtp = { host: "127.0.0.1", port: server.port, security: "none", username: text, allowSelfSigned: false, caCertificate: null } as const;
    await testSending({
      settings: { preset: "custom", email: "ann@example.test", imap: smtp, smtp, proxy: null, connectionsMax: 1 },
      credentials: { password: text, smtpPassword: null, proxyPassword: null },
      resolveHost: async (address) => ({ address, family: 4 }),
      roleOverrides: {},
    });
    const heard = server.heard.map((line) => line.replace(/^(EHLO|AUTH PLAIN) \S+$/, "$1"));
    expect(heard.filter((line) => line !== "QUIT")).toEqual(["EHLO", "AUTH PLAIN"]);
  }
});
