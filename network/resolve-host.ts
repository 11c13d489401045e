import { lookup as systemLookup } from "node:dns/promises";
import ipaddr from "ipaddr.js";
import { MailError } from "../domain/errors.ts";
import type { HostResolver } from "../domain/host.ts";

export interface HostResolverOptions {
  /** Networks in CIDR form, or single addresses, that are reached although they are private. */
  readonly allowPrivateNetworks: readonly string[];
  /** All addresses of a name; the system's own look-up (hosts file and DNS) unless given. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
  /** How long a look-up may take. */
  readonly timeoutMs?: number;
}

/** The system asks again and again for half a minute when name servers are silent; whoever waits has to be told before that. */
const lookupMsMax = 10_000;

/**
 * Makes the resolver that every outgoing connection of a customer's choosing goes through. It throws `host_not_found` or, where a host has no
 * address on the public internet, `private_address_refused`. A wrong entry in `allowPrivateNetworks` throws at once.
 */
export function createHostResolver(options: HostResolverOptions): HostResolver {
  const allowed = options.allowPrivateNetworks.map(parseNetwork);
  const lookup = inTime(options.lookup ?? lookupAll, options.timeoutMs ?? lookupMsMax);
  return async (host) => {
    // A dot at the end says that a name is whole already; addresses are spelled with one as well.
    const name = host.replace(/^\[(.*)\]$/s, "$1").replace(/(?<=[^.])\.$/, "");
    const literal = parseLiteral(name);
    const addresses = literal === undefined ? (await lookupName(lookup, name)).map(parseLiteral) : [literal];
    const usable = addresses.filter((address) => address !== undefined).find((address) => isPublic(address) || isIn(allowed, address));
    if (usable === undefined) throw new MailError("private_address_refused", { doing: "resolving a host name" });
    return { address: usable.toString(), family: usable.kind() === "ipv4" ? 4 : 6 };
  };
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Network = readonly [Address, number];

/** Public by its range, and yet answered by the hosting network itself: Azure's "wire server" hands out machine secrets. */
const hostNetworks: readonly Network[] = [ipaddr.parseCIDR("168.63.129.16/32")];
/** All global unicast addresses that were ever given out (RFC 4291 §2.4, IANA); what embeds an IPv4 address in another way lies outside. */
const globalUnicast: readonly Network[] = [ipaddr.parseCIDR("2000::/3")];

/**
 * An address, however it is spelled: `inet_aton` also knows 127.1, 2130706433, 0x7f000001 and 0177.0.0.1, and so does whatever would connect to it.
 * IPv4 inside IPv6 (::ffff:127.0.0.1) is judged and connected to as IPv4.
 */
function parseLiteral(text: string): Address | undefined {
  return ipaddr.isValid(text) ? withoutMapping(ipaddr.parse(text)) : undefined;
}

function withoutMapping(address: Address): Address {
  return address.kind() === "ipv6" && (address as ipaddr.IPv6).isIPv4MappedAddress() ? (address as ipaddr.IPv6).toIPv4Address() : address;
}

function isPublic(address: Address): boolean {
  if (address.range() !== "unicast" || isIn(hostNetworks, address)) return false;
  return address.kind() === "ipv4" || isIn(globalUnicast, address);
}

function isIn(networks: readonly Network[], address: Address): boolean {
  return networks.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits));
}

function parseNetwork(text: string): Network {
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text);
  // Four parts only: "10" would be read as the address 0.0.0.10.
  if (ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)) {
    const address = ipaddr.parse(text);
    return [address, address.kind() === "ipv4" ? 32 : 128];
  }
  throw new Error(`"${text}" is not a network: write it in CIDR form, such as 10.0.0.0/8 or fd00::/8 (EVERPOST_ALLOW_PRIVATE_NETWORKS)`);
}

async function lookupName(lookup: (host: string) => Promise<readonly string[]>, name: string): Promise<readonly string[]> {
  const addresses = await lookup(name).catch((cause: unknown) => {
    throw new MailError("host_not_found", { doing: "resolving a host name", serverSaid: errorCode(cause), cause });
  });
  if (addresses.length === 0) throw new MailError("host_not_found", { doing: "resolving a host name" });
  return addresses;
}

function inTime(lookup: (host: string) => Promise<readonly string[]>, timeoutMs: number): (host: string) => Promise<readonly string[]> {
  return async (host) => {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(Object.assign(new Error("the name servers do not answer"), { code: "ETIMEDOUT" })), timeoutMs);
    return Promise.race([lookup(host), late]).finally(() => clearTimeout(timer));
  };
}

/** IPv4 first: one address is tried, and many hosts of ours have no route for IPv6. */
async function lookupAll(host: string): Promise<readonly string[]> {
  if (host === "" || host.length > 253 || /[\s\0/\\@:]/.test(host)) return [];
  const answers = await systemLookup(host, { all: true, order: "ipv4first" });
  return answers.map((answer) => answer.address);
}

function errorCode(cause: unknown): string | undefined {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}
