import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { ToldEvent } from "../webhooks/payload.ts";

/** A product's end of webhooks: takes what comes, answers 204, and notes when. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  /** What path it was posted to, the event, and when its last byte was there. */
  onEvent: (path: string, event: ToldEvent, at: number) => void;
  /** Posts to this path are taken and never answered. */
  hangingPath: string | undefined;
}

export async function startReceiver(): Promise<Receiver> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const at = performance.now();
      if (request.url === receiver.hangingPath) return;
      response.writeHead(204).end();
      receiver.onEvent(request.url ?? "", JSON.parse(Buffer.concat(chunks).toString("utf8")) as ToldEvent, at);
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    onEvent: () => {},
    hangingPath: undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return receiver;
}
