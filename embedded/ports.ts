import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { StartError } from "./processes.ts";

/** Below what systems hand out by themselves (from 32768 at Linux, 49152 elsewhere): no outgoing connection takes a port of these before its user binds it. */
const chosenPorts = { from: 10_000, to: 32_000 };
const triesMax = 100;

/** A free TCP port on the loopback address. Another process may still take it before its user binds it, so a start that finds it busy tries again. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const port = randomInt(chosenPorts.from, chosenPorts.to);
    if (await isPortFree(port)) return port;
  }
  throw new StartError(`none of ${triesMax} ports between ${chosenPorts.from} and ${chosenPorts.to} is free`);
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
