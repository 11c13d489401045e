import { connect, isIPv6, type Socket } from "node:net";
import { MailError, type MailErrorCode } from "../../domain/errors.ts";
import type { HostResolver } from "../../domain/host.ts";
import type { ProxySettings } from "./proxy-settings.ts";

/** Where a tunnel leads. */
export interface Target {
  /** The address that was resolved and judged. A name would be resolved anew by the proxy, and might then lead into its private network. */
  readonly address: string;
  readonly port: number;
}

export interface ProxyAccess {
  readonly proxy: ProxySettings;
  readonly password: string | null;
  readonly resolveHost: HostResolver;
}

export interface TunnelOptions {
  /** Without addresses or secrets: it is stored and logged. */
  readonly doing: string;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
}

/** Time for reaching the proxy and for the proxy to reach the server. */
const tunnelTimeoutMs = 20_000;
/** An answer to CONNECT is a line and a few headers; what goes on longer is no proxy. */
const headBytesMax = 16 * 1024;

/**
 * A connection to the target through the proxy, ready for TLS or the server's greeting. Rejects with `proxy_unreachable`, `proxy_refused`, or what the
 * proxy says of the server; no error holds a word of the proxy's answer, which might repeat what was sent.
 */
export async function openTunnel(
  access: ProxyAccess,
  target: Target,
  { doing, signal, timeoutMs = tunnelTimeoutMs }: TunnelOptions,
): Promise<Socket> {
  const address = await resolveProxy(access, doing);
  signal?.throwIfAborted();
  const socket = connect({ host: address, port: access.proxy.port });
  // It stays: who takes the socket over listens too, and in between an error must not end the process.
  socket.on("error", () => {});
  const { promise: broken, reject } = Promise.withResolvers<never>();
  broken.catch(() => {});
  const unreachable = (cause: unknown) => reject(new MailError("proxy_unreachable", { doing, serverSaid: errorCode(cause), cause }));
  const onClose = () => unreachable(new Error("the proxy closed the connection"));
  const onAbort = () => reject(signal?.reason);
  const timer = setTimeout(() => unreachable(Object.assign(new Error("the proxy did not answer in time"), { code: "ETIMEDOUT" })), timeoutMs);
  socket.on("error", unreachable).once("end", onClose).once("close", onClose);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const wire = { write: (bytes: Buffer) => void socket.write(bytes), read: (count: number) => Promise.race([broken, readBytes(socket, count)]) };
    await handshakes[access.proxy.type]({ ...wire, socket }, access, target, doing);
    return socket.setNoDelay();
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    socket.off("error", unreachable).off("end", onClose).off("close", onClose);
  }
}

/** The proxy's own host is judged like a mail server's. */
async function resolveProxy({ proxy, resolveHost }: ProxyAccess, doing: string): Promise<string> {
  try {
    return (await resolveHost(proxy.host)).address;
  } catch (error) {
    if (!(error instanceof MailError)) throw error;
    if (error.code !== "private_address_refused") throw new MailError("proxy_unreachable", { doing, serverSaid: error.serverSaid, cause: error });
    throw new MailError(error.code, {
      doing: `${doing}: reaching the proxy`,
      fix: "The proxy's host lies in a private network: use a public one, or have the operator list the network in EVERPOST_ALLOW_PRIVATE_NETWORKS.",
      cause: error,
    });
  }
}

interface Wire {
  readonly socket: Socket;
  write(bytes: Buffer): void;
  read(count: number): Promise<Buffer>;
}

type Handshake = (wire: Wire, access: ProxyAccess, target: Target, doing: string) => Promise<void>;

const handshakes: Readonly<Record<ProxySettings["type"], Handshake>> = { socks5, socks4, http: httpConnect };

/** RFC 1928, with the user name and password of RFC 1929. */
async function socks5(wire: Wire, { proxy, password }: ProxyAccess, target: Target, doing: string): Promise<void> {
  const methods = proxy.username === null ? [0] : [0, 2];
  wire.write(Buffer.from([5, methods.length, ...methods]));
  const [version, method = 0xff] = await wire.read(2);
  if (version !== 5) throw notAProxy(doing, "SOCKS5");
  if (method === 2 && proxy.username !== null) {
    wire.write(Buffer.concat([Buffer.from([1]), counted(proxy.username), counted(password ?? "")]));
    const [, status] = await wire.read(2);
    if (status !== 0) throw refusal("proxy_refused", doing, "SOCKS5: user name or password not accepted");
  } else if (method !== 0) {
    throw refusal(
      "proxy_refused",
      doing,
      `SOCKS5: ${proxy.username === null ? "a user name and password are wanted" : "no way to sign in in common"}`,
    );
  }
  const address = addressBytes(target.address);
  wire.write(Buffer.concat([Buffer.from([5, 1, 0, address.length === 4 ? 1 : 4]), address, portBytes(target.port)]));
  const [replyVersion, reply = 1, , addressType] = await wire.read(4);
  if (replyVersion !== 5) throw notAProxy(doing, "SOCKS5");
  if (reply !== 0) {
    const [code, words] = socks5Replies[reply] ?? (["unavailable", "unknown"] as const);
    throw refusal(code, doing, `SOCKS5 reply ${reply}: ${words}`);
  }
  // The address that the proxy is bound to follows, and tells nothing.
  const length = addressType === 1 ? 4 : addressType === 4 ? 16 : ((await wire.read(1))[0] ?? 0);
  await wire.read(length + 2);
}

/** RFC 1928 §6: what each reply says of the proxy, or of the server behind it. */
const socks5Replies: Readonly<Record<number, readonly [MailErrorCode, string]>> = {
  1: ["unavailable", "general failure"],
  2: ["proxy_refused", "not allowed by the proxy's rules"],
  3: ["connection_refused", "network unreachable"],
  4: ["connection_refused", "host unreachable"],
  5: ["connection_refused", "connection refused"],
  6: ["connection_timeout", "time to live expired"],
  7: ["proxy_refused", "command not supported"],
  8: ["proxy_refused", "address type not supported"],
};

/** The protocol of 1992, IPv4 only. SOCKS4a adds names that the proxy resolves, which is what we do not want. */
async function socks4(wire: Wire, { proxy }: ProxyAccess, target: Target, doing: string): Promise<void> {
  if (isIPv6(target.address)) throw refusal("proxy_refused", doing, "SOCKS4 cannot reach IPv6 addresses: use a SOCKS5 proxy");
  wire.write(
    Buffer.concat([Buffer.from([4, 1]), portBytes(target.port), addressBytes(target.address), Buffer.from(proxy.username ?? ""), Buffer.from([0])]),
  );
  const [version, reply] = await wire.read(8);
  if (version !== 0) throw notAProxy(doing, "SOCKS4");
  if (reply === 90) return;
  throw refusal("proxy_refused", doing, `SOCKS4 reply ${reply}: ${reply === 91 ? "rejected or failed" : "user name not accepted"}`);
}

/** RFC 9110 §9.3.6, with the Basic scheme of RFC 7617. */
async function httpConnect(wire: Wire, { proxy, password }: ProxyAccess, target: Target, doing: string): Promise<void> {
  const authority = `${isIPv6(target.address) ? `[${target.address}]` : target.address}:${target.port}`;
  const basic = Buffer.from(`${proxy.username}:${password ?? ""}`).toString("base64");
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...(proxy.username === null ? [] : [`Proxy-Authorization: Basic ${basic}`])];
  wire.write(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`));
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(await readHead(wire, doing))?.[1]);
  if (Number.isNaN(status)) throw notAProxy(doing, "HTTP");
  if (status >= 200 && status < 300) return;
  throw refusal(codeOfStatus(status), doing, `HTTP ${status} to CONNECT`);
}

/** What is below 500 is the proxy's own no; above, it tries to tell how the server was. */
function codeOfStatus(status: number): MailErrorCode {
  if (status === 502) return "connection_refused";
  if (status === 504) return "connection_timeout";
  return status < 500 ? "proxy_refused" : "unavailable";
}

/** Byte by byte: what follows the empty line is the server's greeting, and not ours to take. */
async function readHead(wire: Wire, doing: string): Promise<string> {
  const bytes: number[] = [];
  while (bytes.length < headBytesMax) {
    bytes.push(...(await wire.read(1)));
    if (bytes.at(-1) === 10 && Buffer.from(bytes.slice(-4)).toString("latin1") === "\r\n\r\n") return Buffer.from(bytes).toString("latin1");
  }
  throw notAProxy(doing, "HTTP");
}

/** Takes exactly as many bytes as asked for, and leaves the rest in the socket for whoever is next. Waits for ever: what ends it is raced against it. */
async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = socket.read(count);
    if (bytes !== null && bytes.length === count) return bytes;
    await new Promise<void>((resolve) => socket.once("readable", resolve));
  }
}

function counted(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function portBytes(port: number): Buffer {
  return Buffer.from([port >> 8, port & 0xff]);
}

/** Four bytes, or sixteen with the zeros that `::` stands for (RFC 4291 §2.2). */
function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const [before = [], after = []] = address.split("::").map((half) => half.split(":").filter((group) => group !== ""));
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, "0")).join(""), "hex");
}

function refusal(code: MailErrorCode, doing: string, serverSaid: string): MailError {
  return new MailError(code, { doing, serverSaid });
}

function notAProxy(doing: string, protocol: string): MailError {
  return new MailError("proxy_unreachable", { doing, serverSaid: `what answers is no ${protocol} proxy` });
}

function errorCode(cause: unknown): string | undefined {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}
