import { z } from "zod";
import type { NamedHost } from "../provider.ts";
import { hostSchema } from "./host.ts";
import { customPreset, findPreset, type PresetServer, presets, type Security, securities, userNameFor } from "./presets.ts";
import { overlayProxy, type ProxySettings, proxySchema } from "./proxy-settings.ts";

export interface ServerSettings {
  readonly host: string;
  readonly port: number;
  readonly security: Security;
  readonly username: string;
  readonly allowSelfSigned: boolean;
  /** A certificate authority in PEM that this server's certificate may rest on, besides the usual ones. */
  readonly caCertificate: string | null;
}

export interface ImapSettings {
  readonly preset: string | null;
  readonly email: string;
  readonly imap: ServerSettings;
  /** Null where the mailbox only receives. */
  readonly smtp: ServerSettings | null;
  /** The way to both servers; null, and missing in settings from before there were proxies, is straight. */
  readonly proxy?: ProxySettings | null;
  /** Connections that we may hold to the account at once, the watch included. */
  readonly connectionsMax: number;
}

export interface ImapCredentials {
  readonly password: string;
  /** Null where sending takes the same password. */
  readonly smtpPassword: string | null;
  readonly proxyPassword?: string | null;
}

const presetNames = [customPreset, ...presets.map((preset) => preset.name)] as const;

/** What could end the command that carries it is in nobody's password. */
const password = z
  .string()
  .min(1, "the password must not be empty")
  .max(4_096)
  .regex(/^[^\0\r\n]*$/, "no line ends, no NUL");

/** Stands in commands as well, and in answers that are shown. */
const username = z
  .string()
  .max(512)
  .regex(/^(?=.*\S)\P{Cc}+$/u, "no control characters, and not only white space")
  .trim();

const server = z
  .strictObject({
    host: hostSchema.optional(),
    port: z.number().int().min(1).max(65_535).optional(),
    security: z.enum(securities).optional(),
    username: username.optional(),
    allowInsecure: z.boolean().optional(),
    allowSelfSigned: z.boolean().optional(),
    caCertificate: z
      .string()
      .max(64_000)
      .regex(/-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----/, "a certificate in PEM form")
      .nullable()
      .optional(),
  })
  .superRefine((value, context) => {
    if (value.security === "none" && value.allowInsecure !== true) {
      context.addIssue({
        code: "custom",
        path: ["allowInsecure"],
        message: "security `none` sends the password in the clear: set allowInsecure to true if that is really wanted",
      });
    }
  });

/** What a customer gives to connect an IMAP mailbox. A preset fills what is left out; what is given goes over it. */
export const connectSchema = z.strictObject({
  preset: z.enum(presetNames).optional(),
  username: username.optional(),
  password,
  imap: server.optional(),
  smtp: server.extend({ password: password.optional() }).nullable().optional(),
  proxy: proxySchema.nullable().optional(),
  connectionsMax: z.number().int().min(1).max(20).optional(),
});

/** The same members when stored settings are changed: every one may be left out. */
export const changeSchema = connectSchema.partial();

type ConnectInput = z.infer<typeof connectSchema>;
type ChangeInput = z.infer<typeof changeSchema>;
type ServerInput = z.infer<typeof server>;

/** Settings and credentials out of what connectSchema parsed. Throws a ZodError that names the member that is missing. */
export function split(parsed: unknown, email: string): { readonly settings: ImapSettings; readonly credentials: ImapCredentials } {
  const input: ConnectInput = connectSchema.parse(parsed);
  const { proxy, proxyPassword } = overlayProxy({ proxy: null, proxyPassword: null }, input.proxy);
  return {
    settings: { ...resolveSettings(input, email), proxy },
    credentials: { password: input.password, smtpPassword: input.smtp?.password ?? null, proxyPassword },
  };
}

interface Stored {
  readonly settings: ImapSettings;
  readonly credentials: ImapCredentials;
}

/**
 * New members over stored ones. A new preset begins anew; without one, what is not given stays as it is. A server on another host needs its password
 * again: else whoever may change a mailbox, and may not read its password, could have it sent to a host of theirs.
 */
export function merge(stored: Stored, changes: unknown, email: string): Stored {
  const input: ChangeInput = changeSchema.parse(changes);
  const { proxy, proxyPassword } = overlayProxy(
    { proxy: stored.settings.proxy ?? null, proxyPassword: stored.credentials.proxyPassword ?? null },
    input.proxy,
  );
  const servers = overlayStored(stored, input, email);
  const merged = { settings: { ...servers.settings, proxy }, credentials: { ...servers.credentials, proxyPassword } };
  const { imap, smtp } = stored.settings;
  if (merged.settings.imap.host !== imap.host && input.password === undefined) throw missing(["password"], neededAgain("IMAP"));
  const isKnown = merged.settings.smtp === null || [imap.host, smtp?.host].includes(merged.settings.smtp.host);
  const isGiven = input.smtp?.password !== undefined || (input.password !== undefined && merged.credentials.smtpPassword === null);
  if (!isKnown && !isGiven) throw missing(merged.credentials.smtpPassword === null ? ["password"] : ["smtp", "password"], neededAgain("SMTP"));
  refuseListening(stored, merged, input);
  return merged;
}

/**
 * A proxy hears what it passes on, unless TLS rests on a certificate that others vouch for. So where it does not, a password that is stored is not sent
 * through a proxy on another host, nor is the protection taken away behind one that is there.
 */
function refuseListening(stored: Stored, merged: Stored, input: ChangeInput): void {
  const { proxy } = merged.settings;
  if (!proxy) return;
  const isOtherProxy = proxy.host !== stored.settings.proxy?.host;
  const isOpened = (protocol: "imap" | "smtp") => {
    const [before, after] = [stored.settings[protocol], merged.settings[protocol]];
    return after !== null && protection(after) !== "" && (isOtherProxy || before === null || protection(before) !== protection(after));
  };
  const message = "is needed again: through this proxy, a stored password could be read on its way";
  if (isOpened("imap") && input.password === undefined) throw missing(["password"], message);
  const ownPassword = merged.credentials.smtpPassword !== null;
  const given = ownPassword ? input.smtp?.password : input.password;
  if (isOpened("smtp") && given === undefined) throw missing(ownPassword ? ["smtp", "password"] : ["password"], message);
}

/** How a server's protection falls short of a certificate that others vouch for; empty where it does not. */
function protection({ security, allowSelfSigned, caCertificate }: ServerSettings): string {
  return [security === "none" ? "none" : "", allowSelfSigned ? "any" : "", caCertificate ?? ""].join("");
}

function neededAgain(protocol: string): string {
  return `is needed again for another ${protocol} host: a stored password is not sent to a new one`;
}

function overlayStored(stored: Stored, input: ChangeInput, email: string): Stored {
  const credentials = {
    password: input.password ?? stored.credentials.password,
    smtpPassword: input.smtp === null ? null : (input.smtp?.password ?? stored.credentials.smtpPassword),
  };
  if (input.preset !== undefined && input.preset !== (stored.settings.preset ?? customPreset)) {
    return { settings: resolveSettings(input, email), credentials: { ...credentials, smtpPassword: input.smtp?.password ?? null } };
  }
  const { settings } = stored;
  const imap = overlay("imap", settings.imap, { username: input.username, ...input.imap });
  const smtpBase = settings.smtp ?? undefined;
  const smtp =
    input.smtp === null || (input.smtp === undefined && smtpBase === undefined)
      ? null
      : overlay("smtp", smtpBase, { username: input.username, ...withoutPassword(input.smtp ?? {}) }, email);
  return { settings: { ...settings, email, imap, smtp, connectionsMax: input.connectionsMax ?? settings.connectionsMax }, credentials };
}

/** Cautious where nothing is known: one connection that watches, one for new mail, one for the import. */
const connectionsMaxUnknown = 3;

function resolveSettings(input: ChangeInput, email: string): ImapSettings {
  const preset = findPreset(input.preset);
  const imap = overlay("imap", preset && fromPreset(preset.imap, email), { username: input.username, ...input.imap }, email);
  const wantsSmtp = input.smtp !== null && (input.smtp !== undefined || preset !== undefined);
  const smtp = wantsSmtp
    ? overlay("smtp", preset && fromPreset(preset.smtp, email), { username: input.username, ...withoutPassword(input.smtp ?? {}) }, email)
    : null;
  return {
    preset: preset?.name ?? null,
    email,
    imap,
    smtp,
    connectionsMax: input.connectionsMax ?? preset?.connectionsMax ?? connectionsMaxUnknown,
  };
}

function fromPreset(presetServer: PresetServer, email: string): ServerSettings {
  const { host, port, security } = presetServer;
  return { host, port, security, username: userNameFor(presetServer, email), allowSelfSigned: false, caCertificate: null };
}

function withoutPassword(input: ServerInput & { readonly password?: string | undefined }): ServerInput {
  const { password: _password, ...rest } = input;
  return rest;
}

/** Ports by protocol and security (RFC 8314 §3.2, §3.3). */
const usualPorts = { imap: { tls: 993, starttls: 143, none: 143 }, smtp: { tls: 465, starttls: 587, none: 25 } } as const;

function overlay(protocol: "imap" | "smtp", base: ServerSettings | undefined, input: ServerInput, email = ""): ServerSettings {
  const host = input.host ?? base?.host;
  if (host === undefined) throw missing([protocol, "host"], "the host name is needed unless a preset gives it");
  const security = input.security ?? securityOfPort(protocol, input.port) ?? base?.security ?? "tls";
  // A port belongs to its security: asked for STARTTLS only, the stored 993 would be the wrong one.
  const keepsPort = base !== undefined && (input.security === undefined || input.security === base.security);
  return {
    host,
    port: input.port ?? (keepsPort ? base.port : usualPorts[protocol][security]),
    security,
    username: input.username ?? base?.username ?? email,
    allowSelfSigned: input.allowSelfSigned ?? base?.allowSelfSigned ?? false,
    caCertificate: input.caCertificate === undefined ? (base?.caCertificate ?? null) : input.caCertificate,
  };
}

function securityOfPort(protocol: "imap" | "smtp", port: number | undefined): Security | undefined {
  if (port === undefined) return undefined;
  if (port === usualPorts[protocol].tls) return "tls";
  return port === usualPorts[protocol].starttls ? "starttls" : undefined;
}

function missing(path: string[], message: string): z.ZodError {
  return new z.ZodError([{ code: "custom", path, message, input: undefined }]);
}

/** Where a customer may name a host. */
const hostMembers = z.object(
  Object.fromEntries((["imap", "smtp", "proxy"] as const).map((name) => [name, z.object({ host: hostSchema }).optional().catch(undefined)])),
);

/** The hosts that a request names; those of a preset are ours, and stored ones were judged when they came. */
export function namedHosts(members: unknown): readonly NamedHost[] {
  return Object.entries(hostMembers.parse(members)).flatMap(([name, member]) =>
    member === undefined ? [] : [{ pointer: `#/${name}/host`, host: member.host }],
  );
}
