import { execFileSync } from "node:child_process";
import { createHmac, timingSafeEqual } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly at: number;
  /** The name that the TLS client asked for. */
  readonly servername: string | undefined;
}

export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly received: Received[];
  /** How many connections were ever accepted. */
  connections(): number;
  close(): Promise<void>;
}

/** Answers a request; 204 if it does nothing. */
export type Answer = (request: Received, response: ServerResponse) => void | Promise<void>;

/** A customer's endpoint on this machine: keeps what it was sent and answers as told. */
export async function startReceiver(answer: Answer = () => {}, tls?: { readonly key: string; readonly cert: string }): Promise<Receiver> {
  const received: Received[] = [];
  const sockets = new Set<Socket>();
  let accepted = 0;
  const listener: RequestListener = async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const servername = (request.socket as TLSSocket).servername || undefined;
    const entry: Received = { path: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks).toString(), at: Date.now(), servername };
    received.push(entry);
    await answer(entry, response);
    if (!response.headersSent && !heldOpen.has(response)) response.writeHead(204).end();
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on("connection", (socket: Socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}/hook`,
    port,
    received,
    connections: () => accepted,
    close,
    [Symbol.asyncDispose]: close,
  };
}

const heldOpen = new WeakSet<ServerResponse>();

/** Leaves the request without any answer until the receiver is closed. */
export function hang(response: ServerResponse): void {
  heldOpen.add(response);
}

/** A certificate for `name` that nobody has signed but itself. */
export function selfSigned(name: string): { readonly key: string; readonly cert: string } {
  const folder = mkdtempSync(join(tmpdir(), "everpost-tls-"));
  try {
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
    const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", key, "-out", cert];
    execFileSync("openssl", [...made, ...subject], { stdio: "pipe" });
    return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Standard Webhooks' verification, written from the specification and not from our signer: as of when the request came. The specification allows a
 * sender's clock five minutes; a test whose clocks are wrong on purpose says how many seconds they may be.
 */
export function isSignedBy(secret: string, { headers, body, at }: Received, clockErrorMaxS = 300): boolean {
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const expected = createHmac("sha256", key).update([headers["webhook-id"], headers["webhook-timestamp"], body].join(".")).digest();
  const isFresh = Math.abs(at / 1000 - Number(headers["webhook-timestamp"])) < clockErrorMaxS;
  return (
    isFresh &&
    String(headers["webhook-signature"])
      .split(" ")
      .map((part) => part.split(","))
      .some(([version, signature = ""]) => {
        const given = Buffer.from(signature, "base64");
        return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
      })
  );
}
