import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createTransport } from "nodemailer";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeSamples } from "../../sandbox/samples.ts";
import type { SandboxAccount } from "../../sandbox/server.ts";
import { until } from "../helpers/wait.ts";
import { alex, imapClient, loggedIn, mail, rawClient, sam, temporarySandbox } from "./helpers.ts";

const node = join(process.cwd(), "node_modules", ".bin", "node");

describe("mail by SMTP", () => {
  let sandbox: Awaited<ReturnType<typeof temporarySandbox>>;
  beforeEach(async () => {
    sandbox = await temporarySandbox();
  });
  afterEach(() => sandbox[Symbol.asyncDispose]());

  const transport = (auth?: { user: string; pass: string }) =>
    createTransport({ host: "127.0.0.1", port: sandbox.smtpPort, secure: false, ignoreTLS: true, ...(auth === undefined ? {} : { auth }) });
  const authenticated = () => transport({ user: alex.email, pass: alex.password });

  test("from anybody lands in INBOX, and a client in IDLE hears of it within a tenth of a second", async () => {
    const client = await imapClient(sandbox);
    await client.mailboxOpen("INBOX");
    const heard = new Promise<number>((resolve) => client.on("exists", () => resolve(performance.now())));
    const idling = client.idle();
    const sender = transport();
    await sender.verify();
    await sender.sendMail({
      from: "Mina <mina@partner.example>",
      to: `ALEX+news@Sandbox.Everpost.test, ${sam.email}`,
      subject: "Grüße",
      text: "Hallo",
    });
    const acceptedAt = performance.now();
    expect((await heard) - acceptedAt).toBeLessThan(100);
    const [message] = await client.fetchAll("1", { envelope: true, headers: ["return-path", "received"] });
    await idling;
    expect(message).toMatchObject({ envelope: { subject: "Grüße" } });
    expect(message?.headers?.toString()).toMatch(/Return-Path: <mina@partner.example>\r\nReceived: from .* by sandbox.everpost.test/);
    client.close();
    const other = await imapClient(sandbox, sam);
    expect(await other.status("INBOX", { messages: true })).toMatchObject({ messages: 1 });
    other.close();
  });

  test("to somebody who is not here is refused with 550 5.1.1", async () => {
    await expect(transport().sendMail({ from: alex.email, to: "nobody@sandbox.everpost.test", text: "x" })).rejects.toMatchObject({
      responseCode: 550,
      response: expect.stringContaining("5.1.1"),
    });
  });

  test("to the rest of the world is taken from those who log in, counted, and goes nowhere", async () => {
    await expect(transport().sendMail({ from: alex.email, to: "mina@partner.example", text: "x" })).rejects.toMatchObject({ responseCode: 550 });
    await authenticated().sendMail({ from: alex.email, to: ["mina@partner.example", "ben@partner.example", sam.email], text: "x" });
    expect(sandbox.relayed()).toBe(2);
    const client = await imapClient(sandbox, sam);
    expect(await client.status("INBOX", { messages: true })).toMatchObject({ messages: 1 });
    client.close();
  });

  test("with a wrong password is refused with 535", async () => {
    await expect(transport({ user: alex.email, pass: "wrong" }).verify()).rejects.toMatchObject({ responseCode: 535 });
  });

  test("with a NUL byte and bare line ends is taken, without them", async () => {
    const smtp = await rawClient(sandbox.smtpPort);
    await smtp.until(/220/); // who talks before is taken for a spammer
    smtp.send("HELO test\r\nMAIL FROM:<a@b.example>\r\n");
    smtp.send(`RCPT TO:<${alex.email}>\r\nDATA\r\n`);
    await smtp.until(/354/);
    smtp.send(`${mail("nul", "").trimEnd()}\r\n\na\0b\nc\r\n.\r\n`);
    await smtp.until(/250 2.0.0/);
    smtp.socket.destroy();
    const client = await loggedIn(sandbox.imapPort);
    await client.command("SELECT INBOX");
    expect(await client.command("FETCH 1 BODY[TEXT]")).toContain("\r\na\x80b\r\nc\r\n");
    client.socket.destroy();
  });
});

describe("the process", () => {
  let dataDir: string;
  const children: ChildProcess[] = [];
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "everpost-sandbox-"));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    rmSync(dataDir, { recursive: true, force: true });
  });

  async function start(
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ child: ChildProcess; imapPort: number; smtpPort: number; accounts: SandboxAccount[] }> {
    const child = fork("sandbox/server.ts", { execPath: node, execArgv: [], env: { ...process.env, SANDBOX_DATA_DIR: dataDir, ...env } });
    children.push(child);
    const [ready] = await once(child, "message");
    expect(ready).toMatchObject({ type: "ready" });
    return { child, ...ready };
  }

  test("starts with sample mail, keeps its password, and leaves with its parent", async () => {
    const first = await start();
    const [account] = first.accounts as [SandboxAccount];
    expect(account.email).toBe("alex@sandbox.everpost.test");
    const client = await imapClient(first, account);
    const before = await client.status("INBOX", { messages: true, uidValidity: true });
    expect(before).toMatchObject({ messages: expect.toSatisfy((messages: number) => messages > 50) });
    client.close();
    expect(statSync(join(dataDir, "password")).mode & 0o777).toBe(0o600);
    first.child.disconnect();
    expect(await once(first.child, "exit")).toEqual([0, null]);

    const second = await start();
    expect(second.accounts).toEqual(first.accounts);
    const again = await imapClient(second, account);
    expect(await again.status("INBOX", { messages: true, uidValidity: true })).toEqual(before);
    again.close();
    second.child.kill("SIGTERM");
    expect(await once(second.child, "exit")).toEqual([0, null]);
  });

  test("killed in the middle of its first start finishes it at the next", async () => {
    const child = fork("sandbox/server.ts", { execPath: node, execArgv: [], env: { ...process.env, SANDBOX_DATA_DIR: dataDir } });
    children.push(child);
    const messages = join(dataDir, "accounts", "alex@sandbox.everpost.test", "messages");
    await until(() => existsSync(messages) && readdirSync(messages).length > 20, "the first samples");
    child.kill("SIGKILL");
    await once(child, "exit");
    const { imapPort, accounts } = await start();
    const client = await imapClient({ imapPort }, accounts[0]);
    const folders = await client.list({ statusQuery: { messages: true } });
    client.close();
    const samples = makeSamples({ now: new Date(), email: "alex@sandbox.everpost.test" });
    for (const { path, status } of folders)
      expect([path, status?.messages ?? 0]).toEqual([path, samples.filter(({ folder }) => folder === path).length]);
    expect(readdirSync(messages)).toHaveLength(samples.length);
  });

  test("killed at any moment keeps what it has acknowledged", async () => {
    const first = await start({ SANDBOX_PASSWORD: "secret" });
    const [account] = first.accounts as [SandboxAccount];
    expect(account.password).toBe("secret");
    const client = await loggedIn(first.imapPort, account);
    const before = Number(/UIDNEXT (\d+)/.exec(await client.command("STATUS INBOX (UIDNEXT)"))?.[1]);
    const source = mail("kept");
    let acknowledged = 0;
    const killed = once(first.child, "exit");
    for (;;) {
      const answer = await client.command(`APPEND INBOX (\\Flagged) {${source.length}+}\r\n${source}`).catch(() => undefined);
      if (answer === undefined) break;
      expect(answer).toContain("OK [APPENDUID");
      if (++acknowledged === 20) first.child.kill("SIGKILL");
    }
    await killed;
    const journal = join(dataDir, "accounts", account.email, "journal.jsonl");
    appendFileSync(journal, '[{"op":"remove","id":"cut off in the mid'); // as a crash in the middle of a write would leave it

    const second = await start({ SANDBOX_PASSWORD: "secret" });
    const again = await loggedIn(second.imapPort, account);
    await again.command("SELECT INBOX");
    const kept = await again.command(`UID FETCH ${before}:* (FLAGS RFC822.SIZE)`);
    const whole = [...kept.matchAll(/FETCH \(UID \d+ FLAGS \(\\Flagged\) RFC822.SIZE (\d+)\)/g)].filter(
      (match) => Number(match[1]) === source.length,
    );
    expect(whole.length).toBeGreaterThanOrEqual(acknowledged);
    expect(await again.command(`APPEND INBOX {${source.length}+}\r\n${source}`)).toContain("OK [APPENDUID");
    again.socket.destroy();
    expect(readFileSync(journal, "utf8")).not.toContain("cut off");
  });

  test("leaves a directory alone that another one serves", async () => {
    const first = await start();
    const failure = await promisify(execFile)(node, ["sandbox/server.ts"], { env: { ...process.env, SANDBOX_DATA_DIR: dataDir } }).catch(
      (error) => error,
    );
    expect(failure).toMatchObject({ code: 1, stderr: expect.stringMatching(/^sandbox: another sandbox serves .*SANDBOX_DATA_DIR\n$/) });
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    await start();
  });

  test("says what to do when a port is taken", async () => {
    const first = await start();
    const failure = await promisify(execFile)(node, ["sandbox/server.ts"], {
      env: { ...process.env, SANDBOX_DATA_DIR: join(dataDir, "other"), SANDBOX_IMAP_PORT: String(first.imapPort) },
    }).catch((error) => error);
    expect(failure).toMatchObject({ code: 1, stderr: expect.stringMatching(/^sandbox: a port is taken: set SANDBOX_IMAP_PORT.*\n$/) });
  });

  test("`sandbox:send` finds a running sandbox by its data directory", async () => {
    const { imapPort, accounts } = await start();
    const [account] = accounts as [SandboxAccount];
    const client = await imapClient({ imapPort }, account);
    const { exists } = await client.mailboxOpen("INBOX");
    const run = (...args: string[]) =>
      promisify(execFile)(node, ["sandbox/send.ts", ...args], { env: { ...process.env, SANDBOX_DATA_DIR: dataDir } });
    const { stdout } = await run("--subject", "Grüße an alle");
    expect(stdout).toMatch(/^Sent to alex@sandbox.everpost.test as <.+>\n$/);
    expect(await client.status("INBOX", { messages: true })).toMatchObject({ messages: exists + 1 });
    client.close();
    const lost = await promisify(execFile)(node, ["sandbox/send.ts"], { env: { ...process.env, SANDBOX_DATA_DIR: join(dataDir, "none") } }).catch(
      (error) => error,
    );
    expect(lost).toMatchObject({ code: 1, stderr: expect.stringContaining("npm start") });
  });
});
