import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ImapFlow } from "imapflow";
import { type Sandbox, type SandboxOptions, startSandbox } from "../../sandbox/server.ts";

export const alex = { email: "alex@sandbox.everpost.test", password: 'pass "word" \\ ß' };
export const sam = { email: "sam@sandbox.everpost.test", password: "another" };

/** A sandbox of a test's own, with two accounts and empty folders. */
export async function temporarySandbox(
  options: Partial<SandboxOptions> = {},
): Promise<Sandbox & { dataDir: string; [Symbol.asyncDispose](): Promise<void> }> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "everpost-sandbox-"));
  const sandbox = await startSandbox({ accounts: [alex, sam], withSamples: false, ...options, dataDir });
  return {
    ...sandbox,
    dataDir,
    async [Symbol.asyncDispose]() {
      await sandbox.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A real ImapFlow client, logged in. */
export async function imapClient(sandbox: Pick<Sandbox, "imapPort">, account = alex): Promise<ImapFlow> {
  const client = new ImapFlow({
    host: "127.0.0.1",
    port: sandbox.imapPort,
    secure: false,
    doSTARTTLS: false,
    auth: { user: account.email, pass: account.password },
    logger: false,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}

export interface RawClient {
  readonly socket: Socket;
  /** Writes as it stands. */
  send(text: string): void;
  /** All that came until a line matches, which is taken as well. */
  until(line: RegExp): Promise<string>;
  /** Sends a command behind a tag of its own and returns all lines up to its answer. */
  command(text: string): Promise<string>;
  /** Resolves when the server has closed the connection, with what was left to read. */
  closed(): Promise<string>;
}

/** A client that speaks whatever it is told, for what no well-behaved one would say. */
export async function rawClient(port: number): Promise<RawClient> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  let received = "";
  let isClosed = false;
  let tags = 0;
  const wakeUps = new Set<() => void>();
  const wake = () => {
    for (const each of wakeUps) each();
  };
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1");
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isClosed = true;
    wake();
  });
  const when = <T>(condition: () => T | undefined, what: string): Promise<T> =>
    new Promise((resolve, reject) => {
      const check = () => {
        const value = condition();
        if (value === undefined && !isClosed) return;
        finish();
        if (value === undefined) reject(new Error(`closed while waiting for ${what}; received: ${received.slice(-500)}`));
        else resolve(value);
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`no ${what} within 5 s; received: ${received.slice(-500)}`));
      }, 5_000);
      const finish = () => {
        clearTimeout(timer);
        wakeUps.delete(check);
      };
      wakeUps.add(check);
      check();
    });
  const client: RawClient = {
    socket,
    send: (text) => void socket.write(text, "latin1"),
    until: (line) =>
      when(() => {
        const match = new RegExp(`(?:^|\r\n)(?:${line.source})[^\r\n]*\r\n`, line.flags).exec(received);
        if (match === null) return undefined;
        const taken = received.slice(0, match.index + match[0].length);
        received = received.slice(taken.length);
        return taken;
      }, String(line)),
    command: (text) => {
      const tag = `t${++tags}`;
      client.send(`${tag} ${text}\r\n`);
      return client.until(new RegExp(`${tag} (?:OK|NO|BAD)`));
    },
    closed: () => when(() => (isClosed ? received : undefined), "end of the connection"),
  };
  return client;
}

export async function loggedIn(port: number, account = alex): Promise<RawClient> {
  const client = await rawClient(port);
  const answer = await client.command(`AUTHENTICATE PLAIN ${Buffer.from(`\0${account.email}\0${account.password}`).toString("base64")}`);
  if (!answer.includes(" OK ")) throw new Error(`login failed: ${answer}`);
  return client;
}

export function mail(subject: string, body = "Hello.\r\n"): string {
  return `From: Mina <mina@partner.example>\r\nTo: alex@sandbox.everpost.test\r\nSubject: ${subject}\r\nMessage-ID: <${subject.replace(/\W/g, "-")}@partner.example>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\n\r\n${body}`;
}
