import { describe, expect, it } from "vitest";
import type { MailError } from "../../domain/errors.ts";
import { createHostResolver } from "../../network/resolve-host.ts";

const closed = createHostResolver({ allowPrivateNetworks: [] });

/** The code of the MailError that a look-up ends with. */
async function refusal(looking: Promise<unknown>): Promise<string> {
  return looking.then(
    (found) => `resolved to ${JSON.stringify(found)}`,
    (error: MailError) => error.code,
  );
}

describe("createHostResolver", () => {
  it.each([
    ["loopback", "127.0.0.1"],
    ["all of loopback", "127.9.9.9"],
    ["loopback in decimal", "2130706433"],
    ["loopback in hexadecimal", "0x7f000001"],
    ["loopback in octal parts", "0177.0.0.1"],
    ["loopback with parts left out", "127.1"],
    ["this network", "0.0.0.0"],
    ["zero", "0"],
    ["private 10/8", "10.1.2.3"],
    ["private 172.16/12", "172.31.255.254"],
    ["private 192.168/16", "192.168.0.1"],
    ["carrier-grade NAT", "100.100.100.200"],
    ["link-local, the cloud's metadata", "169.254.169.254"],
    ["metadata in decimal", "2852039166"],
    ["Azure's wire server", "168.63.129.16"],
    ["IETF protocol assignments", "192.0.0.192"],
    ["documentation", "192.0.2.1"],
    ["benchmarking", "198.18.0.1"],
    ["multicast", "224.0.0.251"],
    ["reserved", "240.0.0.1"],
    ["broadcast", "255.255.255.255"],
    ["IPv6 loopback", "::1"],
    ["IPv6 loopback in brackets", "[::1]"],
    ["IPv6 loopback written out", "0:0:0:0:0:0:0:1"],
    ["IPv6 unspecified", "::"],
    ["unique local", "fd00:ec2::254"],
    ["link-local", "fe80::1"],
    ["link-local with a zone", "fe80::1%eth0"],
    ["site-local", "fec0::1"],
    ["IPv6 multicast", "ff02::1"],
    ["mapped IPv4", "::ffff:127.0.0.1"],
    ["mapped IPv4 in hexadecimal, in brackets", "[::ffff:7f00:1]"],
    ["compatible IPv4", "::127.0.0.1"],
    ["translated IPv4", "::ffff:0:127.0.0.1"],
    ["NAT64", "64:ff9b::7f00:1"],
    ["local NAT64", "64:ff9b:1::7f00:1"],
    ["6to4", "2002:7f00:1::"],
    ["Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    ["IPv6 documentation", "2001:db8::1"],
    ["the name of loopback", "localhost"],
  ])("refuses %s", async (_what, host) => {
    expect(await refusal(closed(host))).toBe("private_address_refused");
  });

  it.each([
    ["8.8.8.8", { address: "8.8.8.8", family: 4 }],
    ["134744072", { address: "8.8.8.8", family: 4 }],
    ["[2606:4700:4700::1111]", { address: "2606:4700:4700::1111", family: 6 }],
    ["::ffff:8.8.8.8", { address: "8.8.8.8", family: 4 }],
  ] as const)("takes the public address %s", async (host, expected) => {
    expect(await closed(host)).toEqual(expected);
  });

  it.each(["", "no-such-host.invalid", "a b", "host\0.example", "http://host", "[", "user@host", "1.2.3.4:80", "x".repeat(300)])(
    "says that %j is not found",
    async (host) => {
      expect(await refusal(closed(host))).toBe("host_not_found");
    },
  );

  it("reaches a private network that is allowed, and only that one", async () => {
    const resolve = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8", "fd00::/8", "10.0.0.7"] });
    expect(await resolve("127.0.0.1")).toEqual({ address: "127.0.0.1", family: 4 });
    expect(await resolve("localhost")).toEqual({ address: "127.0.0.1", family: 4 });
    expect(await resolve("::ffff:127.0.0.1")).toEqual({ address: "127.0.0.1", family: 4 });
    expect(await resolve("[fd12::1]")).toEqual({ address: "fd12::1", family: 6 });
    expect(await resolve("10.0.0.7")).toEqual({ address: "10.0.0.7", family: 4 });
    expect(await refusal(resolve("10.0.0.8"))).toBe("private_address_refused");
    expect(await refusal(resolve("::1"))).toBe("private_address_refused");
  });

  it.each(["10", "10.0.0.0/33", "localhost", "", "10.0.0.0/8/8"])("refuses to start with the network %j", (network) => {
    expect(() => createHostResolver({ allowPrivateNetworks: [network] })).toThrow(/CIDR/);
  });

  it("takes the public one of several answers, and asks once", async () => {
    const asked: string[] = [];
    const resolve = createHostResolver({
      allowPrivateNetworks: [],
      lookup: async (host) => {
        asked.push(host);
        return ["127.0.0.1", "::1", "93.184.215.14"];
      },
    });
    expect(await resolve("rebinding.example")).toEqual({ address: "93.184.215.14", family: 4 });
    expect(asked).toEqual(["rebinding.example"]);
  });

  it("refuses a name that has private answers only, and rubbish for an answer", async () => {
    const answering = (...answers: string[]) => createHostResolver({ allowPrivateNetworks: [], lookup: async () => answers })("name.example");
    expect(await refusal(answering("192.168.1.1", "fd00::1"))).toBe("private_address_refused");
    expect(await refusal(answering("not an address"))).toBe("private_address_refused");
    expect(await refusal(answering())).toBe("host_not_found");
  });

  it("gives a silent name server up, and says so", async () => {
    const silent = createHostResolver({ allowPrivateNetworks: [], lookup: () => new Promise(() => {}), timeoutMs: 20 });
    await expect(silent("name.example")).rejects.toMatchObject({ code: "host_not_found", serverSaid: "ETIMEDOUT" });
  });
});
