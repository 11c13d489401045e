import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { createHostResolver } from "../../network/resolve-host.ts";
import { createDeliverer, type Deliverer, type DelivererOptions } from "../../webhooks/deliver.ts";
import { newSigningSecret } from "../../webhooks/sign.ts";
import { until } from "../helpers/wait.ts";
import { hang, isSignedBy, type Receiver, selfSigned, startReceiver } from "./receiver.ts";

const loopback = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] });
const secret = newSigningSecret();
const body = JSON.stringify({ id: "evt_1", data: { subject: "Grüße 📬" } });
const open: Deliverer[] = [];

function deliverer(options: Partial<DelivererOptions> = {}): Deliverer {
  const made = createDeliverer({ resolveHost: loopback, timeoutMs: 5_000, ...options });
  open.push(made);
  return made;
}

/** A resolver that answers loopback for any name, and counts how often it is asked. */
function namesAtLoopback() {
  const asked: string[] = [];
  const resolveHost = async (host: string) => {
    asked.push(host);
    return { address: "127.0.0.1", family: 4 as const };
  };
  return { asked, resolveHost };
}

const post = (receiver: Pick<Receiver, "url">, secrets = [secret]) => ({ url: receiver.url, id: "evt_1", body, secrets });

afterEach(async () => {
  await Promise.all(open.splice(0).map((made) => made.close()));
});

describe("createDeliverer", () => {
  it("posts the body signed, so that an independent verifier accepts it and refuses it once changed", async () => {
    await using receiver = await startReceiver();
    expect(await deliverer().deliver(post(receiver))).toMatchObject({ kind: "delivered", status: 204, error: null });
    const [got] = receiver.received;
    if (got === undefined) throw new Error("nothing arrived");
    expect(got.body).toBe(body);
    expect(got.headers).toMatchObject({
      "webhook-id": "evt_1",
      "content-type": "application/json; charset=utf-8",
      host: `127.0.0.1:${receiver.port}`,
    });
    expect(isSignedBy(secret, got)).toBe(true);
    expect(isSignedBy(newSigningSecret(), got)).toBe(false);
    expect(isSignedBy(secret, { ...got, body: `${got.body} ` })).toBe(false);
  });

  it("is verified with the old and with the new secret while they are rotated", async () => {
    await using receiver = await startReceiver();
    const fresh = newSigningSecret();
    await deliverer().deliver(post(receiver, [fresh, secret]));
    expect(receiver.received.map((got) => [isSignedBy(secret, got), isSignedBy(fresh, got)])).toEqual([[true, true]]);
  });

  it("uses connections again for deliveries one after another", async () => {
    await using receiver = await startReceiver((_got, response) => void response.writeHead(200).end("thanks"));
    const { deliver } = deliverer();
    for (let i = 0; i < 10; i++) await deliver(post(receiver));
    expect(receiver.received).toHaveLength(10);
    // Two and not one: undici opens a second when a request comes in the tick in which the last answer ends.
    expect(receiver.connections()).toBeLessThanOrEqual(2);
  });

  it.each([
    [200, "delivered", null],
    [299, "delivered", null],
    [410, "gone", "the endpoint answered 410 Gone"],
    [400, "retry", "answered 400"],
    [404, "retry", "answered 404"],
    [500, "retry", "answered 500"],
  ])("takes %i for %s", async (status, kind, error) => {
    await using receiver = await startReceiver((_got, response) => void response.writeHead(status).end());
    expect(await deliverer().deliver(post(receiver))).toMatchObject({ kind, status, error });
  });

  it.each([
    ["7", 7_000, 7_000],
    [() => new Date(Date.now() + 60_000).toUTCString(), 55_000, 60_000],
  ])("reads Retry-After in seconds and as a date", async (header, min, max) => {
    const text = typeof header === "string" ? header : header();
    await using receiver = await startReceiver((_got, response) => void response.writeHead(503, { "retry-after": text }).end());
    const outcome = await deliverer().deliver(post(receiver));
    if (outcome.kind !== "retry" || outcome.retryAfterMs === undefined) throw new Error(`no Retry-After in ${JSON.stringify(outcome)}`);
    expect(outcome.retryAfterMs).toBeGreaterThanOrEqual(min);
    expect(outcome.retryAfterMs).toBeLessThanOrEqual(max);
  });

  it.each(["soon", "-5", "0", "", "99999999999999999999"])("does as if Retry-After %j were not there", async (header) => {
    await using receiver = await startReceiver((_got, response) => void response.writeHead(503, { "retry-after": header }).end());
    expect(await deliverer().deliver(post(receiver))).toMatchObject({ kind: "retry", retryAfterMs: undefined });
  });

  it.each([301, 302, 307, 308])("does not follow a %i", async (status) => {
    await using inside = await startReceiver();
    await using receiver = await startReceiver((_got, response) => void response.writeHead(status, { location: inside.url }).end());
    const outcome = await deliverer().deliver(post(receiver));
    expect(outcome).toMatchObject({ kind: "retry", status, error: `answered ${status}; redirects are not followed` });
    expect(inside.received).toHaveLength(0);
  });

  it("gives up an endpoint that never answers, after its timeout", async () => {
    await using receiver = await startReceiver((_got, response) => hang(response));
    const outcome = await deliverer({ timeoutMs: 200 }).deliver(post(receiver));
    expect(outcome).toMatchObject({ kind: "retry", status: null, error: "no answer within 0.2 s" });
    expect(outcome.durationMs).toBeLessThan(2_000);
  });

  it("is done when the status is there, however long the body goes on", async () => {
    await using receiver = await startReceiver((_got, response) => {
      response.writeHead(200);
      response.write("x".repeat(100_000));
      hang(response);
    });
    const started = Date.now();
    expect(await deliverer().deliver(post(receiver))).toMatchObject({ kind: "delivered", status: 200 });
    expect(Date.now() - started).toBeLessThan(4_000);
  });

  it("tells a closed port and a connection that breaks off", async () => {
    const gone = await startReceiver();
    await gone.close();
    expect(await deliverer().deliver(post(gone))).toMatchObject({ kind: "retry", error: "the connection was refused" });
    await using receiver = await startReceiver((_got, response) => void response.destroy());
    expect(await deliverer().deliver(post(receiver))).toMatchObject({ kind: "retry", status: null, error: "the connection was closed" });
  });

  it("refuses a private address without connecting [row 108]", async () => {
    await using receiver = await startReceiver();
    const closed = deliverer({ resolveHost: createHostResolver({ allowPrivateNetworks: [] }) });
    for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]) {
      expect(await closed.deliver(post({ url: `http://${host}:${receiver.port}/` }))).toMatchObject({ kind: "refused", status: null });
    }
    expect(receiver.connections()).toBe(0);
  });

  it("connects to the address that was judged although the name answers differently the next time [row 108]", async () => {
    await using receiver = await startReceiver();
    const answers = [["127.0.0.1"], ["10.0.0.1"]];
    const asked: string[] = [];
    const resolveHost = createHostResolver({
      allowPrivateNetworks: ["127.0.0.0/8"],
      lookup: async (host) => {
        asked.push(host);
        return answers[asked.length - 1] ?? [];
      },
    });
    const url = `http://rebinding.example:${receiver.port}/`;
    expect(await deliverer({ resolveHost }).deliver(post({ url }))).toMatchObject({ kind: "delivered" });
    expect(asked).toEqual(["rebinding.example"]);
    expect(receiver.received[0]?.headers.host).toBe(`rebinding.example:${receiver.port}`);
    expect(await deliverer({ resolveHost }).deliver(post({ url }))).toMatchObject({ kind: "refused" });
    expect(receiver.connections()).toBe(1);
  });

  it("speaks TLS with the URL's name, and checks the certificate against it", async () => {
    const certificate = selfSigned("hooks.example");
    await using receiver = await startReceiver(() => {}, certificate);
    const { resolveHost } = namesAtLoopback();
    const trusting = deliverer({ resolveHost, ca: certificate.cert });
    expect(await trusting.deliver(post({ url: `https://hooks.example:${receiver.port}/a?b=c` }))).toMatchObject({ kind: "delivered" });
    expect(receiver.received[0]).toMatchObject({ servername: "hooks.example", path: "/a?b=c" });
    expect(await trusting.deliver(post({ url: `https://other.example:${receiver.port}/` }))).toMatchObject({
      kind: "retry",
      error: "the certificate is for another host",
    });
    expect(await deliverer({ resolveHost }).deliver(post({ url: `https://hooks.example:${receiver.port}/` }))).toMatchObject({
      kind: "retry",
      error: "the certificate is not trusted (self-signed)",
    });
    expect(receiver.received).toHaveLength(1);
  });

  it("rejects when its caller gives up, and only then", async () => {
    await using receiver = await startReceiver((_got, response) => hang(response));
    const stop = new AbortController();
    const delivering = deliverer().deliver({ ...post(receiver), signal: stop.signal });
    stop.abort(new Error("shutting down"));
    await expect(delivering).rejects.toThrow("shutting down");
  });

  it("says that a name does not exist", async () => {
    expect(await deliverer().deliver(post({ url: "https://no-such-host.invalid/" }))).toMatchObject({
      kind: "retry",
      error: "the host name was not found",
    });
  });
});

describe("a receiver that means harm", () => {
  /** Says what it likes on a bare socket as soon as it is asked. */
  async function bareReceiver(answer: (socket: Socket) => unknown) {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket.on("error", () => {}));
      socket.on("close", () => sockets.delete(socket)).resume();
      answer(socket);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return {
      port: (server.address() as AddressInfo).port,
      connections: (): number => sockets.size,
      async [Symbol.asyncDispose]() {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  const drip = (text: string, everyMs: number) => (socket: Socket) => {
    let at = 0;
    const timer = setInterval(() => socket.write(text[at++ % text.length] ?? ""), everyMs);
    socket.on("close", () => clearInterval(timer));
  };
  const pour = (head: string, again: string) => (socket: Socket) => {
    socket.write(head);
    const more = () => {
      while (!socket.destroyed && socket.write(again));
    };
    socket.on("drain", more);
    more();
  };
  const ok = "HTTP/1.1 200 OK\r\n";

  const slowBody = (socket: Socket) => {
    socket.write(`${ok}Content-Length: 9999\r\n\r\n`);
    drip("x", 20)(socket);
  };
  const bomb = gzipSync(Buffer.alloc(50_000_000));

  it.each<readonly [string, (socket: Socket) => unknown, string, string]>([
    ["closes at once", (socket: Socket) => void socket.resetAndDestroy(), "retry", "http"],
    ["never speaks", () => {}, "retry", "http"],
    ["never ends its TLS", () => {}, "retry", "https"],
    ["speaks something else where TLS is", (socket: Socket) => void socket.write("220 ready\r\n"), "retry", "https"],
    ["speaks something else", (socket: Socket) => void socket.write("* OK IMAP4rev1 ready\r\n"), "retry", "http"],
    ["answers a byte at a time", drip(`${ok}X-A: ${"a".repeat(10_000)}`, 20), "retry", "http"],
    ["has a header of 100 kB", (socket: Socket) => void socket.write(`${ok}X-A: ${"a".repeat(100_000)}\r\n\r\n`), "retry", "http"],
    ["never ends its headers", pour(ok, "X-A: b\r\n".repeat(1_000)), "retry", "http"],
    ["never ends to say that one should go on", pour("", "HTTP/1.1 102 Processing\r\n\r\n".repeat(100)), "retry", "http"],
    ["never ends its body", pour(`${ok}\r\n`, "x".repeat(65_536)), "delivered", "http"],
    ["never ends its chunks", pour(`${ok}Transfer-Encoding: chunked\r\n\r\n`, `8000\r\n${"x".repeat(32_768)}\r\n`), "delivered", "http"],
    ["sends a body a byte at a time", slowBody, "delivered", "http"],
    [
      "sends a bomb",
      (socket: Socket) =>
        void socket.write(Buffer.concat([Buffer.from(`${ok}Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`), bomb])),
      "delivered",
      "http",
    ],
    ["says it has a terabyte", (socket: Socket) => void socket.write(`${ok}Content-Length: 1099511627776\r\n\r\nx`), "delivered", "http"],
  ])("%s: it is over in time, in little memory, and told in our own words", async (_what, answer, kind, scheme) => {
    await using receiver = await bareReceiver(answer);
    const before = process.memoryUsage.rss();
    const startedAt = performance.now();
    const outcome = await deliverer({ timeoutMs: 1_500 }).deliver(post({ url: `${scheme}://127.0.0.1:${receiver.port}/` }));
    expect(outcome).toMatchObject({ kind });
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(process.memoryUsage.rss() - before).toBeLessThan(150_000_000);
    expect(outcome.error ?? "").toMatch(
      /^(|the connection (was closed|failed \([A-Z_0-9]+\))|the answer is not HTTP|the answer's headers are too large|no answer (in time|within 1\.5 s))$/,
    );
    await until(() => receiver.connections() === 0, "the connection to be given up");
  });
});
