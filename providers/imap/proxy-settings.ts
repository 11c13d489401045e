import { z } from "zod";
import { hostSchema } from "./host.ts";

export const proxyTypes = ["socks5", "socks4", "http"] as const;
export type ProxyType = (typeof proxyTypes)[number];

/** The way out that a mailbox's connections take, instead of straight to its servers. */
export interface ProxySettings {
  readonly type: ProxyType;
  readonly host: string;
  readonly port: number;
  /** Null where the proxy asks for none. */
  readonly username: string | null;
}

/** RFC 1929 §2: one byte says how long each is. */
const nameBytesMax = 255;

const text = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= nameBytesMax, `at most ${nameBytesMax} bytes`)
  .refine((value) => !/\p{Cc}/u.test(value), "without control characters");

export const proxySchema = z
  .strictObject({
    type: z.enum(proxyTypes).optional().describe("`http` asks with CONNECT."),
    host: hostSchema.optional(),
    port: z.number().int().min(1).max(65_535).optional(),
    username: text.nullable().optional().describe("Null takes user name and password away."),
    password: text.optional(),
  })
  .describe("The proxy that every connection of this mailbox goes through, IMAP and SMTP alike; null removes it.")
  .meta({ id: "MailboxProxyInput" });

type ProxyInput = z.infer<typeof proxySchema>;

interface Proxy {
  readonly proxy: ProxySettings | null;
  readonly proxyPassword: string | null;
}

/**
 * New members over a stored proxy. As with mail servers, a stored password is not sent to another host. Throws a ZodError that names the member that is
 * missing or does not fit.
 */
export function overlayProxy(stored: Proxy, input: ProxyInput | null | undefined): Proxy {
  if (input === undefined) return stored;
  if (input === null) return { proxy: null, proxyPassword: null };
  const { proxy: base } = stored;
  const proxy = {
    type: input.type ?? base?.type ?? refuse("type", "is needed: socks5, socks4 or http"),
    host: input.host ?? base?.host ?? refuse("host", "the proxy's host name or address is needed"),
    port: input.port ?? base?.port ?? refuse("port", "the proxy's port is needed"),
    username: input.username === undefined ? (base?.username ?? null) : input.username,
  };
  const isOtherHost = base !== null && proxy.host !== base.host;
  if (isOtherHost && stored.proxyPassword !== null && input.password === undefined && proxy.username !== null && proxy.type !== "socks4") {
    refuse("password", "is needed again for another proxy host: a stored password is not sent to a new one");
  }
  // SOCKS4 knows a user name and no password.
  if (proxy.type === "socks4" && input.password !== undefined) refuse("password", "SOCKS4 takes a user name only");
  if (proxy.username === null && input.password !== undefined) refuse("username", "is needed with a password");
  // RFC 7617 §2: the first colon ends the user name.
  if (proxy.type === "http" && proxy.username?.includes(":")) refuse("username", "an HTTP proxy's user name has no colon");
  const hasPassword = proxy.username !== null && proxy.type !== "socks4";
  return { proxy, proxyPassword: hasPassword ? (input.password ?? stored.proxyPassword) : null };
}

function refuse(member: keyof ProxyInput, message: string): never {
  throw new z.ZodError([{ code: "custom", path: ["proxy", member], message, input: undefined }]);
}
