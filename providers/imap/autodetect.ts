import { resolveMx, resolveSrv } from "node:dns/promises";
import type { HostResolver } from "../../domain/host.ts";
import { readAutoconfig } from "./autoconfig.ts";
import { fetchText } from "./fetch-text.ts";
import { type AuthKind, findPresetByDomain, findPresetByMx, type Preset, type PresetServer, type Security } from "./presets.ts";

/** What a setting rests on, best first: a table of ours, the domain's mail exchangers, its SRV records, its autoconfig file, or nothing but habit. */
export type DetectionSource = "domain" | "mx" | "srv" | "autoconfig" | "guess";

export interface DetectedServer extends PresetServer {
  readonly source: DetectionSource;
}

/** Settings that a person may accept: nothing is connected to, and no password sent, on the word of an unsigned DNS answer alone. */
export interface DetectedSettings {
  readonly domain: string;
  /** The preset that says it all, to be given as `preset`; null where the servers have to be given. */
  readonly preset: string | null;
  readonly displayName: string | null;
  /** What the best answer rests on. */
  readonly source: DetectionSource;
  readonly imap: DetectedServer | null;
  readonly smtp: DetectedServer | null;
  readonly auth: readonly AuthKind[];
  readonly helpUrl: string | null;
  /** What other sources said, best first. */
  readonly alternatives: { readonly imap: readonly DetectedServer[]; readonly smtp: readonly DetectedServer[] };
}

export interface DetectionDeps {
  /** Keeps autoconfig look-ups out of private networks. */
  readonly resolveHost: HostResolver;
  readonly resolveMx?: (domain: string) => Promise<readonly { readonly exchange: string; readonly priority: number }[]>;
  readonly resolveSrv?: (name: string) => Promise<readonly SrvRecord[]>;
  /** The body of an https URL; undefined where there is none worth reading. */
  readonly fetchText?: (url: string, resolveHost: HostResolver) => Promise<string | undefined>;
}

export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** Where an address's mail is read and sent, as far as its domain tells. Never throws for what DNS and web servers do: they just have nothing to say. */
export async function detectSettings({ domain }: { readonly domain: string }, deps: DetectionDeps): Promise<DetectedSettings> {
  const name = domain.trim().toLowerCase().replace(/\.$/, "");
  const ownPreset = findPresetByDomain(name);
  if (ownPreset !== undefined) return fromPreset(name, ownPreset, "domain");

  const [mxPreset, srv, autoconfig] = await Promise.all([
    presetByMx(name, deps.resolveMx ?? resolveMx),
    serversBySrv(name, deps.resolveSrv ?? resolveSrv),
    serversByAutoconfig(name, deps),
  ]);
  const found = [...srv, ...autoconfig];
  if (mxPreset !== undefined) return { ...fromPreset(name, mxPreset, "mx"), alternatives: byProtocol(found) };
  const all = byProtocol([...found, ...guesses(name)]);
  const { imap, smtp } = { imap: all.imap[0] ?? null, smtp: all.smtp[0] ?? null };
  return {
    domain: name,
    preset: null,
    displayName: null,
    source: imap?.source ?? "guess",
    imap,
    smtp,
    auth: ["password"],
    helpUrl: null,
    alternatives: { imap: all.imap.slice(1), smtp: all.smtp.slice(1) },
  };
}

export interface FoundServer extends DetectedServer {
  readonly protocol: "imap" | "smtp";
}

function fromPreset(domain: string, preset: Preset, source: DetectionSource): DetectedSettings {
  return {
    domain,
    preset: preset.name,
    displayName: preset.displayName,
    source,
    imap: { ...preset.imap, source },
    smtp: { ...preset.smtp, source },
    auth: preset.auth,
    helpUrl: preset.helpUrl,
    alternatives: { imap: [], smtp: [] },
  };
}

async function presetByMx(domain: string, resolve: NonNullable<DetectionDeps["resolveMx"]>): Promise<Preset | undefined> {
  const records = (await orNothing(resolve(domain))) ?? [];
  return findPresetByMx(records.toSorted((a, b) => a.priority - b.priority).map((record) => record.exchange));
}

/** RFC 6186 and RFC 8314 §5.1, the encrypted services first. */
const services: readonly { readonly service: string; readonly protocol: "imap" | "smtp"; readonly security: Security }[] = [
  { service: "_imaps._tcp", protocol: "imap", security: "tls" },
  { service: "_imap._tcp", protocol: "imap", security: "starttls" },
  { service: "_submissions._tcp", protocol: "smtp", security: "tls" },
  { service: "_submission._tcp", protocol: "smtp", security: "starttls" },
];

async function serversBySrv(domain: string, resolve: NonNullable<DetectionDeps["resolveSrv"]>): Promise<readonly FoundServer[]> {
  const answers = await Promise.all(
    services.map(async ({ service, protocol, security }) => {
      const records = (await orNothing(resolve(`${service}.${domain}`))) ?? [];
      return (
        records
          // A target of "." says that the service is decidedly not offered (RFC 6186 §3.4).
          .filter((record) => record.name !== "" && record.name !== "." && record.port > 0)
          .toSorted((a, b) => a.priority - b.priority || b.weight - a.weight)
          .map((record): FoundServer => ({ protocol, host: plainHost(record.name), port: record.port, security, userName: "address", source: "srv" }))
      );
    }),
  );
  return answers.flat();
}

/** Mozilla's places (https only, because a password goes where they point): the domain's own, then the public database. */
async function serversByAutoconfig(domain: string, deps: DetectionDeps): Promise<readonly FoundServer[]> {
  const fetch = deps.fetchText ?? fetchText;
  const urls = [
    `https://autoconfig.${domain}/mail/config-v1.1.xml?emailaddress=info%40${domain}`,
    `https://${domain}/.well-known/autoconfig/mail/config-v1.1.xml`,
    `https://autoconfig.thunderbird.net/v1.1/${domain}`,
  ];
  const bodies = await Promise.all(urls.map((url) => orNothing(fetch(url, deps.resolveHost))));
  for (const body of bodies) {
    const servers = body === undefined ? [] : readAutoconfig(body, domain);
    if (servers.length > 0) return servers;
  }
  return [];
}

function guesses(domain: string): readonly FoundServer[] {
  const common = { userName: "address", source: "guess" } as const;
  return [
    { ...common, protocol: "imap", host: `imap.${domain}`, port: 993, security: "tls" },
    { ...common, protocol: "imap", host: `mail.${domain}`, port: 993, security: "tls" },
    { ...common, protocol: "smtp", host: `smtp.${domain}`, port: 465, security: "tls" },
    { ...common, protocol: "smtp", host: `smtp.${domain}`, port: 587, security: "starttls" },
    { ...common, protocol: "smtp", host: `mail.${domain}`, port: 587, security: "starttls" },
  ];
}

/** Servers by protocol, each once, in the order in which they were found. */
function byProtocol(servers: readonly FoundServer[]): { readonly imap: readonly DetectedServer[]; readonly smtp: readonly DetectedServer[] } {
  const pick = (protocol: FoundServer["protocol"]): readonly DetectedServer[] => {
    const once = new Map<string, DetectedServer>();
    for (const { protocol: of, ...server } of servers) {
      const key = `${server.host}:${server.port}`;
      if (of === protocol && !once.has(key)) once.set(key, server);
    }
    return [...once.values()];
  };
  return { imap: pick("imap"), smtp: pick("smtp") };
}

function plainHost(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}

async function orNothing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch {
    return undefined;
  }
}
