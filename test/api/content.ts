import { ImapFlow } from "imapflow";
import { openBlobStore } from "../../blobs/index.ts";
import type { MessageId } from "../../domain/ids.ts";
import type { SyncSettings } from "../../domain/sync-settings.ts";
import { type Engine, startEngine, type TestMailbox } from "../activities/engine.ts";
import { dovecot } from "../helpers/dovecot.ts";
import { type Api, startApi } from "./api.ts";

/** The API and the activities on one database, and a customer's key. */
export interface ContentWorld extends AsyncDisposable {
  readonly api: Api;
  readonly engine: Engine;
  readonly key: string;
  /** A mailbox with these messages in its INBOX, synced; their ids in the order given. */
  synced(
    sources: readonly (string | Buffer)[],
    sync?: Partial<SyncSettings>,
  ): Promise<{ readonly mailbox: TestMailbox; readonly ids: readonly MessageId[] }>;
  sync(mailbox: TestMailbox): Promise<void>;
  idOf(mailbox: TestMailbox, uid: number, path?: string): Promise<MessageId>;
}

export async function startContentWorld(env: Readonly<Record<string, string>> = {}): Promise<ContentWorld> {
  const api = await startApi({ env });
  const engine = await startEngine({ databaseUrl: api.config.database.url, blobs: openBlobStore(api.config.blobs) });
  const key = await api.newKey({ customerId: engine.customerId });
  const idOf: ContentWorld["idOf"] = async (mailbox, uid, path = "INBOX") => {
    const row = await engine.db
      .selectFrom("message_locations as l")
      .innerJoin("folders as f", "f.id", "l.folder_id")
      .select("l.message_id")
      .where("l.mailbox_id", "=", mailbox.id)
      .where("f.path", "=", path)
      .where("l.ref", "=", String(uid))
      .executeTakeFirstOrThrow();
    return row.message_id;
  };
  const sync = async (mailbox: TestMailbox) => {
    const ref = { mailboxId: mailbox.id };
    await engine.run((run) => run.openMailbox(ref));
    await engine.run((run) => run.importHistory(ref));
    await engine.run((run) => run.fetchChanges({ ...ref, paths: null, isThorough: false }));
    await engine.run((run) => run.classifyMessages({ ...ref, isSearchComplete: false }));
  };
  return {
    api,
    engine,
    key,
    idOf,
    sync,
    async synced(sources, settings = {}) {
      const mailbox = await engine.addMailbox({ sync: settings });
      const uids = await append(mailbox, "INBOX", sources);
      await sync(mailbox);
      return { mailbox, ids: await Promise.all(uids.map((uid) => idOf(mailbox, uid))) };
    },
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

/** Puts sources as they stand into a folder, and says their UIDs. */
export async function append(mailbox: TestMailbox, path: string, sources: readonly (string | Buffer)[]): Promise<readonly number[]> {
  return withClient(mailbox, async (client) => {
    const uids: number[] = [];
    for (const source of sources) {
      const added = await client.append(path, source);
      if (added === false || added.uid === undefined) throw new Error("the server did not say the UID of what was appended");
      uids.push(added.uid);
    }
    return uids;
  });
}

/** What the server holds, byte by byte. */
export async function sourcesAt(mailbox: TestMailbox, path: string): Promise<ReadonlyMap<number, Buffer>> {
  return withClient(mailbox, async (client) => {
    await client.mailboxOpen(path, { readOnly: true });
    const rows = await client.fetchAll("1:*", { uid: true, source: true }, { uid: true });
    return new Map(rows.map((row) => [row.uid, row.source ?? Buffer.alloc(0)]));
  });
}

export async function withClient<T>(mailbox: TestMailbox, work: (client: ImapFlow) => Promise<T>): Promise<T> {
  const { host, imapPort } = dovecot();
  const client = new ImapFlow({
    host,
    port: imapPort,
    secure: false,
    doSTARTTLS: false,
    auth: { user: mailbox.email, pass: mailbox.password },
    logger: false,
    disableAutoIdle: true,
    maxLiteralSize: 128 * 1024 * 1024,
  });
  client.on("error", () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.logout();
  }
}

export interface Attached {
  readonly headers: readonly string[];
  readonly body: string | Buffer;
}

/** A message with a text and parts as they stand. */
export function withParts(subject: string, parts: readonly Attached[], text = "See the attachment."): Buffer {
  const line = (content: string) => Buffer.from(`${content}\r\n`);
  return Buffer.concat([
    line(`From: Ann <ann@example.test>\r\nTo: Bob <bob@example.test>\r\nSubject: ${subject}\r\nMessage-ID: <${crypto.randomUUID()}@example.test>`),
    line('Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="cut"\r\n'),
    line(`--cut\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n${text}`),
    ...parts.flatMap(({ headers, body }) => [line(`--cut\r\n${headers.join("\r\n")}\r\n`), Buffer.from(body), line("")]),
    line("--cut--"),
  ]);
}

/** A part in base64, in lines as mail has them. */
export function base64Part(contentType: string, disposition: string, content: Buffer): Attached {
  const headers = [`Content-Type: ${contentType}`, `Content-Disposition: ${disposition}`, "Content-Transfer-Encoding: base64"];
  return { headers, body: content.toString("base64").replaceAll(/.{76}/g, "$&\r\n") };
}
