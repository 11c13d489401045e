import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { StartError } from "./processes.ts";

/** A free TCP port on the loopback address. Another process may take it before its user binds it, so a start that finds it busy tries again. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ host: "127.0.0.1", port: 0 }, () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port was given"))));
    });
  });
}

/** Whether the port can be bound on the loopback address right now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Fails when a port stays taken: a server that cannot bind it would end, while whoever holds it might answer in its place. */
export async function requirePort(port: number, what: string, setting?: string, patienceMs = 1_500): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await isPortFree(port))) {
    if (performance.now() > deadline) {
      const remedy = setting === undefined ? "" : `: end that, or set ${setting} to another port`;
      throw new StartError(`port ${port}, which ${what} is to use, is taken by another process${remedy}`);
    }
    await delay(50);
  }
}
