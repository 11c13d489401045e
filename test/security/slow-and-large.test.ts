import { connect, type Socket } from "node:net";
import { brotliCompressSync, constants, deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Api, startApi } from "../api/api.ts";
import { until } from "../helpers/wait.ts";

const patience = { headersMs: 600, requestMs: 1_200 };
let api: Api;
let key: string;
beforeAll(async () => {
  api = await startApi({ patience });
  ({ key } = await api.newCustomer());
  await api.call("GET", "/v1/mailboxes", { key });
});
afterAll(() => api[Symbol.asyncDispose]());

interface Stranger {
  readonly socket: Socket;
  /** All that it was told until now. */
  heard(): string;
  readonly closed: Promise<string>;
}

function stranger(url = api.url): Stranger {
  const socket = connect(Number(new URL(url).port), "127.0.0.1").setEncoding("utf8");
  let heard = "";
  socket.on("error", () => {}).on("data", (text) => (heard += text));
  return { socket, heard: () => heard, closed: new Promise((resolve) => socket.once("close", () => resolve(heard))) };
}

/** Sends the text, and tells all that was answered until the server hung up. */
async function say(text: string): Promise<string> {
  const { socket, closed } = stranger();
  socket.write(text);
  return closed;
}

function expectProblem(answer: string, status: number, code: string) {
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(head.toLowerCase()).toContain("content-type: application/problem+json");
  expect(JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1))).toMatchObject({ status, code, fix: expect.any(String) });
}

/** An ordinary request takes milliseconds; so much is allowed to it beside a crowd, on a machine that does other things. */
const ordinaryMsMax = 5_000;

async function expectService() {
  const started = performance.now();
  expect((await api.call("GET", "/v1/mailboxes", { key })).status).toBe(200);
  expect(performance.now() - started).toBeLessThan(ordinaryMsMax);
}

const post = (more: string) =>
  `POST /v1/access-keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\n${more}\r\n`;

describe("five hundred connections", () => {
  test.each([
    ["whose headers come a byte at a time", () => "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "],
    ["whose body comes a byte at a time", () => post("Content-Length: 100000\r\n")],
    ["whose body comes a chunk at a time", () => post("Transfer-Encoding: chunked\r\n")],
    ["that say nothing", () => ""],
  ])(
    "%s are ended in time, and others are served meanwhile",
    async (_what, begin) => {
      const crowd = Array.from({ length: 500 }, () => stranger());
      const first = begin();
      for (const { socket } of crowd) socket.write(first === "" ? "G" : first);
      const drip = setInterval(() => {
        for (const { socket } of crowd) if (socket.writable) socket.write(first.includes("chunked") ? "1\r\n \r\n" : first === "" ? "" : "x");
      }, 250);
      try {
        await expectService();
        await until(async () => {
          await expectService();
          return crowd.every(({ socket }) => socket.closed);
        }, "all of them to be closed");
      } finally {
        clearInterval(drip);
      }
      for (const { heard } of crowd) expectProblem(heard(), 408, "request_timeout");
    },
    60_000,
  );

  test("more than are allowed are closed as they come, and the others go on", async () => {
    await using small = await startApi({ env: { EVERPOST_API_CONNECTIONS_MAX: "20" } });
    const crowd = Array.from({ length: 100 }, () => stranger(small.url));
    await until(() => crowd.filter(({ socket }) => socket.closed).length === 80, "eighty to be turned away");
    const one = crowd.find(({ socket }) => !socket.closed);
    one?.socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(await one?.closed).toMatch(/^HTTP\/1\.1 200 /);
    for (const { socket } of crowd) socket.destroy();
    await until(async () => (await small.call("GET", "/healthz").catch(() => undefined))?.status === 200, "places to be free again");
  });
});

describe("a request", () => {
  const head = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
  test.each([
    ["with a URL of 100 kB", `GET /healthz?x=${"x".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431, "headers_too_large"],
    ["with a header of 100 kB", `${head}X-Flood: ${"x".repeat(100_000)}\r\n\r\n`, 431, "headers_too_large"],
    ["with a thousand headers", `${head}${"a: b\r\n".repeat(1_000)}\r\n`, 431, "headers_too_large"],
    ["with a hundred thousand headers", `${head}${"a: b\r\n".repeat(100_000)}\r\n`, 431, "headers_too_large"],
    ["without a host", "GET /healthz HTTP/1.1\r\n\r\n", 400, ""],
    ["that is no HTTP", "\u0016\u0003\u0001 hello\r\n\r\n", 400, "malformed_request"],
    ["of a version that never was", "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", 400, "malformed_request"],
    ["with two lengths", `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400, "malformed_request"],
    ["with a length and chunks", `${head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400, "malformed_request"],
    ["with an encoding of transfer nobody knows", `${head}Transfer-Encoding: chunked, gzip\r\n\r\n`, 400, "malformed_request"],
    ["with a header that folds", `${head}X-A: b\r\n c: d\r\n\r\n`, 400, "malformed_request"],
    ["with a line end in a header's name", `${head}X\nA: b\r\n\r\n`, 400, "malformed_request"],
    ["with a chunk of a terabyte", `${head}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n`, 400, "malformed_request"],
  ])("%s is refused, and the connection ends", async (_what, text, status, code) => {
    const answer = await say(text);
    if (code === "") expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    else expectProblem(answer, status, code);
    await expectService();
  });

  test("of multipart is refused before it is read", async () => {
    const body = new FormData();
    body.set("file", new Blob([new Uint8Array(5_000_000)]));
    const response = await fetch(`${api.url}/v1/access-keys`, { method: "POST", headers: { Authorization: `Bearer ${key}` }, body });
    expect(response.status).toBe(415);
  });

  test("sent a thousand times on one connection without waiting is answered 32 times", async () => {
    const one = `GET /v1/mailboxes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n\r\n`;
    const pipelined = say(one.repeat(1_000));
    await expectService();
    const statuses = [...(await pipelined).matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status);
    expect(statuses).toEqual([...Array(32).fill("200"), "429"]);
  });
});

describe("a body", () => {
  const send = (headers: Record<string, string>, body: Uint8Array<ArrayBuffer>) =>
    fetch(`${api.url}/v1/access-keys`, {
      method: "POST",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", ...headers },
      body,
    });

  test("that says it is a gigabyte is refused unread", async () => {
    const answer = await say(`${post("Content-Length: 1000000000\r\n")}{`);
    expectProblem(answer, 413, "payload_too_large");
  });

  test("that never ends and says no length is refused at a megabyte", async () => {
    const { socket, closed } = stranger();
    socket.write(post("Transfer-Encoding: chunked\r\n"));
    const chunk = `10000\r\n${" ".repeat(65_536)}\r\n`;
    let sent = 0;
    const pour = () => {
      while (socket.writable && socket.write(chunk)) sent += 65_536;
    };
    socket.on("drain", pour);
    pour();
    expectProblem(await closed, 413, "payload_too_large");
    // What the kernel took besides.
    expect(sent).toBeLessThan(50_000_000);
  });

  test.each([
    ["gzip", gzipSync],
    ["br", (bytes: Buffer) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } })],
    ["deflate", deflateSync],
  ])(
    "compressed by %s that unpacks to 200 MB is refused as it passes the megabyte",
    async (encoding, compress) => {
      const bomb = new Uint8Array(compress(Buffer.alloc(200_000_000, " ")));
      expect(bomb.length).toBeLessThan(1_000_000);
      const before = process.memoryUsage.rss();
      const answers = await Promise.all(Array.from({ length: 20 }, () => send({ "Content-Encoding": encoding }, bomb)));
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(413));
      expect(process.memoryUsage.rss() - before).toBeLessThan(300_000_000);
      await expectService();
    },
    60_000,
  );

  test("compressed twice is refused", async () => {
    const twice = new Uint8Array(gzipSync(gzipSync(Buffer.alloc(1_000_000, " "))));
    expect((await send({ "Content-Encoding": "gzip, gzip" }, twice)).status).toBe(415);
  });

  test.each([
    ["a hundred thousand members", `{${Array.from({ length: 70_000 }, (_, n) => `"m${n}":1`).join(",")}}`],
    ["a hundred thousand items", `[${Array(300_000).fill("1").join(",")}]`],
    ["one name of a megabyte", `{"${"x".repeat(900_000)}":1}`],
    ["a number of a megabyte", `{"name":${"9".repeat(900_000)}}`],
  ])("of %s is refused at once, in few words", async (_what, text) => {
    const started = performance.now();
    const response = await send({}, new TextEncoder().encode(text));
    expect(response.status).toBe(400);
    expect((await response.text()).length).toBeLessThan(20_000);
    expect(performance.now() - started).toBeLessThan(ordinaryMsMax);
  });

  test("with a thousand ids is taken where a thousand may be, and refused with one more", async () => {
    const ids = (count: number) => Array.from({ length: count }, (_, n) => `mbx_${String(n).padStart(22, "1").replaceAll("0", "z")}`);
    const wanted = (count: number) => ({ url: "https://example.com/x", mailboxIds: ids(count) });
    const many = await api.call("POST", "/v1/webhook-endpoints", { key, body: wanted(1_000) });
    expect([many.status, many.body.detail]).not.toEqual([400, expect.stringContaining("too_big")]);
    expect((await api.call("POST", "/v1/webhook-endpoints", { key, body: wanted(1_001) })).body.errors[0].pointer).toBe("#/mailboxIds");
  });
});
