import { ImapFlow } from "imapflow";
import type { MailUser } from "./mail-server.ts";

/** As soon as anybody can hear: a bare ImapFlow client that does nothing but IDLE on one inbox. Calls back with how many messages it holds now. */
export async function startIdleClient(
  port: number,
  { email, password }: MailUser,
  onCount: (count: number, at: number) => void,
): Promise<Disposable> {
  const auth = { user: email, pass: password };
  const client = new ImapFlow({ host: "127.0.0.1", port, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  await client.mailboxOpen("INBOX", { readOnly: true });
  client.on("exists", ({ count }) => onCount(count, performance.now()));
  client.on("error", () => {});
  void client.idle();
  return { [Symbol.dispose]: () => client.close() };
}
