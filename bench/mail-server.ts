import { once } from "node:events";
import { connect } from "node:net";
import type { Address } from "../domain/address.ts";
import { type Correspondence, seeded } from "./mail.ts";

export interface MailUser {
  readonly email: string;
  readonly password: string;
}

export interface MailSizes {
  /** Bytes of the smallest and the largest message; as many between 4 and 8 kB as between 8 and 16 kB. */
  readonly min: number;
  readonly max: number;
  readonly attachmentShare: number;
}

/** Of a mailbox's messages, how many lie where. */
const folders = [
  { path: "INBOX", share: 0.7 },
  { path: "Archive", share: 0.2 },
  { path: "Sent", share: 0.1 },
] as const;

/** Messages of one APPEND (RFC 3502): one round trip, one sync of the disk. */
const appendMax = 250;

/** Fills a user's mailbox. The same seed gives the same mail. */
export async function fillMailServer(
  port: number,
  user: MailUser,
  mail: Correspondence,
  {
    count,
    sizes,
    seed,
    onStored,
  }: { readonly count: number; readonly sizes: MailSizes; readonly seed: number; readonly onStored: (n: number) => void },
): Promise<void> {
  const make = messageMaker(mail, user, sizes, seed);
  const imap = await openImap(port, user);
  try {
    let stored = 0;
    for (const { path, share } of folders) {
      let left = path === "Sent" ? count - stored : Math.round(count * share);
      while (left > 0) {
        const messages = Array.from({ length: Math.min(left, appendMax) }, () => make(path === "Sent"));
        await imap.append(path, messages);
        left -= messages.length;
        stored += messages.length;
        onStored(stored);
      }
    }
  } finally {
    imap.close();
  }
}

/** As little of IMAP as filling takes: LITERAL+ and MULTIAPPEND. */
async function openImap(port: number, user: MailUser) {
  const socket = connect({ host: "127.0.0.1", port }).setEncoding("latin1");
  let said = "";
  let failure: Error | undefined;
  let onData = () => {};
  socket.on("data", (text: string) => {
    said += text;
    onData();
  });
  const fail = (error?: Error) => {
    failure = error ?? new Error(`the mail server hung up: ${said.slice(-300)}`);
    onData();
  };
  socket.on("error", fail).on("close", () => fail());
  let tag = 0;
  async function command(parts: readonly (string | Buffer)[]): Promise<void> {
    const name = `a${tag++}`;
    said = "";
    for (const part of [`${name} `, ...parts, "\r\n"]) if (!socket.write(part)) await once(socket, "drain");
    for (;;) {
      const answer = new RegExp(`^${name} (.*)\r\n`, "m").exec(said);
      if (answer?.[1]?.startsWith("OK")) return;
      if (answer !== null || failure !== undefined) throw failure ?? new Error(`the mail server said: ${answer?.[1]}`);
      await new Promise<void>((resolve) => {
        onData = resolve;
      });
    }
  }
  await command([`LOGIN ${user.email} ${user.password}`]);
  return {
    async append(path: string, messages: readonly Made[]): Promise<void> {
      await command([
        `APPEND ${path}`,
        ...messages.flatMap(({ source, receivedAt }) => [` (\\Seen) "${toImapDate(receivedAt)}" {${source.length}+}\r\n`, source]),
      ]);
    },
    close: () => socket.destroy(),
  };
}

const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

function toImapDate(date: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map(two).join(":");
  return `${two(date.getUTCDate())}-${months[date.getUTCMonth()]}-${date.getUTCFullYear()} ${time} +0000`;
}

interface Made {
  readonly source: Buffer;
  readonly receivedAt: Date;
}

interface Thread {
  readonly subject: string;
  readonly other: Address;
  readonly references: string[];
  left: number;
}

/** Mail as it comes: talk in threads, newsletters, plain text and HTML beside it, files. */
function messageMaker(mail: Correspondence, user: MailUser, sizes: MailSizes, seed: number): (isSent: boolean) => Made {
  const random = seeded(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() ** 2 * list.length)] as T;
  const text = (words: number) => Array.from({ length: words }, () => pick(mail.words)).join(" ");
  const paragraphs = Array.from({ length: 500 }, () => wrapped(text(20 + Math.floor(random() * 80))));
  const file = Buffer.from(Array.from({ length: 60_000 }, () => Math.floor(random() * 256)))
    .toString("base64")
    .replace(/.{76}/g, "$&\r\n");
  const me: Address = { name: "Ann Example", address: user.email };
  let at = Date.UTC(2019, 0, 1);
  let number = 0;
  let threads: Thread[] = [];

  const body = (bytes: number) => {
    let written = "";
    while (written.length < bytes) written += `${pick(paragraphs)}\r\n\r\n`;
    return written.slice(0, Math.max(0, bytes));
  };
  const nextThread = (): Thread => {
    threads = threads.filter(({ left }) => left > 0).slice(-50);
    const open = threads[Math.floor(random() * threads.length)];
    if (open !== undefined && random() < 0.4) return open;
    const begun = { subject: text(3 + Math.floor(random() * 5)), other: pick(mail.people), references: [], left: 1 + Math.floor(random() * 8) };
    threads.push(begun);
    return begun;
  };

  return (isSent) => {
    at += Math.floor(random() * 2 * 3_600_000);
    number += 1;
    const thread = nextThread();
    thread.left -= 1;
    const id = `<${seed}.${number}.${Math.floor(random() * 2 ** 48).toString(16)}@mail.${isSent ? "customer" : thread.other.address.split("@")[1]}>`;
    const [from, to] = isSent ? [me, thread.other] : [thread.other, me];
    const isNewsletter = !isSent && thread.references.length === 0 && random() < 0.3;
    const cc = random() < 0.2 ? [pick(mail.people), pick(mail.people)] : [];
    const date = new Date(at);
    const headers = [
      `Return-Path: <${from.address}>`,
      `Received: from mx.example (mx.example [192.0.2.7])\r\n\tby mail.customer.example with ESMTPS id ${number};\r\n\t${date.toUTCString()}`,
      `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example; s=k1;\r\n\tb=${file.slice(0, 76)}\r\n\t${file.slice(78, 154)}`,
      `From: ${from.name} <${from.address}>`,
      `To: ${to.name} <${to.address}>`,
      ...(cc.length > 0 ? [`Cc: ${cc.map(({ name, address }) => `${name} <${address}>`).join(",\r\n\t")}`] : []),
      `Subject: ${thread.references.length > 0 ? "Re: " : ""}${thread.subject}`,
      `Message-ID: ${id}`,
      ...(thread.references.length > 0 ? [`In-Reply-To: ${thread.references.at(-1)}`, `References: ${thread.references.join("\r\n\t")}`] : []),
      `Date: ${date.toUTCString()}`,
      ...(isNewsletter
        ? [`List-Id: <news.${from.address.split("@")[1]}>`, "List-Unsubscribe: <https://news.example/unsubscribe>", "Precedence: bulk"]
        : []),
      "MIME-Version: 1.0",
    ];
    thread.references.push(id);
    const size = Math.round(sizes.min * (sizes.max / sizes.min) ** random());
    const parts = random() < sizes.attachmentShare ? withFile(text(2), size) : random() < 0.6 ? withHtml(size) : plain(body(size - 900));
    return { source: Buffer.from(`${headers.join("\r\n")}\r\n${parts}`, "latin1"), receivedAt: date };
  };

  function plain(content: string): string {
    return `Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n${content}\r\n`;
  }

  function withHtml(size: number): string {
    const content = body((size - 1_300) / 3);
    const rows = content.split("\r\n\r\n").map((paragraph) => `<tr><td style="padding:4px 8px;font-family:sans-serif">${paragraph}</td></tr>`);
    const html = `<html><head><style>td { color: #222 }</style></head><body><table>\r\n${rows.join("\r\n")}\r\n${body((size - 1_300) / 3)}</table></body></html>`;
    return multipart("alternative", [plain(content), `Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n${html}\r\n`]);
  }

  function withFile(name: string, size: number): string {
    const content = body(Math.min(1_500, size / 4));
    const encoded = file.slice(0, Math.max(78, size - content.length - 1_500));
    const headers = [
      `Content-Type: application/pdf; name="${name}.pdf"`,
      `Content-Disposition: attachment; filename="${name}.pdf"`,
      "Content-Transfer-Encoding: base64",
    ];
    return multipart("mixed", [plain(content), `${headers.join("\r\n")}\r\n\r\n${encoded}\r\n`]);
  }

  function multipart(kind: string, parts: readonly string[]): string {
    const boundary = `=_part_${seed}_${number}`;
    return `Content-Type: multipart/${kind}; boundary="${boundary}"\r\n\r\n${parts.map((part) => `--${boundary}\r\n${part}`).join("")}--${boundary}--\r\n`;
  }
}

function wrapped(text: string): string {
  return text.replace(/(.{1,72})(?: |$)/g, "$1\r\n").trimEnd();
}
