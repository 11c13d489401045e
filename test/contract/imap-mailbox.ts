import { randomUUID } from "node:crypto";
import { ImapFlow } from "imapflow";
import { imap } from "../../providers/imap/index.ts";
import type { MailProvider } from "../../providers/provider.ts";
import { startProxy } from "../helpers/tcp-proxy.ts";
import type { TestMailbox, TestMessage } from "./mail-provider.contract.ts";

/** The server as if it lacked these capabilities: what it says of itself is changed on the way. */
export function withoutCapabilities(names: readonly string[]): (bytes: Buffer) => Buffer {
  const pattern = new RegExp(` (${names.join("|")})(?=[ \\]\r])`, "g");
  return (bytes) => {
    const text = bytes.toString("latin1");
    return text.includes("CAPABILITY") ? Buffer.from(text.replace(pattern, ""), "latin1") : bytes;
  };
}

export interface ImapAccount {
  readonly port: number;
  readonly email: string;
  readonly password: string;
  readonly fromServer?: (bytes: Buffer) => Buffer;
}

/** An account at a real IMAP server on this machine, with a second client for what "somebody else" does there. */
export async function openImapMailbox({ port, email, password, fromServer }: ImapAccount): Promise<TestMailbox> {
  const proxy = await startProxy(port, fromServer === undefined ? {} : { fromServer });
  const opened: MailProvider[] = [];
  const hand = new ImapFlow({
    host: "127.0.0.1",
    port,
    secure: false,
    doSTARTTLS: false,
    auth: { user: email, pass: password },
    logger: false,
    disableAutoIdle: true,
  });
  hand.on("error", () => {});
  await hand.connect();
  const inFolder = async (path: string) => {
    if (hand.mailbox === false || hand.mailbox.path !== path) await hand.mailboxOpen(path);
    else await hand.noop();
  };
  const append = async (path: string, message: TestMessage) => {
    const added = await hand.append(path, toSource(message), message.flags?.map(toImapFlag));
    if (added === false || added.uid === undefined) throw new Error("the server did not say the UID of what was appended");
    return String(added.uid);
  };
  return {
    append,
    open(options = {}) {
      const { settings, credentials } = imap.split(
        { password: options.password ?? password, imap: { host: "127.0.0.1", port: proxy.port, security: "none", allowInsecure: true } },
        email,
      );
      const provider = imap.open(settings, credentials, { resolveHost: async (host) => ({ address: host, family: 4 }), roleOverrides: {} });
      opened.push(provider);
      return provider;
    },
    async appendMany(path, messages) {
      for (const message of messages) await append(path, message);
    },
    async setFlags(path, ref, flags) {
      await inFolder(path);
      await hand.messageFlagsSet(ref, flags.map(toImapFlag), { uid: true });
    },
    async expunge(path, refs) {
      await inFolder(path);
      await hand.messageDelete(refs.toSorted((a, b) => Number(a) - Number(b)).join(","), { uid: true });
    },
    async createFolder(path) {
      await hand.mailboxCreate(path);
    },
    async deleteFolder(path) {
      // No server deletes a folder under a session that has it selected without a fuss.
      if (hand.mailbox !== false && hand.mailbox.path === path) await hand.mailboxOpen("INBOX");
      await hand.mailboxDelete(path);
    },
    disappear: () => proxy.close(),
    async close() {
      await Promise.all(opened.map((provider) => provider.close()));
      hand.close();
      await proxy.close();
    },
  };
}

function toImapFlag(flag: string): string {
  return `\\${flag.charAt(0).toUpperCase()}${flag.slice(1)}`;
}

function toSource({ subject = "", messageId = `<${randomUUID()}@example.test>`, text = "hello", attachment }: TestMessage): Buffer {
  const plain = ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", text, ""];
  const lines = [
    "From: Ann <ann@example.test>",
    "To: Bob <bob@example.test>",
    `Subject: ${subject}`,
    ...(messageId === null ? [] : [`Message-ID: ${messageId}`]),
    "Date: Fri, 20 Nov 2026 10:00:00 +0000",
    "MIME-Version: 1.0",
    ...(attachment === undefined
      ? plain
      : ['Content-Type: multipart/mixed; boundary="cut"', "", "--cut", ...plain, ...attached(attachment), "--cut--", ""]),
  ];
  return Buffer.from(lines.join("\r\n"));
}

function attached({ fileName, content }: NonNullable<TestMessage["attachment"]>): readonly string[] {
  return [
    "--cut",
    "Content-Type: application/octet-stream",
    `Content-Disposition: attachment; filename="${fileName}"`,
    "Content-Transfer-Encoding: base64",
    "",
    content.toString("base64").replaceAll(/.{76}/g, "$&\r\n"),
  ];
}
