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

/** `fromServer` may change what the server says on its way to the client. */
export async function startProxy(targetPort: number, fromServer: (bytes: Buffer) => Buffer = (bytes) => bytes): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const links = new Set<{ isFrozen: boolean }>();
  let isFrozen = false;
  let connections = 0;
  let clients = 0;
  const server = createServer((client) => {
    connections += 1;
    clients += 1;
    client.once("close", () => {
      clients -= 1;
    });
    const link = { isFrozen };
    links.add(link);
    const upstream = connect(targetPort, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("data", (bytes) => {
        if (!link.isFrozen) to.write(from === upstream ? fromServer(bytes) : bytes);
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
