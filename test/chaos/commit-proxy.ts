import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { startProxy, type TcpProxy } from "../helpers/tcp-proxy.ts";

/** A way to PostgreSQL that can lose the answer to a commit: it was done, and who asked for it never hears so. */
export interface CommitProxy extends TcpProxy {
  /** The next so many commits, on whatever connection, are passed on, and their connections break before the answer. */
  loseCommits(count: number): void;
  /** How many answers were lost so far. */
  readonly lost: number;
}

/** The simple query `commit` as it goes over the wire (PostgreSQL's protocol, message Query). */
const commit = Buffer.from("Q\0\0\0\x0bcommit\0", "latin1");

export async function startCommitProxy(targetPort: number): Promise<CommitProxy> {
  const inner = await startProxy(targetPort);
  let toLose = 0;
  let lost = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(inner.port, "127.0.0.1");
    let isLosing = false;
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    client.on("data", (bytes) => {
      if (toLose > 0 && bytes.includes(commit)) {
        toLose -= 1;
        isLosing = true;
      }
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (!isLosing) {
        client.write(bytes);
        return;
      }
      // The server has answered, so the commit is done.
      lost += 1;
      client.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return inner.connections;
    },
    get open() {
      return inner.open;
    },
    get lost() {
      return lost;
    },
    loseCommits(count) {
      toLose += count;
    },
    cut: () => inner.cut(),
    freeze: () => inner.freeze(),
    thaw: () => inner.thaw(),
    async close() {
      await inner.close();
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
