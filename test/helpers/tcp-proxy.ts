import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A way to a server on this machine that a test can cut or let go silent, as networks do. */
export interface TcpProxy {
  readonly port: number;
  /** Connections that were made so far. */
  readonly connections: number;
  /** Clients that are connected now. */
  readonly open: number;
  /** Breaks every open connection; new ones are taken. */
  cut(): void;
  /** From now on nothing passes in either direction, and nobody is told. */
  freeze(): void;
  /** New connections pass again; those that were frozen stay so. */
  thaw(): void;
  /** Breaks every connection and takes no new ones. */
  close(): Promise<void>;
}

/** One client's way to the server, the same object for all that passes on it. */
export interface ProxyLink {
  /** Breaks this connection. */
  cut(): void;
}

/** What may be changed of the bytes on their way, by whoever listens to them; an empty buffer swallows them. */
export interface ProxyHooks {
  readonly fromClient?: (bytes: Buffer, link: ProxyLink) => Buffer;
  readonly fromServer?: (bytes: Buffer, link: ProxyLink) => Buffer;
}

const asItIs = (bytes: Buffer) => bytes;

export async function startProxy(targetPort: number, { fromClient = asItIs, fromServer = asItIs }: ProxyHooks = {}): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const links = new Set<ProxyLink & { isFrozen: boolean }>();
  let isFrozen = false;
  let connections = 0;
  let clients = 0;
  const server = createServer((client) => {
    connections += 1;
    clients += 1;
    client.once("close", () => {
      clients -= 1;
    });
    const upstream = connect(targetPort, "127.0.0.1");
    const link = { isFrozen, cut: () => void client.destroy() };
    links.add(link);
    client.once("close", () => links.delete(link));
    for (const [from, to, change] of [
      [client, upstream, fromClient],
      [upstream, client, fromServer],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("data", (bytes) => {
        if (link.isFrozen) return;
        const changed = change(bytes, link);
        if (changed.length > 0) to.write(changed);
      });
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    get open() {
      return clients;
    },
    cut,
    freeze() {
      isFrozen = true;
      for (const link of links) link.isFrozen = true;
    },
    thaw() {
      isFrozen = false;
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      cut();
      await closed;
    },
  };
}
