import { fork } from "node:child_process";
import { type FetchMessageObject, ImapFlow } from "imapflow";
import type { MailUser } from "./mail-server.ts";

/**
 * The obvious program that posts new mail to a URL: a connection a mailbox that idles; on `exists` it fetches what is new and posts each message. It
 * stores, signs, orders and tries again nothing. A process of its own, so that its costs are its own.
 */
export interface BarePush extends Disposable {
  readonly pid: number;
}

/** Resolves when every mailbox is listened to. */
export async function startBarePush(imapPort: number, url: string, users: readonly MailUser[]): Promise<BarePush> {
  const child = fork(import.meta.filename, { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
  const ready = new Promise<void>((resolve, reject) => {
    child.once("message", () => resolve());
    child.once("exit", (code) => reject(new Error(`the bare loop ended with ${code}`)));
  });
  child.send({ imapPort, url, users } satisfies Task);
  await ready;
  return { pid: child.pid ?? -1, [Symbol.dispose]: () => child.kill() };
}

interface Task {
  readonly imapPort: number;
  readonly url: string;
  readonly users: readonly MailUser[];
}

const loginsAtOnce = 10;
/** What a line of preview is made of. */
const textBytes = 4_096;

async function listenToAll({ imapPort, url, users }: Task): Promise<void> {
  const waiting = [...users];
  const loop = async () => {
    for (let user = waiting.shift(); user !== undefined; user = waiting.shift()) await listen(imapPort, url, user);
  };
  await Promise.all(Array.from({ length: loginsAtOnce }, loop));
  process.send?.("ready");
}

async function listen(port: number, url: string, { email, password }: MailUser): Promise<void> {
  const auth = { user: email, pass: password };
  const client = new ImapFlow({ host: "127.0.0.1", port, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  const inbox = await client.mailboxOpen("INBOX", { readOnly: true });
  let { uidNext } = inbox;
  let hasNews = false;
  let isReading = false;

  async function readNews(): Promise<void> {
    if (isReading) return;
    isReading = true;
    while (hasNews) {
      hasNews = false;
      const query = { uid: true, flags: true, envelope: true, internalDate: true, size: true, bodyStructure: true };
      const text = { key: "1", start: 0, maxLength: textBytes };
      // `n:*` names the last message even where none is that high (RFC 9051 §9, seq-range).
      const fetched = await client.fetchAll(`${uidNext}:*`, { ...query, bodyParts: [text] }, { uid: true });
      const fresh = fetched.filter(({ uid }) => uid >= uidNext);
      uidNext = Math.max(uidNext, ...fresh.map(({ uid }) => uid + 1));
      for (const message of fresh) void post(url, email, message);
    }
    isReading = false;
    await client.idle();
  }

  client.on("exists", () => {
    hasNews = true;
    readNews().catch(giveUp);
  });
  client.on("error", giveUp);
  client.idle().catch(giveUp);
}

/** Nobody else sees to what this one loses: it is counted as lost. */
function giveUp(error: Error): void {
  console.error(`the bare loop lost something: ${error.message}`);
}

async function post(url: string, mailbox: string, message: FetchMessageObject): Promise<void> {
  const { uid, envelope, size, bodyStructure } = message;
  const told = {
    ...{ mailbox, uid, ...envelope, sizeBytes: size, structure: bodyStructure },
    flags: [...(message.flags ?? [])],
    receivedAt: message.internalDate,
    text: message.bodyParts?.get("1")?.toString("utf8"),
  };
  const body = JSON.stringify({ type: "message.created", data: { message: told } });
  await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body }).catch(giveUp);
}

if (process.argv[1] === import.meta.filename) {
  process.once("disconnect", () => process.exit(0));
  process.once("message", (task) => void listenToAll(task as Task));
}
