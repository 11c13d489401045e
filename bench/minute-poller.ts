import { fork } from "node:child_process";
import { ImapFlow } from "imapflow";
import { numberOf } from "./delivery.ts";
import type { MailUser } from "./mail-server.ts";

/**
 * The script that a cron would start every minute: ImapFlow logs in to one mailbox after the other, ten at a time, and fetches what came since. A
 * process of its own, so that its costs are its own.
 */
export interface MinutePoller extends Disposable {
  readonly pid: number;
  /** Message by message, when the script had it, on this process's clock. */
  readonly seen: ReadonlyMap<number, number>;
  /** How often it has asked every mailbox. */
  rounds(): number;
}

type Said = { readonly round: number } | { readonly number: number; readonly atMs: number };

const mailboxesAtOnce = 10;

export async function startMinutePoller(imapPort: number, users: readonly MailUser[]): Promise<MinutePoller> {
  const child = fork(import.meta.filename, { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
  const seen = new Map<number, number>();
  let rounds = 0;
  const first = new Promise<void>((resolve, reject) => {
    child.on("message", (said: Said) => {
      if ("round" in said) {
        rounds = said.round;
        resolve();
      } else seen.set(said.number, said.atMs - performance.timeOrigin);
    });
    child.on("exit", (code) => reject(new Error(`the polling script ended with ${code}`)));
  });
  child.send({ imapPort, users });
  // The first round learns where each mailbox stands.
  await first;
  return { pid: child.pid ?? -1, seen, rounds: () => rounds, [Symbol.dispose]: () => child.kill() };
}

interface Task {
  readonly imapPort: number;
  readonly users: readonly MailUser[];
}

async function pollForever({ imapPort, users }: Task): Promise<never> {
  const uidNexts = new Map<string, number>();
  for (let round = 1; ; round += 1) {
    const begun = performance.now();
    const waiting = [...users];
    const loop = async () => {
      for (let user = waiting.shift(); user !== undefined; user = waiting.shift()) await poll(imapPort, user, uidNexts);
    };
    await Promise.all(Array.from({ length: mailboxesAtOnce }, loop));
    process.send?.({ round } satisfies Said);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 60_000 - (performance.now() - begun))));
  }
}

async function poll(port: number, { email, password }: MailUser, uidNexts: Map<string, number>): Promise<void> {
  const auth = { user: email, pass: password };
  const client = new ImapFlow({ host: "127.0.0.1", port, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  const { uidNext } = await client.mailboxOpen("INBOX", { readOnly: true });
  const known = uidNexts.get(email) ?? uidNext;
  if (uidNext > known) {
    const fetched = await client.fetchAll(`${known}:${uidNext - 1}`, { uid: true, envelope: true }, { uid: true });
    const atMs = performance.timeOrigin + performance.now();
    for (const { envelope } of fetched) process.send?.({ number: numberOf(envelope?.subject ?? ""), atMs } satisfies Said);
  }
  uidNexts.set(email, uidNext);
  await client.logout();
}

if (process.argv[1] === import.meta.filename) {
  process.once("disconnect", () => process.exit(0));
  process.once("message", (task) => void pollForever(task as Task));
}
