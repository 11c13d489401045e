import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A mail server that says what a test tells it to, for what no real one can be brought to say. */
export interface ScriptedServer extends AsyncDisposable {
  readonly port: number;
  /** Every line that clients sent. */
  readonly heard: readonly string[];
  /** Clients that are connected now. */
  readonly open: number;
  /** Clients that were connected so far. */
  readonly connections: number;
  /** Breaks every connection; new ones are taken. */
  cut(): void;
}

/** What is said to a line: text (each character one byte), undefined for silence, null to hang up. */
export type Reply = string | undefined | null | Speech;

/** What is said, and how: byte by byte with pauses, again and again, or and then the end. */
export interface Speech {
  readonly said: string;
  readonly byteEveryMs?: number;
  /** How often; without end where it is Infinity. No faster than the client reads. */
  readonly times?: number;
  readonly thenHangUp?: boolean;
}

export type Script = (line: string) => Reply;

/** One client's connection, for scripts that remember who they talk to, or speak without being asked. */
export interface Connection {
  say(reply: Reply): void;
  onClose(listener: () => void): void;
}

/** A server that greets and answers line by line. */
export async function scriptedServer(greeting: Reply, script: Script): Promise<ScriptedServer> {
  return scriptedSessions(greeting, () => script);
}

/** The same with a script of its own for every connection. */
export async function scriptedSessions(greeting: Reply, begin: (connection: Connection) => Script): Promise<ScriptedServer> {
  const heard: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    // What is said keeps its order, even when one answer takes its time.
    let said = Promise.resolve();
    const say = (reply: Reply) => {
      said = said.then(() => speak(socket, reply));
    };
    const answer = begin({ say, onClose: (listener) => socket.once("close", listener) });
    say(greeting);
    let rest = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      const lines = `${rest}${text}`.split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        heard.push(line);
        say(answer(line));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    heard,
    get open() {
      return sockets.size;
    },
    get connections() {
      return connections;
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function speak(socket: Socket, reply: Reply): Promise<void> {
  if (reply === undefined || socket.destroyed) return;
  if (reply === null) return void socket.end();
  if (typeof reply === "string") return void socket.write(reply, "latin1");
  if (reply.byteEveryMs === undefined) await repeat(socket, reply);
  else {
    for (const byte of reply.said) {
      if (socket.destroyed) return;
      socket.write(byte, "latin1");
      await delay(reply.byteEveryMs);
    }
  }
  if (reply.thenHangUp === true) socket.end();
}

async function repeat(socket: Socket, { said, times = 1 }: Speech): Promise<void> {
  const bytes = Buffer.from(said, "latin1");
  for (let left = times; left > 0 && !socket.destroyed; left -= 1) {
    if (socket.write(bytes)) continue;
    const settled = new AbortController();
    const signals = { signal: settled.signal };
    await Promise.race([once(socket, "drain", signals), once(socket, "close", signals)]).catch(() => {});
    settled.abort();
  }
}

/** An IMAP server that answers a sign-in with `said`, in which `{tag}` stands for the command's tag and `{line}` for the whole of it. */
export function imapThatSays(said: string, greeting = "* OK [CAPABILITY IMAP4rev1] ready\r\n"): Promise<ScriptedServer> {
  return scriptedServer(greeting, (line) => {
    const [tag = "", verb = ""] = line.split(" ");
    const command = verb.toUpperCase();
    if (command === "CAPABILITY") return `* CAPABILITY IMAP4rev1\r\n${tag} OK done\r\n`;
    if (command === "LOGOUT") return `* BYE\r\n${tag} OK\r\n`;
    if (command === "LOGIN" || command === "AUTHENTICATE") return `${said.replaceAll("{tag}", tag).replaceAll("{line}", line)}\r\n`;
    return command === "STARTTLS" ? `${tag} BAD Unknown command\r\n` : `${tag} OK\r\n`;
  });
}

/** An SMTP server that answers AUTH with `said`, in which `{line}` stands for the whole command. */
export function smtpThatSays(said: string, greeting = "220 mail.example.test ESMTP\r\n"): Promise<ScriptedServer> {
  return scriptedServer(greeting, (line) => {
    if (/^EHLO/i.test(line)) return "250-mail.example.test\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 10485760\r\n";
    if (/^AUTH/i.test(line)) return `${said.replaceAll("{line}", line)}\r\n`;
    if (/^QUIT/i.test(line)) return null;
    return /^STARTTLS/i.test(line) ? "502 5.5.1 Command not implemented\r\n" : "250 ok\r\n";
  });
}
