import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface MailProxyOptions {
  readonly type: "socks5" | "socks4" | "http";
  /** What is asked for; nothing if left out. SOCKS4 knows no password. */
  readonly username?: string;
  readonly password?: string;
  /** The reply in place of a connection: SOCKS's code, HTTP's status. */
  readonly refuseWith?: number;
}

/** A proxy on this machine that connects to whatever it is asked to, and remembers what that was. */
export interface MailProxy {
  readonly type: MailProxyOptions["type"];
  readonly port: number;
  /** `address:port` of every connection that was asked for, names included. */
  readonly targets: readonly string[];
  /** Tunnels that are open now. */
  readonly open: number;
  close(): Promise<void>;
}

/** SOCKS5 (RFC 1928, RFC 1929), SOCKS4 and HTTP CONNECT, written after the documents and not after the client that it tests. */
export async function startMailProxy(options: MailProxyOptions): Promise<MailProxy> {
  const sockets = new Set<Socket>();
  const targets: string[] = [];
  let open = 0;
  const server = createServer((client) => {
    sockets.add(client);
    client.on("error", () => {}).on("close", () => sockets.delete(client));
    void greet[options.type](inbound(client), options, {
      ask: (host, port) => {
        targets.push(`${host}:${port}`);
        return options.refuseWith;
      },
      async tunnel(host, port, granted) {
        const upstream = connect(port, host);
        sockets.add(upstream);
        upstream.on("error", () => client.destroy()).on("close", () => sockets.delete(upstream));
        await once(upstream, "connect");
        open += 1;
        client.once("close", () => {
          open -= 1;
          upstream.destroy();
        });
        upstream.once("close", () => client.destroy());
        client.write(granted);
        client.pipe(upstream).pipe(client);
      },
    }).catch(() => client.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    type: options.type,
    port: (server.address() as AddressInfo).port,
    targets,
    get open() {
      return open;
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

interface Inbound {
  readonly socket: Socket;
  take(count: number): Promise<Buffer>;
  takeUntil(end: string): Promise<Buffer>;
}

function inbound(socket: Socket): Inbound {
  let held = Buffer.alloc(0);
  const lookFor = async (lengthOf: () => number) => {
    while (lengthOf() < 0) {
      await once(socket, "readable");
      held = Buffer.concat([held, socket.read() ?? Buffer.alloc(0)]);
    }
    const length = lengthOf();
    const taken = held.subarray(0, length);
    held = held.subarray(length);
    return taken;
  };
  return {
    socket,
    take: (count) => lookFor(() => (held.length >= count ? count : -1)),
    takeUntil: (end) =>
      lookFor(() => {
        const at = held.indexOf(end);
        return at < 0 ? -1 : at + end.length;
      }),
  };
}

interface Steps {
  ask(host: string, port: number): number | undefined;
  tunnel(host: string, port: number, granted: Buffer): Promise<void>;
}

type Greet = (client: Inbound, options: MailProxyOptions, steps: Steps) => Promise<void>;

const greet: Readonly<Record<MailProxyOptions["type"], Greet>> = {
  async socks5(client, { username, password }, { ask, tunnel }) {
    const [version, count = 0] = await client.take(2);
    if (version !== 5) throw new Error("not SOCKS5");
    const methods = [...(await client.take(count))];
    const method = username === undefined ? 0 : 2;
    if (!methods.includes(method)) {
      client.socket.end(Buffer.from([5, 0xff]));
      return;
    }
    client.socket.write(Buffer.from([5, method]));
    if (method === 2) {
      const [, nameLength = 0] = await client.take(2);
      const name = (await client.take(nameLength)).toString();
      const [wordLength = 0] = await client.take(1);
      const word = (await client.take(wordLength)).toString();
      if (name !== username || word !== password) {
        client.socket.end(Buffer.from([1, 1]));
        return;
      }
      client.socket.write(Buffer.from([1, 0]));
    }
    const [, , , type] = await client.take(4);
    const bytes = await client.take(type === 1 ? 4 : type === 4 ? 16 : ((await client.take(1))[0] ?? 0));
    const host = type === 1 ? bytes.join(".") : type === 4 ? (bytes.toString("hex").match(/.{4}/g) ?? []).join(":") : bytes.toString();
    const port = (await client.take(2)).readUInt16BE();
    const refused = ask(host, port);
    const reply = (code: number) => Buffer.from([5, code, 0, 1, 127, 0, 0, 1, 0, 9]);
    if (refused !== undefined) client.socket.end(reply(refused));
    else await tunnel(host, port, reply(0));
  },

  async socks4(client, { username }, { ask, tunnel }) {
    const head = await client.take(8);
    const name = (await client.takeUntil("\0")).subarray(0, -1).toString();
    const [host, port] = [head.subarray(4).join("."), head.readUInt16BE(2)];
    const refused = username !== undefined && name !== username ? 93 : ask(host, port);
    const reply = (code: number) => Buffer.from([0, code, 0, 0, 0, 0, 0, 0]);
    if (head[0] !== 4 || refused !== undefined) client.socket.end(reply(refused ?? 91));
    else await tunnel(host, port, reply(90));
  },

  async http(client, { username, password }, { ask, tunnel }) {
    const head = (await client.takeUntil("\r\n\r\n")).toString();
    const [, host = "", port = ""] = /^CONNECT \[?(.*?)\]?:(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    const wanted = Buffer.from(`${username}:${password}`).toString("base64");
    const isIn = username === undefined || head.includes(`\r\nProxy-Authorization: Basic ${wanted}\r\n`);
    const refused = isIn ? ask(host, Number(port)) : 407;
    // Proxies tell the request back in their error pages, and with it what was in its headers.
    if (refused !== undefined) client.socket.end(`HTTP/1.1 ${refused} ${wanted}\r\nContent-Type: text/plain\r\n\r\n${head}`);
    else await tunnel(host, Number(port), Buffer.from("HTTP/1.1 200 Connection established\r\nVia: 1.1 here\r\n\r\n"));
  },
};
