import { createHash, randomBytes } from "node:crypto";
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
  /** Stands in everything of every message that is nobody else's business: subject, text, sender, attachment and its name. */
  readonly mark: string;
  readonly entries: (Delivered & { readonly email: string; readonly at: number })[];
  of(email: string): readonly Delivered[];
}

export function createLedger(): Ledger {
  const entries: Ledger["entries"] = [];
  return { mark: `m${randomBytes(9).toString("hex")}`, entries, of: (email) => entries.filter((entry) => entry.email === email) };
}

/** Fills a folder with mail from before the mailbox was connected. One APPEND of many literals (RFC 3502, RFC 7888): thousands in a second. */
export async function seedHistory(server: MailServer, user: MailUser, ledger: Ledger, path: string, count: number): Promise<void> {
  const messages = Array.from({ length: count }, (_, number) => {
    const messageId = `<${path}-${number}.${user.email}>`.toLowerCase();
    const date = new Date(Date.UTC(2025, 0, 1) + number * 60_000);
    return compose(ledger.mark, { to: user.email, messageId, title: `History ${number}`, date, hasAttachment: number % 5 === 0 });
  });
  const literals = messages.map(({ rfc822 }) => ` {${Buffer.byteLength(rfc822)}+}\r\n${rfc822}`);
  await command(server.imapPort, [`a1 LOGIN ${user.email} ${user.password}`, `a2 APPEND ${path}${literals.join("")}`, "a3 LOGOUT"], "a2 OK");
  ledger.entries.push(...messages.map(({ rfc822: _, ...delivered }) => ({ ...delivered, email: user.email, isTold: false, at: Date.now() })));
}

let counter = 0;

/**
 * Delivers one new message over LMTP, as patiently as a mail transfer agent: what the server did not acknowledge is sent again. Returns its
 * Message-ID.
 */
export async function deliverNew(server: MailServer, email: string, ledger: Ledger): Promise<string> {
  const messageId = `<new-${counter++}.${email}>`;
  const { rfc822, ...delivered } = compose(ledger.mark, {
    to: email,
    messageId,
    title: `New ${counter}`,
    date: new Date(),
    hasAttachment: counter % 2 === 0,
  });
  const at = await until(() => deliverTo(server.lmtpPort, email, rfc822).then(() => Date.now()), `the mail server to take ${messageId}`, 180_000);
  ledger.entries.push({ ...delivered, email, isTold: true, at });
  return messageId;
}

/** What lies in each folder, asked by a client that knows nothing of Everpost; with digests of the whole sources, where they are wanted. */
export async function listMail(server: MailServer, user: MailUser, withSources = false): Promise<readonly ListedFolder[]> {
  const auth = { user: user.email, pass: user.password };
  const client = new ImapFlow({ host: "127.0.0.1", port: server.imapPort, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  try {
    const listed: ListedFolder[] = [];
    for (const { path } of await client.list()) {
      const status = await client.status(path, { unseen: true });
      const { uidValidity, uidNext, exists } = await client.mailboxOpen(path, { readOnly: true });
      const found = exists === 0 ? [] : await client.fetchAll("1:*", { uid: true, envelope: true, source: withSources });
      const messages = found.map(({ uid, envelope, source }) => {
        const listed = { uid, messageId: envelope?.messageId ?? "" };
        return source === undefined ? listed : { ...listed, source: digest(source) };
      });
      listed.push({ path, uidValidity: String(uidValidity), uidNext, unseen: status === false ? 0 : (status.unseen ?? 0), messages });
    }
    return listed;
  } finally {
    await client.logout();
  }
}

interface Wanted {
  readonly to: string;
  readonly messageId: string;
  readonly title: string;
  readonly date: Date;
  readonly hasAttachment: boolean;
}

function compose(mark: string, { to, messageId, title, date, hasAttachment }: Wanted) {
  const text = `This is ${title}. ${mark}text`;
  const attachment = hasAttachment ? `${title} ${mark}attached` : null;
  const headers = [
    `From: Ann ${mark}name <${mark}sender@sender.test>`,
    `To: <${to}>`,
    `Subject: ${title} ${mark}subject`,
    `Message-ID: ${messageId}`,
    `Date: ${date.toUTCString()}`,
    "MIME-Version: 1.0",
  ];
  const textPart = ["Content-Type: text/plain; charset=utf-8", "", text];
  const filePart = [
    `Content-Type: application/octet-stream; name="${mark}file"`,
    `Content-Disposition: attachment; filename="${mark}file"`,
    "",
    attachment,
  ];
  const body = attachment === null ? textPart : ['Content-Type: multipart/mixed; boundary="b"', "", "--b", ...textPart, "--b", ...filePart, "--b--"];
  const rfc822 = [...headers, ...body, ""].join("\r\n");
  return { messageId, text, attachment: attachment === null ? null : digest(Buffer.from(attachment)), rfc822 };
}

/** SHA-256, by which contents are compared. */
export function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
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
