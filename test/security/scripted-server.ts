import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

/** A mail server that says what a test tells it to, for what no real one can be brought to say. */
export interface ScriptedServer extends AsyncDisposable {
  readonly port: number;
  /** Every line that clients sent. */
  readonly heard: readonly string[];
}

/** What is said to a line; undefined for silence, null to hang up. */
export type Script = (line: string) => string | undefined | null;

/** A server that greets and answers line by line. */
export async function scriptedServer(greeting: string | null, script: Script): Promise<ScriptedServer> {
  const heard: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    if (greeting === null) return void socket.destroy();
    socket.write(greeting);
    let rest = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      const lines = `${rest}${text}`.split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        heard.push(line);
        const said = script(line);
        if (said === null) return void socket.end();
        if (said !== undefined) socket.write(said);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    heard,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
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
