import { SMTPServer, type SMTPServerSession } from "smtp-server";
import { messageBytesMax } from "./imap/capabilities.ts";
import { type Account, addMessages } from "./imap/store.ts";

export interface SmtpOptions {
  readonly port: number;
  readonly login: (user: string, password: string) => Account | undefined;
  /** The account behind an address, whatever its case and without its `+tag`. */
  readonly accountOf: (address: string) => Account | undefined;
  /** Whether mail to this domain stays here. */
  readonly isLocalDomain: (domain: string) => boolean;
}

/**
 * Takes mail for the sandbox's own accounts from anybody, and for the rest of the world from those who log in, as a smart host does; the latter
 * goes nowhere and is counted.
 */
export async function startSmtpServer(options: SmtpOptions): Promise<{ port: number; relayed(): number; stop(): Promise<void> }> {
  let relayed = 0;
  const server = new SMTPServer({
    name: "sandbox.everpost.test",
    banner: "Everpost sandbox",
    size: messageBytesMax,
    authOptional: true,
    authMethods: ["PLAIN", "LOGIN"],
    allowInsecureAuth: true, // there is no TLS: the sandbox never leaves the loopback address
    disabledCommands: ["STARTTLS"],
    disableReverseLookup: true,
    socketTimeout: 60_000,
    closeTimeout: 500,
    logger: false,
    onAuth({ username, password }, _session, callback) {
      const account = options.login(username ?? "", password ?? "");
      if (account === undefined) callback(replyError(535, "5.7.8 Authentication credentials invalid"));
      else callback(null, { user: account.email });
    },
    onRcptTo({ address }, session, callback) {
      if (options.accountOf(address) !== undefined) return callback();
      const domain = address.slice(address.lastIndexOf("@") + 1).toLowerCase();
      if (options.isLocalDomain(domain)) return callback(replyError(550, `5.1.1 <${address}>: no such user here`));
      if (session.user === undefined) return callback(replyError(550, `5.7.1 <${address}>: log in to send to others`));
      callback();
    },
    onData(stream, session, callback) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => {
        if (!stream.sizeExceeded) chunks.push(chunk);
      });
      stream.on("end", () => {
        if (stream.sizeExceeded) return callback(replyError(552, `5.3.4 a message has at most ${messageBytesMax} bytes`));
        try {
          relayed += deliver(Buffer.concat(chunks), session, options);
          callback(null, `2.0.0 accepted as ${session.id}`);
        } catch (error) {
          process.stderr.write(`sandbox: ${error instanceof Error ? error.stack : String(error)}\n`);
          callback(replyError(451, "4.3.0 the sandbox failed at this message; try again"));
        }
      });
    },
  });
  server.on("error", () => {}); // a client that breaks off is its own affair
  await new Promise<void>((resolve, reject) => {
    server.server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.server.address();
  if (address === null || typeof address === "string") throw new Error("the SMTP server has no port");
  return { port: address.port, relayed: () => relayed, stop: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Files one copy per account that is addressed, and returns how many recipients were elsewhere. */
function deliver(source: Buffer, session: SMTPServerSession, options: SmtpOptions): number {
  const { mailFrom, rcptTo } = session.envelope;
  const sender = mailFrom === false ? "" : mailFrom.address;
  const accounts = new Map<Account, string>();
  let elsewhere = 0;
  for (const { address } of rcptTo) {
    const account = options.accountOf(address);
    if (account === undefined) elsewhere++;
    else if (!accounts.has(account)) accounts.set(account, address);
  }
  for (const [account, address] of accounts) {
    const inbox = account.folders.get("INBOX");
    if (inbox === undefined) throw new Error(`${account.email} has no INBOX`);
    const trace = [
      `Return-Path: <${sender}>`,
      `Delivered-To: ${address}`,
      `Received: from ${session.hostNameAppearsAs || "localhost"} by sandbox.everpost.test with ${session.transmissionType} id ${session.id}`,
      `\tfor <${address}>; ${new Date().toUTCString().replace("GMT", "+0000")}`,
      "",
    ].join("\r\n");
    addMessages(account, inbox, [{ source: Buffer.concat([Buffer.from(trace), normalised(source)]), flags: [], receivedAt: Date.now() }]);
  }
  return elsewhere;
}

/** Bare line ends become CRLF, and a NUL byte, which IMAP has no way to hand out, becomes 0x80, both as a delivery to Dovecot does it. */
function normalised(source: Buffer): Buffer {
  return Buffer.from(source.toString("latin1").replace(/\r?\n/g, "\r\n").replaceAll("\0", "\x80"), "latin1");
}

function replyError(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}
