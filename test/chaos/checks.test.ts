import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { startProxy, type TcpProxy } from "../helpers/tcp-proxy.ts";
import { until } from "../helpers/wait.ts";
import { startReceiver } from "../webhooks/receiver.ts";
import { lateness, orphans, pausesMsMax, untruths } from "./checks.ts";

/** What was delivered when, and a receiver that is told of it when a test says so. */
async function mailAndReceiver(delivered: readonly { readonly messageId: string; readonly at: number; readonly isTold?: boolean }[]) {
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  const entries = delivered.map((one) => ({ isTold: true, ...one, email: "u@example.test", text: "", attachment: null }));
  const tell = async (messageId: string) => {
    const body = JSON.stringify({ type: "message.created", data: { message: { messageId } } });
    await fetch(receiver.url, { method: "POST", body });
  };
  return { receiver, ledger: { mark: "m", entries, of: () => entries }, tell };
}

test("says how many messages were told later than pauses and load explain, and how late the last one was", async () => {
  const now = Date.now();
  const bound = pausesMsMax + 10_000;
  const { receiver, ledger, tell } = await mailAndReceiver([
    { messageId: "<in-time>", at: now - bound + 30_000 },
    { messageId: "<late>", at: now - bound - 30_000 },
    { messageId: "<history>", at: now - 10 * bound, isTold: false },
  ]);
  await tell("<in-time>");
  await tell("<late>");
  const seen = lateness({ ledger, receiver }, now - 2 * bound, 1);
  expect(seen).toMatchObject({ late: 1, boundMs: bound });
  expect(seen.slowestMs).toBeGreaterThanOrEqual(bound + 30_000);
  // What waited while parts were dead is counted from when the last of them was back, and a loaded machine has more time.
  expect(lateness({ ledger, receiver }, now - 60_000, 1)).toMatchObject({ late: 0 });
  expect(lateness({ ledger, receiver }, now - 2 * bound, 6)).toMatchObject({ late: 0, boundMs: bound + 50_000 });
});

test("a message that was told again late was not told late", async () => {
  const { receiver, ledger, tell } = await mailAndReceiver([{ messageId: "<told>", at: Date.now() }]);
  await tell("<told>");
  const first = receiver.received[0];
  if (first === undefined) throw new Error("nothing was received");
  receiver.received.push({ ...first, at: first.at + 10 * pausesMsMax });
  expect(lateness({ ledger, receiver }, 0, 1)).toMatchObject({ late: 0 });
});

test("says which mailbox is shown as live and does not tell what comes", async () => {
  const { receiver, tell } = await mailAndReceiver([]);
  // A watch that nobody holds: the message lies there, and nobody hears of it.
  const deliverAndWait = async (email: string, timeoutMs = 0) => {
    const before = receiver.received.length;
    if (email !== "deaf@example.test") await tell(`<new.${email}>`);
    await until(() => receiver.received.some(({ body }, index) => index >= before && body.includes(email)), "it to be told", timeoutMs);
    return 0;
  };
  const mailboxes = [{ email: "one@example.test" }, { email: "deaf@example.test" }, { email: "two@example.test" }];
  expect(await untruths({ deliverAndWait }, mailboxes, 1_000)).toEqual([
    "deaf@example.test: the API shows it as live, but it does not tell what comes within 1 s",
  ]);
});

test("says how many connections are open that nobody uses, and which stay when everybody has gone", async () => {
  const { way, join, leave } = await mailServer();
  await join(3);
  const patience = { idleMs: 200, stoppedMs: 200 };
  expect(await orphans(way, 3, () => leave(3), patience)).toEqual([]);
  await join(4);
  expect(await orphans(way, 3, () => leave(4), patience)).toEqual(["4 connections to the mail server are open for 3 mailboxes"]);
  await join(3);
  expect(await orphans(way, 3, () => leave(2), patience)).toEqual(["1 connections to the mail server are open after everybody has gone"]);
});

/** Something that listens, the way to it, and clients that come and go. */
async function mailServer(): Promise<{ readonly way: TcpProxy; join(count: number): Promise<void>; leave(count: number): Promise<void> }> {
  const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number };
  const way = await startProxy(port);
  onTestFinished(async () => {
    await way.close();
    server.close();
  });
  const clients: Socket[] = [];
  return {
    way,
    async join(count) {
      for (let n = 0; n < count; n++) clients.push(connect(way.port, "127.0.0.1").on("error", () => {}));
      await until(() => way.open === clients.length, "the clients to be connected");
    },
    async leave(count) {
      for (const client of clients.splice(0, count)) client.destroy();
    },
  };
}
