import { readFileSync } from "node:fs";
import { isIP, Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createHostResolver } from "../../network/resolve-host.ts";
import { readImports, root } from "../architecture/import-graph.ts";
import { offStage } from "../architecture/rooms.ts";
import { type Attempt, type OutgoingPath, outgoingPaths, proxyAddress, whoConnects } from "./outgoing-paths.ts";

/** One of each kind of address that is nobody's business; spellings of one address stand beside it. */
const inside = {
  "this network": ["0.0.0.0", "0"],
  loopback: ["127.0.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "localhost."],
  "private, RFC 1918": ["10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.0.1"],
  "carrier-grade NAT": ["100.64.0.1", "100.127.255.254"],
  "link-local and metadata": ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"],
  "a cloud's own services": ["168.63.129.16", "100.100.100.200", "192.0.0.192"],
  "special purpose": ["192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"],
  multicast: ["224.0.0.1", "239.255.255.255"],
  "reserved and broadcast": ["240.0.0.1", "255.255.255.255"],
  "IPv6 loopback and unspecified": ["::1", "::", "0:0:0:0:0:0:0:1"],
  "IPv6 link-local, site-local, unique local": ["fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254"],
  "IPv6 multicast": ["ff02::1", "ff0e::1"],
  "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1"],
  NAT64: ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe"],
  "6to4 and Teredo": ["2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:5601:5601"],
  "documentation and discard": ["2001:db8::1", "3fff::1", "100::1"],
} as const;

const addresses = Object.entries(inside).flatMap(([kind, texts]) => texts.map((text) => [kind, text] as const));
const paths = Object.entries(outgoingPaths) as readonly [OutgoingPath, Attempt][];
const table = paths.flatMap(([path, attempt]) => addresses.map(([kind, address]) => [path, kind, address, attempt] as const));

/** Where connections were begun; none is made, because nothing out there is ours to connect to. */
const begun: string[] = [];
beforeEach(() => {
  begun.length = 0;
  vi.spyOn(Socket.prototype, "connect").mockImplementation(function connect(this: Socket, ...args: readonly unknown[]) {
    const options = (Array.isArray(args[0]) ? args[0][0] : args[0]) as { readonly host?: string; readonly lookup?: LookUp };
    const fail = () => void this.destroy(Object.assign(new Error("refused by the test"), { code: "ECONNREFUSED" }));
    const host = String(options.host);
    if (isIP(host) !== 0 || options.lookup === undefined) {
      begun.push(host);
      setImmediate(fail);
    } else {
      options.lookup(host, { all: true }, (_error, found) => {
        begun.push(...found.map(({ address }) => address));
        setImmediate(fail);
      });
    }
    return this;
  });
});
afterEach(() => void vi.restoreAllMocks());

type LookUp = (host: string, options: { readonly all: true }, done: (error: unknown, found: readonly { readonly address: string }[]) => void) => void;

/** What may be connected to although it is not the target. */
const allowed = new Set([proxyAddress]);
const toTargets = () => begun.filter((address) => !allowed.has(address));

describe("an address inside is refused before anything is connected to", () => {
  test.each(table)("%s: %s, %s", async (_path, _kind, address, attempt) => {
    expect(await attempt(address, createHostResolver({ allowPrivateNetworks: [] }))).toBe("private_address_refused");
    expect(begun).toEqual([]);
  });
});

describe("a name", () => {
  const resolving = (answers: readonly (readonly string[])[]) => {
    const asked: string[] = [];
    const resolveHost = createHostResolver({
      allowPrivateNetworks: [],
      lookup: async (host) => {
        asked.push(host);
        return answers[Math.min(asked.length, answers.length) - 1] ?? [];
      },
    });
    return { asked, resolveHost };
  };
  const everyAddress = addresses.map(([, text]) => text).filter((text) => isIP(text) !== 0);

  test.each(paths)("%s: that leads to every address inside, through however many aliases, is refused", async (_path, attempt) => {
    const { resolveHost } = resolving([everyAddress]);
    expect(await attempt("inside.example", resolveHost)).toBe("private_address_refused");
    expect(begun).toEqual([]);
  });

  test.each(paths)("%s: that leads inside and outside is connected to outside, and there alone", async (_path, attempt) => {
    const { resolveHost } = resolving([[...everyAddress.slice(0, 20), "93.184.215.14", ...everyAddress.slice(20)]]);
    expect(await attempt("mixed.example", resolveHost)).not.toBe("private_address_refused");
    expect(begun.filter((address) => address !== "93.184.215.14" && !allowed.has(address))).toEqual([]);
    expect(begun.length).toBeGreaterThan(0);
  });

  test.each(paths)("%s: that answers anew each time is asked once for each connection, and that answer is where it goes", async (_path, attempt) => {
    const { asked, resolveHost } = resolving([["93.184.215.14"], ["127.0.0.1"]]);
    expect(await attempt("rebinding.example", resolveHost)).not.toBe("private_address_refused");
    expect(asked).toEqual(["rebinding.example"]);
    expect(toTargets().filter((address) => address !== "93.184.215.14")).toEqual([]);
    expect(await attempt("rebinding.example", resolveHost)).toBe("private_address_refused");
    expect(toTargets().filter((address) => address !== "93.184.215.14")).toEqual([]);
  });

  test.each(paths)("%s: that leads inside is reached where the operator says so", async (_path, attempt) => {
    const resolveHost = createHostResolver({ allowPrivateNetworks: ["10.0.0.0/8"], lookup: async () => ["10.1.2.3", "169.254.169.254"] });
    expect(await attempt("mail.corp.example", resolveHost)).not.toBe("private_address_refused");
    expect(toTargets().filter((address) => address !== "10.1.2.3")).toEqual([]);
  });

  test.each(paths)("%s: hidden behind credentials, a fragment or other digits leads nowhere else", async (_path, attempt) => {
    for (const host of [
      "93.184.215.14@127.0.0.1",
      "127.0.0.1#93.184.215.14",
      "１２７.0.0.1",
      "127。0。0。1",
      "①②⑦.0.0.1",
      "127.0.0.1\u0000.example",
    ]) {
      await attempt(host, createHostResolver({ allowPrivateNetworks: [], lookup: async () => [] })).catch(() => {});
      expect(begun, host).toEqual([]);
    }
  });
});

describe("who can connect", () => {
  const modules =
    /^(node:)?(net|tls|http|https|http2|dgram|dns|dns\/promises)$|^(undici|pg|aws4fetch|ws)(\/|$)|^imapflow$|^nodemailer(?!\/lib\/addressparser$)/;
  const global = /(?<![\w.]|function |const )(fetch|WebSocket|EventSource)\(/;
  /** What stands in for other people's servers and is never a part of an installation's work for strangers. */
  const stages = /^(sandbox|bench|test|tools)\//;

  test("is known: every file that loads a module for it, or calls for it by a global name", () => {
    const imports = readImports().filter(({ from, isTypeOnly }) => !offStage.test(from) && !stages.test(from) && !isTypeOnly);
    const byModule = imports.filter(({ to }) => modules.test(to)).map(({ from }) => from);
    const files = [...new Set(imports.map(({ from }) => from))];
    const byName = files.filter((file) => {
      const text = readFileSync(join(root, file), "utf8");
      return global.test(text) && !/(function|const) fetch\b/.test(text);
    });
    expect([...new Set([...byModule, ...byName])].toSorted()).toEqual(Object.keys(whoConnects).toSorted());
  });

  test("has its way tried above, each way by somebody", () => {
    const tried = Object.values(whoConnects).flatMap((entry) => ("paths" in entry ? entry.paths : []));
    expect(tried.toSorted()).toEqual(Object.keys(outgoingPaths).toSorted());
  });
});
