import { describe, expect, test } from "vitest";
import { ZodError } from "zod";
import { imap } from "../../../providers/imap/index.ts";
import { connectSchema, merge, split } from "../../../providers/imap/settings.ts";

const email = "ann@example.org";

describe("connecting an IMAP mailbox", () => {
  test("takes TLS, the usual ports, and the address as the user name [row 76]", () => {
    const { settings, credentials } = split({ password: "pw", imap: { host: "IMAP.Example.org " }, smtp: { host: "smtp.example.org" } }, email);
    expect(settings.imap).toEqual({
      host: "imap.example.org",
      port: 993,
      security: "tls",
      username: email,
      allowSelfSigned: false,
      caCertificate: null,
    });
    expect(settings.smtp).toMatchObject({ port: 465, security: "tls", username: email });
    expect(credentials).toEqual({ password: "pw", smtpPassword: null, proxyPassword: null });
    expect(JSON.stringify(settings)).not.toContain("pw");
  });

  test.each([
    [{ port: 143 }, { port: 143, security: "starttls" }],
    [{ security: "starttls" }, { port: 143, security: "starttls" }],
    [{ port: 993 }, { port: 993, security: "tls" }],
    [
      { port: 10_993, security: "tls" },
      { port: 10_993, security: "tls" },
    ],
    [
      { security: "none", allowInsecure: true },
      { port: 143, security: "none" },
    ],
  ])("matches port and security: %o", (given, expected) => {
    expect(split({ password: "pw", imap: { host: "h.example", ...given } }, email).settings.imap).toMatchObject(expected);
  });

  test("fills everything from a preset, each server with its own form of user name", () => {
    const { settings } = split({ preset: "icloud", password: "pw" }, "ann@icloud.com");
    expect(settings).toMatchObject({
      preset: "icloud",
      imap: { host: "imap.mail.me.com", username: "ann" },
      smtp: { host: "smtp.mail.me.com", port: 587, security: "starttls", username: "ann@icloud.com" },
      connectionsMax: 3,
    });
  });

  test("puts what is given over the preset", () => {
    const { settings } = split({ preset: "gmail", password: "pw", username: "bob", imap: { host: "imap.other.example" }, smtp: null }, email);
    expect(settings).toMatchObject({ imap: { host: "imap.other.example", port: 993, username: "bob" }, smtp: null });
  });

  test.each([
    ["an empty password [row 76]", { password: "", imap: { host: "h.example" } }, "password"],
    ["no host and no preset", { password: "pw" }, "imap.host"],
    ["no encryption without saying so [row 76]", { password: "pw", imap: { host: "h.example", security: "none" } }, "imap.allowInsecure"],
    ["a URL for a host", { password: "pw", imap: { host: "imaps://h.example" } }, "imap.host"],
    ["a port beyond all ports", { password: "pw", imap: { host: "h.example", port: 65_536 } }, "imap.port"],
    ["an unknown preset", { password: "pw", preset: "nobody" }, "preset"],
    ["a certificate that is none", { password: "pw", imap: { host: "h.example", caCertificate: "x" } }, "imap.caCertificate"],
    ["an empty SMTP password", { password: "pw", imap: { host: "h.example" }, smtp: { host: "s.example", password: "" } }, "smtp.password"],
  ])("names the member when it refuses %s", (_name, input, path) => {
    try {
      split(input, email);
    } catch (error) {
      expect(error).toBeInstanceOf(ZodError);
      expect((error as ZodError).issues.map((issue) => issue.path.join("."))).toContain(path);
      return;
    }
    throw new Error("it was accepted");
  });

  test("refuses members that it does not know", () => {
    expect(connectSchema.safeParse({ password: "pw", imap: { host: "h.example" }, passwrod: "x" }).success).toBe(false);
    expect(connectSchema.safeParse({ password: "pw", imap: { host: "h.example", tls: true } }).success).toBe(false);
  });

  test("has a schema that others may extend", () => {
    expect(imap.connectSchema.partial().safeParse({}).success).toBe(true);
    expect(imap.connectSchema.extend({ password: imap.connectSchema.shape.password }).safeParse({ password: "x" }).success).toBe(true);
  });
});

describe("changing stored settings", () => {
  const stored = split({ password: "old", imap: { host: "imap.example.org" }, smtp: { host: "smtp.example.org", password: "smtp old" } }, email);

  test("changes only the password when only that is given", () => {
    const changed = merge(stored, { password: "new" }, email);
    expect(changed.settings).toEqual(stored.settings);
    expect(changed.credentials).toEqual({ password: "new", smtpPassword: "smtp old", proxyPassword: null });
  });

  test("moves to the usual port with the security, and keeps a port of one's own otherwise", () => {
    expect(merge(stored, { imap: { security: "starttls" } }, email).settings.imap).toMatchObject({ port: 143, host: "imap.example.org" });
    const own = merge(stored, { imap: { port: 1_993, security: "tls" } }, email);
    expect(merge(own, { password: "new", imap: { host: "other.example" } }, email).settings.imap).toMatchObject({
      host: "other.example",
      port: 1_993,
    });
  });

  test("takes sending away and gives it back", () => {
    const without = merge(stored, { smtp: null }, email);
    expect(without.settings.smtp).toBeNull();
    expect(without.credentials.smtpPassword).toBeNull();
    expect(merge(without, { password: "new", smtp: { host: "s.example" } }, email).settings.smtp).toMatchObject({
      host: "s.example",
      port: 465,
      username: email,
    });
  });

  test("begins anew with a preset", () => {
    expect(merge(stored, { preset: "fastmail", password: "new" }, email).settings).toMatchObject({
      preset: "fastmail",
      imap: { host: "imap.fastmail.com" },
      connectionsMax: 5,
    });
  });

  test.each([
    ["another IMAP host", { imap: { host: "other.example" } }, "password"],
    ["another IMAP host, with a password for SMTP only", { imap: { host: "other.example" }, smtp: { password: "new" } }, "password"],
    ["another preset", { preset: "fastmail" }, "password"],
    ["another SMTP host", { smtp: { host: "other.example" } }, "smtp.password"],
    ["another SMTP host, with a password for IMAP only", { password: "new", smtp: { host: "other.example" } }, "smtp.password"],
  ])("sends no stored password to %s", (_what, changes, path) => {
    expect(() => merge(stored, changes, email)).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ path: path.split("."), message: expect.stringContaining("needed again") })] }),
    );
  });

  test("sends no stored password to a first SMTP host that is not the IMAP server's", () => {
    const receivingOnly = merge(stored, { smtp: null }, email);
    expect(() => merge(receivingOnly, { smtp: { host: "other.example" } }, email)).toThrow(ZodError);
    expect(merge(receivingOnly, { smtp: { host: "imap.example.org" } }, email).settings.smtp).toMatchObject({ host: "imap.example.org" });
    const own = merge(receivingOnly, { smtp: { host: "other.example", password: "new" } }, email);
    expect(own.credentials).toEqual({ password: "old", smtpPassword: "new", proxyPassword: null });
  });

  test("forgets the SMTP password with the preset that it was for", () => {
    expect(merge(stored, { preset: "fastmail", password: "new" }, email).credentials).toEqual({
      password: "new",
      smtpPassword: null,
      proxyPassword: null,
    });
  });

  test("still refuses to send the password in the clear by oversight", () => {
    expect(() => merge(stored, { imap: { security: "none" } }, email)).toThrow(ZodError);
  });
});

describe("a proxy", () => {
  const server = { password: "pw", imap: { host: "imap.example.org" }, smtp: null };
  const proxy = { type: "socks5", host: "way.example", port: 1080, username: "ann", password: "proxy pw" };
  const stored = split({ ...server, proxy }, email);
  const straight = split(server, email);

  test("is stored with its user name, and its password apart from what is shown", () => {
    expect(stored.settings.proxy).toEqual({ type: "socks5", host: "way.example", port: 1080, username: "ann" });
    expect(stored.credentials).toEqual({ password: "pw", smtpPassword: null, proxyPassword: "proxy pw" });
    expect(straight).toMatchObject({ settings: { proxy: null }, credentials: { proxyPassword: null } });
  });

  test("is changed member by member, survives a new preset, and null takes it away", () => {
    const moved = merge(stored, { proxy: { port: 1081 } }, email);
    expect(moved.settings.proxy).toEqual({ type: "socks5", host: "way.example", port: 1081, username: "ann" });
    expect(moved.credentials.proxyPassword).toBe("proxy pw");
    expect(merge(stored, { preset: "fastmail", password: "new" }, email).settings.proxy).toEqual(stored.settings.proxy);
    expect(merge(stored, { connectionsMax: 2 }, email).credentials.proxyPassword).toBe("proxy pw");
    const without = merge(stored, { proxy: null }, email);
    expect([without.settings.proxy, without.credentials.proxyPassword]).toEqual([null, null]);
  });

  test("is added to settings from before there were proxies", () => {
    const { proxy: _proxy, ...settings } = straight.settings;
    const { proxyPassword: _password, ...credentials } = straight.credentials;
    expect(merge({ settings, credentials }, { proxy }, email)).toEqual(stored);
    expect(merge({ settings, credentials }, { connectionsMax: 2 }, email).settings.proxy).toBeNull();
  });

  test("keeps no password without a user name, or for a protocol that has none", () => {
    expect(merge(stored, { proxy: { username: null } }, email).credentials.proxyPassword).toBeNull();
    expect(merge(stored, { proxy: { type: "socks4" } }, email).credentials.proxyPassword).toBeNull();
  });

  test.each([
    ["no type", { host: "way.example", port: 1080 }, "proxy.type"],
    ["no host", { type: "http", port: 8080 }, "proxy.host"],
    ["no port", { type: "http", host: "way.example" }, "proxy.port"],
    ["a protocol nobody knows", { ...proxy, type: "https" }, "proxy.type"],
    ["a URL for a host", { ...proxy, host: "socks5://way.example" }, "proxy.host"],
    ["a password without a user name", { ...proxy, username: undefined }, "proxy.username"],
    ["a password for SOCKS4", { ...proxy, type: "socks4" }, "proxy.password"],
    ["a password that is too long for SOCKS5", { ...proxy, password: "ü".repeat(128) }, "proxy.password"],
    ["a user name with a line break", { ...proxy, username: "ann\r\nHost: x" }, "proxy.username"],
    ["an HTTP user name with a colon", { ...proxy, type: "http", username: "a:b" }, "proxy.username"],
  ])("is refused with %s, and the member named", (_name, given, path) => {
    expect(() => split({ ...server, proxy: given }, email)).toThrow(
      expect.objectContaining({ issues: expect.arrayContaining([expect.objectContaining({ path: path.split(".") })]) }),
    );
  });

  test("on another host is not sent the stored proxy password", () => {
    expect(() => merge(stored, { proxy: { host: "other.example" } }, email)).toThrow(
      expect.objectContaining({
        issues: [expect.objectContaining({ path: ["proxy", "password"], message: expect.stringContaining("needed again") })],
      }),
    );
    const moved = merge(stored, { proxy: { host: "other.example", password: "new" } }, email);
    expect(moved).toMatchObject({ settings: { proxy: { host: "other.example" } }, credentials: { password: "pw", proxyPassword: "new" } });
  });

  test.each([
    ["no encryption", { security: "none", allowInsecure: true }],
    ["any certificate", { allowSelfSigned: true }],
    ["a certificate authority of one's own", { caCertificate: "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----" }],
  ])("is not sent a stored mail password where it could read it: %s", (_name, weak) => {
    const weakServer = split({ ...server, imap: { ...server.imap, ...weak } }, email);
    expect(() => merge(weakServer, { proxy }, email)).toThrow(expect.objectContaining({ issues: [expect.objectContaining({ path: ["password"] })] }));
    expect(() => merge(stored, { imap: weak }, email)).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ path: ["password"] })] }),
    );
    expect(merge(weakServer, { proxy, password: "again" }, email).settings.proxy).toEqual(stored.settings.proxy);
    // Neither the proxy that is there, nor taking it away, shows the password to anybody new.
    const both = split({ ...server, imap: { ...server.imap, ...weak }, proxy }, email);
    expect(merge(both, { proxy: { port: 1081 } }, email).settings.proxy?.port).toBe(1081);
    expect(merge(both, { proxy: null }, email).settings.proxy).toBeNull();
  });

  test("is not sent a stored SMTP password either where it could read it", () => {
    const smtp = { host: "smtp.example.org", password: "smtp pw", allowSelfSigned: true };
    const sending = split({ ...server, smtp }, email);
    expect(() => merge(sending, { proxy, password: "again" }, email)).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ path: ["smtp", "password"] })] }),
    );
    expect(merge(sending, { proxy, smtp: { password: "again" } }, email).settings.proxy).toEqual(stored.settings.proxy);
  });
});
