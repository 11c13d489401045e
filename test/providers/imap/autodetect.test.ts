import { describe, expect, test } from "vitest";
import { MailError } from "../../../domain/errors.ts";
import { readAutoconfig } from "../../../providers/imap/autoconfig.ts";
import { type DetectionDeps, detectSettings, type SrvRecord } from "../../../providers/imap/autodetect.ts";
import { fetchText } from "../../../providers/imap/fetch-text.ts";

interface World {
  readonly mx?: readonly string[];
  readonly srv?: Readonly<Record<string, readonly SrvRecord[]>>;
  readonly web?: Readonly<Record<string, string>>;
}

/** DNS and web of a made-up world; what is not in it does not exist. */
function world({ mx, srv = {}, web = {} }: World): DetectionDeps {
  return {
    resolveHost: async () => ({ address: "192.0.2.1", family: 4 }),
    resolveMx: async () => {
      if (mx === undefined) throw Object.assign(new Error("queryMx ENOTFOUND"), { code: "ENOTFOUND" });
      return mx.map((exchange, index) => ({ exchange, priority: index * 10 }));
    },
    resolveSrv: async (name) => {
      const found = srv[name];
      if (found === undefined) throw Object.assign(new Error("querySrv ENODATA"), { code: "ENODATA" });
      return found;
    },
    fetchText: async (url) => web[url],
  };
}

const record = (name: string, port: number, priority = 0, weight = 0): SrvRecord => ({ name, port, priority, weight });

const xml = (servers: string) => `<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="x">${servers}</emailProvider></clientConfig>`;
const incoming = (type: string, host: string, port: number, socket: string, user = "%EMAILADDRESS%") =>
  `<incomingServer type="${type}"><hostname>${host}</hostname><port>${port}</port><socketType>${socket}</socketType><username>${user}</username><authentication>password-cleartext</authentication></incomingServer>`;
const outgoing = (host: string, port: number, socket: string) =>
  `<outgoingServer type="smtp"><hostname>${host}</hostname><port>${port}</port><socketType>${socket}</socketType><username>%EMAILADDRESS%</username></outgoingServer>`;

describe("detectSettings", () => {
  test.each([
    ["gmail.com", "gmail"],
    ["GoogleMail.com", "gmail"],
    ["outlook.com", "outlook"],
    ["yahoo.co.uk", "yahoo"],
    ["me.com", "icloud"],
    ["gmx.de", "gmx-net"],
    ["web.de", "web.de"],
    ["zohomail.eu", "zoho-eu"],
    ["ya.ru", "yandex"],
  ])("knows %s by its name", async (domain, preset) => {
    expect(await detectSettings({ domain }, world({}))).toMatchObject({ preset, source: "domain", imap: { source: "domain" } });
  });

  test.each([
    ["aspmx.l.google.com", "gmail"],
    ["smtp.google.com.", "gmail"],
    ["acme-com.mail.protection.outlook.com", "microsoft365"],
    ["outlook-com.olc.protection.outlook.com", "outlook"],
    ["mx01.ionos.de", "ionos-de"],
    ["mx2.zoho.eu", "zoho-eu"],
    ["in1-smtp.messagingengine.com", "fastmail"],
    ["mx01.mail.icloud.com", "icloud"],
  ])("knows who serves a domain by its mail exchanger %s", async (exchange, preset) => {
    expect(await detectSettings({ domain: "acme.example" }, world({ mx: [exchange] }))).toMatchObject({
      preset,
      source: "mx",
      domain: "acme.example",
    });
  });

  test("is not taken in by a host that only looks like a provider's", async () => {
    expect((await detectSettings({ domain: "acme.example" }, world({ mx: ["notgoogle.com", "google.com.evil.example"] }))).preset).toBeNull();
  });

  test("reads SRV records by priority and weight, and what is not offered is not offered", async () => {
    const detected = await detectSettings(
      { domain: "acme.example" },
      world({
        mx: ["mx.acme.example"],
        srv: {
          "_imaps._tcp.acme.example": [
            record("second.acme.example", 993, 20),
            record("light.acme.example", 993, 10, 1),
            record("First.Acme.Example.", 9_993, 10, 5),
          ],
          "_imap._tcp.acme.example": [record(".", 0)],
          "_submission._tcp.acme.example": [record("smtp.acme.example", 587)],
        },
      }),
    );
    expect(detected).toMatchObject({
      preset: null,
      source: "srv",
      imap: { host: "first.acme.example", port: 9_993, security: "tls", source: "srv" },
      smtp: { host: "smtp.acme.example", port: 587, security: "starttls", source: "srv" },
    });
    expect(detected.alternatives.imap.map((server) => server.host)).toEqual([
      "light.acme.example",
      "second.acme.example",
      "imap.acme.example",
      "mail.acme.example",
    ]);
  });

  test("reads autoconfig, and says per server what it rests on", async () => {
    const detected = await detectSettings(
      { domain: "acme.example" },
      world({
        srv: { "_imaps._tcp.acme.example": [record("imap.acme.example", 993)] },
        web: {
          "https://acme.example/.well-known/autoconfig/mail/config-v1.1.xml": xml(
            incoming("pop3", "pop.acme.example", 995, "SSL") +
              incoming("imap", "in.%EMAILDOMAIN%", 993, "SSL", "%EMAILLOCALPART%") +
              outgoing("out.acme.example", 465, "SSL"),
          ),
        },
      }),
    );
    expect(detected.imap).toMatchObject({ host: "imap.acme.example", source: "srv" });
    expect(detected.smtp).toMatchObject({ host: "out.acme.example", source: "autoconfig" });
    expect(detected.alternatives.imap[0]).toEqual({
      host: "in.acme.example",
      port: 993,
      security: "tls",
      userName: "local-part",
      source: "autoconfig",
    });
  });

  test("guesses when nobody says anything, and says that it guessed", async () => {
    expect(await detectSettings({ domain: " Acme.Example. " }, world({}))).toMatchObject({
      domain: "acme.example",
      source: "guess",
      imap: { host: "imap.acme.example", port: 993, security: "tls", source: "guess" },
      smtp: { host: "smtp.acme.example", port: 465, source: "guess" },
    });
  });
});

describe("an autoconfig file", () => {
  test.each([
    ["no XML at all", "<html>404"],
    ["nothing", ""],
    ["another document", "<a><b/></a>"],
    ["no provider", "<clientConfig></clientConfig>"],
    ["a server without a port", xml("<incomingServer type='imap'><hostname>h</hostname><socketType>SSL</socketType></incomingServer>")],
    ["a server without encryption", xml(incoming("imap", "h.example", 143, "plain"))],
    ["a host that is none", xml(incoming("imap", "h.example/../x", 993, "SSL"))],
    ["a port beyond all ports", xml(incoming("imap", "h.example", 99_999, "SSL"))],
    ["entities that grow", `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>${xml(incoming("imap", "&b;", 993, "SSL"))}`],
  ])("with %s says nothing", (_name, text) => {
    expect(readAutoconfig(text, "acme.example")).toEqual([]);
  });
});

describe("fetchText", () => {
  test("goes nowhere that the resolver refuses", async () => {
    const refuse = () => Promise.reject(new MailError("private_address_refused", { doing: "resolving a host name" }));
    await expect(fetchText("https://127.0.0.1/x.xml", refuse)).rejects.toMatchObject({ code: "private_address_refused" });
  });

  test("does not speak http", async () => {
    const resolveHost = () => Promise.reject(new Error("it asked"));
    await expect(fetchText("http://acme.example/x.xml", resolveHost)).resolves.toBeUndefined();
  });
});
