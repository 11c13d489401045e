import { connect } from "node:net";
import { ImapFlow } from "imapflow";
import { deliverTo } from "../helpers/dovecot.ts";
import { until } from "../helpers/wait.ts";
import type { Delivered, ListedFolder } from "./checker.ts";

export interface MailUser {
  readonly email: string;
  readonly password: string;
}

export interface MailServer {
  readonly imapPort: number;
  readonly lmtpPort: number;
}

/** What the test gave to the mail server, user by user: the list that everything is measured against. */
export interface Ledger {
  readonly entries: (Delivered & { readonly email: string; readonly at: number })[];
  of(email: string): readonly Delivered[];
}

export function createLedger(): Ledger {
  const entries: Ledger["entries"] = [];
  return { entries, of: (email) => entries.filter((entry) => entry.email === email) };
}

/** Fills a folder with mail from before the mailbox was connected. One APPEND of many literals (RFC 3502, RFC 7888): thousands in a second. */
export async function seedHistory(server: MailServer, user: MailUser, ledger: Ledger, path: string, count: number): Promise<void> {
  const ids = Array.from({ length: count }, (_, number) => `<${path}-${number}.${user.email}>`.toLowerCase());
  const literals = ids.map((id, number) => {
    const text = message(user.email, id, `History ${number}`, new Date(Date.UTC(2025, 0, 1) + number * 60_000));
    return ` {${Buffer.byteLength(text)}+}\r\n${text}`;
  });
  await command(server.imapPort, [`a1 LOGIN ${user.email} ${user.password}`, `a2 APPEND ${path}${literals.join("")}`, "a3 LOGOUT"], "a2 OK");
  ledger.entries.push(...ids.map((messageId) => ({ email: user.email, messageId, isTold: false, at: Date.now() })));
}

let counter = 0;

/**
 * Delivers one new message over LMTP, as patiently as a mail transfer agent: what the server did not acknowledge is sent again. Returns its
 * Message-ID.
 */
export async function deliverNew(server: MailServer, email: string, ledger: Ledger): Promise<string> {
  const messageId = `<new-${counter++}.${email}>`;
  const text = message(email, messageId, `New ${counter}`, new Date());
  const at = await until(() => deliverTo(server.lmtpPort, email, text).then(() => Date.now()), `the mail server to take ${messageId}`, 60_000);
  ledger.entries.push({ email, messageId, isTold: true, at });
  return messageId;
}

/** What lies in each folder, asked by a client that knows nothing of Everpost. */
export async function listMail(server: MailServer, user: MailUser): Promise<readonly ListedFolder[]> {
  const auth = { user: user.email, pass: user.password };
  const client = new ImapFlow({ host: "127.0.0.1", port: server.imapPort, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  try {
    const listed: ListedFolder[] = [];
    for (const { path } of await client.list()) {
      const status = await client.status(path, { unseen: true });
      const { uidValidity, uidNext, exists } = await client.mailboxOpen(path, { readOnly: true });
      const found = exists === 0 ? [] : await client.fetchAll("1:*", { uid: true, envelope: true });
      const messages = found.map(({ uid, envelope }) => ({ uid, messageId: envelope?.messageId ?? "" }));
      listed.push({ path, uidValidity: String(uidValidity), uidNext, unseen: status === false ? 0 : (status.unseen ?? 0), messages });
    }
    return listed;
  } finally {
    await client.logout();
  }
}

function message(to: string, messageId: string, subject: string, date: Date): string {
  const headers = [`From: Ann <ann@sender.test>`, `To: <${to}>`, `Subject: ${subject}`, `Message-ID: ${messageId}`, `Date: ${date.toUTCString()}`];
  return [...headers, "Content-Type: text/plain; charset=utf-8", "", `This is ${subject}.`, ""].join("\r\n");
}

async function command(port: number, lines: readonly string[], expected: string): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port }).setEncoding("utf8");
  let said = "";
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on("data", (text) => {
    said += text;
  });
  socket.on("error", reject).on("close", () => (said.includes(`\r\n${expected} `) ? resolve() : reject(new Error(`IMAP said: ${said.slice(-500)}`))));
  socket.write(`${lines.join("\r\n")}\r\n`);
  await promise;
}
