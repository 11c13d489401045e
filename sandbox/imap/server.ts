import { createServer } from "node:net";
import { serveConnection } from "./connection.ts";
import type { Session } from "./session.ts";

/** Far beyond what a stand-in is asked for, and short of what a process may open. */
const connectionsMax = 4_000;

export interface ImapOptions {
  /** 0 takes a free one. */
  readonly port: number;
  readonly greeting: string;
  readonly login: Session["login"];
}

/** An IMAP server on the loopback address, without TLS: what it is for never leaves this machine. */
export async function startImapServer(options: ImapOptions): Promise<{ port: number; stop(): Promise<void> }> {
  const open = new Set<{ destroy(): void }>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    void serveConnection(socket, options.login, options.greeting);
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the IMAP server has no port");
  return {
    port: address.port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
