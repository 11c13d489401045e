import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import type { PresetServer, Security } from "./presets.ts";

/** An autoconfig file is a few kilobytes; entities, which could make it grow without bound, are not expanded. */
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "",
  processEntities: false,
  parseTagValue: false,
  isArray: (name) => ["emailProvider", "incomingServer", "outgoingServer", "username", "authentication"].includes(name),
});

const server = z.object({
  type: z.string(),
  hostname: z.string(),
  port: z.coerce.number().int().min(1).max(65_535),
  socketType: z.string(),
  username: z.array(z.string()).default([]),
  authentication: z.array(z.string()).default([]),
});

const file = z.object({
  clientConfig: z.object({
    emailProvider: z.array(z.object({ incomingServer: z.array(z.unknown()).default([]), outgoingServer: z.array(z.unknown()).default([]) })).min(1),
  }),
});

const securities: Readonly<Record<string, Security>> = { SSL: "tls", STARTTLS: "starttls" };

/** A server as such a file names it. */
export interface AutoconfigServer extends PresetServer {
  readonly protocol: "imap" | "smtp";
  readonly source: "autoconfig";
}

/** The IMAP and SMTP servers of a Mozilla autoconfig file, in its own order of preference. What is not understood, or not encrypted, is left out. */
export function readAutoconfig(xml: string, domain: string): readonly AutoconfigServer[] {
  const parsed = file.safeParse(parse(xml));
  if (!parsed.success) return [];
  const [provider] = parsed.data.clientConfig.emailProvider;
  return [...(provider?.incomingServer ?? []), ...(provider?.outgoingServer ?? [])].flatMap((raw) => toServer(raw, domain));
}

function parse(xml: string): unknown {
  try {
    return parser.parse(xml);
  } catch {
    return undefined;
  }
}

function toServer(raw: unknown, domain: string): readonly AutoconfigServer[] {
  const parsed = server.safeParse(raw);
  if (!parsed.success) return [];
  const { type, hostname, port, socketType, username } = parsed.data;
  const security = securities[socketType.toUpperCase()];
  const host = hostname.replaceAll("%EMAILDOMAIN%", domain).toLowerCase().trim();
  if (security === undefined || (type !== "imap" && type !== "smtp") || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(host)) return [];
  return [{ protocol: type, host, port, security, userName: userNameOf(username[0]), source: "autoconfig" }];
}

function userNameOf(pattern: string | undefined): PresetServer["userName"] {
  return pattern?.trim().toUpperCase() === "%EMAILLOCALPART%" ? "local-part" : "address";
}
