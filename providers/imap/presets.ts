import { domainOf } from "../../domain/address.ts";

/** How a server is reached: TLS from the first byte, TLS after STARTTLS, or in the clear (only where the owner insists). */
export const securities = ["tls", "starttls", "none"] as const;
export type Security = (typeof securities)[number];

export interface PresetServer {
  readonly host: string;
  readonly port: number;
  readonly security: Security;
  /** What the server takes as the user name: the whole address, or what stands before the `@`. */
  readonly userName: "address" | "local-part";
}

/** How a provider lets mail programs in. `oauth` alone means that no password opens it by this protocol. */
export type AuthKind = "password" | "app-password" | "oauth";

export interface Preset {
  readonly name: string;
  readonly displayName: string;
  readonly imap: PresetServer;
  readonly smtp: PresetServer;
  readonly auth: readonly AuthKind[];
  /** Where an owner makes an app password or switches IMAP on. */
  readonly helpUrl: string | null;
  /** Domains of the provider's own addresses. */
  readonly domains: readonly string[];
  /** Suffixes of the MX hosts of domains that it serves. */
  readonly mx: readonly string[];
  /** Connections that one account may hold, all of ours together; below the provider's own limit, because the owner's programs need some too. */
  readonly connectionsMax: number;
  /** True where SMTP files the sent copy by itself, so that an APPEND would make a second one. */
  readonly savesSentCopy: boolean;
}

const address = "address" as const;

function tls(host: string, port: number, userName: PresetServer["userName"] = address): PresetServer {
  return { host, port, security: "tls", userName };
}

function starttls(host: string, port: number, userName: PresetServer["userName"] = address): PresetServer {
  return { host, port, security: "starttls", userName };
}

function zoho(name: string, region: string, domain: string, domains: readonly string[]): Preset {
  return {
    name,
    displayName: `Zoho Mail (${region})`,
    imap: tls(`imap.${domain}`, 993),
    smtp: tls(`smtp.${domain}`, 465),
    auth: ["app-password", "password"],
    helpUrl: "https://www.zoho.com/mail/help/imap-access.html",
    domains,
    mx: [`.${domain}`],
    connectionsMax: 3,
    savesSentCopy: true,
  };
}

/**
 * The providers whose settings need not be typed. A line belongs here when the provider publishes it; `connectionsMax` is ours and cautious.
 */
export const presets: readonly Preset[] = [
  {
    name: "gmail",
    displayName: "Google Workspace / Gmail",
    imap: tls("imap.gmail.com", 993),
    smtp: tls("smtp.gmail.com", 465),
    auth: ["oauth", "app-password"],
    helpUrl: "https://myaccount.google.com/apppasswords",
    domains: ["gmail.com", "googlemail.com"],
    mx: [".google.com", ".googlemail.com"],
    connectionsMax: 5,
    savesSentCopy: true,
  },
  {
    name: "microsoft365",
    displayName: "Microsoft 365",
    imap: tls("outlook.office365.com", 993),
    smtp: starttls("smtp.office365.com", 587),
    auth: ["oauth"],
    helpUrl: "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/deprecation-of-basic-authentication-exchange-online",
    domains: [],
    mx: [".mail.protection.outlook.com", ".mx.microsoft"],
    connectionsMax: 4,
    savesSentCopy: true,
  },
  {
    name: "outlook",
    displayName: "Outlook.com",
    imap: tls("outlook.office365.com", 993),
    smtp: starttls("smtp-mail.outlook.com", 587),
    auth: ["oauth"],
    helpUrl: "https://support.microsoft.com/office/pop-imap-and-smtp-settings-for-outlook-com-d088b986-291d-42b8-9564-9c414e2aa040",
    domains: [
      "outlook.com",
      "hotmail.com",
      "live.com",
      "msn.com",
      "outlook.de",
      "outlook.fr",
      "hotmail.co.uk",
      "hotmail.de",
      "hotmail.fr",
      "live.de",
    ],
    mx: [".olc.protection.outlook.com"],
    connectionsMax: 4,
    savesSentCopy: true,
  },
  {
    name: "yahoo",
    displayName: "Yahoo Mail",
    imap: tls("imap.mail.yahoo.com", 993),
    smtp: tls("smtp.mail.yahoo.com", 465),
    auth: ["oauth", "app-password"],
    helpUrl: "https://login.yahoo.com/account/security",
    domains: ["yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "yahoo.it", "yahoo.es", "ymail.com", "rocketmail.com"],
    mx: [".yahoodns.net"],
    connectionsMax: 3,
    savesSentCopy: true,
  },
  {
    name: "aol",
    displayName: "AOL Mail",
    imap: tls("imap.aol.com", 993),
    smtp: tls("smtp.aol.com", 465),
    auth: ["oauth", "app-password"],
    helpUrl: "https://login.aol.com/account/security",
    domains: ["aol.com", "aim.com", "aol.co.uk", "aol.de", "aol.fr"],
    mx: [".mail.aol.com"],
    connectionsMax: 3,
    savesSentCopy: true,
  },
  {
    name: "icloud",
    displayName: "iCloud Mail",
    imap: tls("imap.mail.me.com", 993, "local-part"),
    smtp: starttls("smtp.mail.me.com", 587),
    auth: ["app-password"],
    helpUrl: "https://support.apple.com/102654",
    domains: ["icloud.com", "me.com", "mac.com"],
    mx: [".mail.icloud.com"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  zoho("zoho", "global", "zoho.com", ["zoho.com", "zohomail.com"]),
  zoho("zoho-eu", "Europe", "zoho.eu", ["zohomail.eu", "zoho.eu"]),
  zoho("zoho-in", "India", "zoho.in", ["zohomail.in", "zoho.in"]),
  zoho("zoho-au", "Australia", "zoho.com.au", ["zohomail.com.au"]),
  zoho("zoho-jp", "Japan", "zoho.jp", ["zohomail.jp"]),
  zoho("zoho-ca", "Canada", "zohocloud.ca", ["zohomail.ca"]),
  {
    name: "fastmail",
    displayName: "Fastmail",
    imap: tls("imap.fastmail.com", 993),
    smtp: tls("smtp.fastmail.com", 465),
    auth: ["oauth", "app-password"],
    helpUrl: "https://app.fastmail.com/settings/security/tokens",
    domains: ["fastmail.com", "fastmail.fm", "messagingengine.com", "sent.com", "fastmail.de", "fastmail.co.uk"],
    mx: [".messagingengine.com"],
    connectionsMax: 5,
    savesSentCopy: false,
  },
  {
    name: "gmx",
    displayName: "GMX",
    imap: tls("imap.gmx.com", 993),
    smtp: tls("mail.gmx.com", 465),
    auth: ["password", "app-password"],
    helpUrl: "https://support.gmx.com/pop-imap/toggle.html",
    domains: ["gmx.com", "gmx.us", "gmx.co.uk", "gmx.fr", "gmx.es"],
    mx: [".gmx.com"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "gmx-net",
    displayName: "GMX (Deutschland, Österreich, Schweiz)",
    imap: tls("imap.gmx.net", 993),
    smtp: tls("mail.gmx.net", 465),
    auth: ["password", "app-password"],
    helpUrl: "https://hilfe.gmx.net/pop-imap/einschalten.html",
    domains: ["gmx.net", "gmx.de", "gmx.at", "gmx.ch"],
    mx: [".gmx.net"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "web.de",
    displayName: "WEB.DE",
    imap: tls("imap.web.de", 993),
    smtp: starttls("smtp.web.de", 587),
    auth: ["password", "app-password"],
    helpUrl: "https://hilfe.web.de/pop-imap/einschalten.html",
    domains: ["web.de", "email.de"],
    mx: [".web.de"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "ionos",
    displayName: "IONOS",
    imap: tls("imap.ionos.com", 993),
    smtp: tls("smtp.ionos.com", 465),
    auth: ["password"],
    helpUrl: "https://www.ionos.com/help/email/",
    domains: [],
    mx: [".ionos.com"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "ionos-de",
    displayName: "IONOS (Deutschland)",
    imap: tls("imap.ionos.de", 993),
    smtp: tls("smtp.ionos.de", 465),
    auth: ["password"],
    helpUrl: "https://www.ionos.de/hilfe/e-mail/",
    domains: ["online.de"],
    mx: [".ionos.de", ".kundenserver.de"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "t-online",
    displayName: "Telekom (t-online.de)",
    imap: tls("secureimap.t-online.de", 993),
    smtp: tls("securesmtp.t-online.de", 465),
    auth: ["app-password"],
    helpUrl: "https://account.idm.telekom.com/account-manager/",
    domains: ["t-online.de", "magenta.de"],
    mx: [".t-online.de"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "yandex",
    displayName: "Yandex Mail",
    imap: tls("imap.yandex.com", 993),
    smtp: tls("smtp.yandex.com", 465),
    auth: ["app-password"],
    helpUrl: "https://id.yandex.com/security/app-passwords",
    domains: ["yandex.com", "yandex.ru", "ya.ru", "yandex.by", "yandex.kz"],
    mx: [".yandex.net", ".yandex.ru"],
    connectionsMax: 3,
    savesSentCopy: true,
  },
  {
    name: "mail.ru",
    displayName: "Mail.ru",
    imap: tls("imap.mail.ru", 993),
    smtp: tls("smtp.mail.ru", 465),
    auth: ["app-password"],
    helpUrl: "https://account.mail.ru/user/2-step-auth/passwords",
    domains: ["mail.ru", "inbox.ru", "list.ru", "bk.ru"],
    mx: [".mail.ru"],
    connectionsMax: 3,
    savesSentCopy: true,
  },
  {
    name: "mailbox.org",
    displayName: "mailbox.org",
    imap: tls("imap.mailbox.org", 993),
    smtp: tls("smtp.mailbox.org", 465),
    auth: ["password", "app-password"],
    helpUrl: "https://kb.mailbox.org/",
    domains: ["mailbox.org"],
    mx: [".mailbox.org"],
    connectionsMax: 4,
    savesSentCopy: false,
  },
  {
    name: "posteo",
    displayName: "Posteo",
    imap: tls("posteo.de", 993),
    smtp: tls("posteo.de", 465),
    auth: ["password"],
    helpUrl: "https://posteo.de/help",
    domains: ["posteo.de", "posteo.net", "posteo.org"],
    mx: [".posteo.de"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "orange",
    displayName: "Orange",
    imap: tls("imap.orange.fr", 993),
    smtp: tls("smtp.orange.fr", 465),
    auth: ["password"],
    helpUrl: "https://assistance.orange.fr/",
    domains: ["orange.fr", "wanadoo.fr"],
    mx: [".orange.fr"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
  {
    name: "comcast",
    displayName: "Xfinity (Comcast)",
    imap: tls("imap.comcast.net", 993),
    smtp: tls("smtp.comcast.net", 465),
    auth: ["password"],
    helpUrl: "https://www.xfinity.com/support/articles/email-client-programs-with-xfinity-email",
    domains: ["comcast.net"],
    mx: [".comcast.net"],
    connectionsMax: 3,
    savesSentCopy: false,
  },
];

/** The name under which every setting is given by hand. */
export const customPreset = "custom";

export function findPreset(name: string | null | undefined): Preset | undefined {
  return presets.find((preset) => preset.name === name);
}

/** The preset of a provider's own addresses, by the address or its domain. */
export function findPresetByDomain(emailOrDomain: string): Preset | undefined {
  const domain = emailOrDomain.includes("@") ? domainOf(emailOrDomain) : emailOrDomain.toLowerCase();
  return presets.find((preset) => preset.domains.includes(domain));
}

/** The preset of the provider that takes in a domain's mail. Longer suffixes first: `olc.protection.outlook.com` is not Microsoft 365. */
export function findPresetByMx(hosts: readonly string[]): Preset | undefined {
  const suffixes = presets.flatMap((preset) => preset.mx.map((suffix) => ({ preset, suffix }))).toSorted((a, b) => b.suffix.length - a.suffix.length);
  for (const host of hosts) {
    const dotted = `.${host.toLowerCase().replace(/\.$/, "")}`;
    const found = suffixes.find(({ suffix }) => dotted.endsWith(suffix));
    if (found !== undefined) return found.preset;
  }
  return undefined;
}

/** The user name that a preset's server wants for this address. */
export function userNameFor(server: Pick<PresetServer, "userName">, email: string): string {
  const at = email.lastIndexOf("@");
  return server.userName === "local-part" && at > 0 ? email.slice(0, at) : email;
}
