import { queryObjects } from "node:v8";
import { describe, expect, test } from "vitest";
import { MailError, type MailErrorCode } from "../../../domain/errors.ts";
import type { ChangePage, SyncCursor } from "../../../domain/sync.ts";
import { defaultPatience } from "../../../providers/imap/connection.ts";
import type { MailProvider, WatchOptions } from "../../../providers/provider.ts";
import { createMirror } from "../../contract/mirror.ts";
import { type Fault, honestly, type MisbehavingImap, scriptedFolder } from "../../helpers/misbehaving-imap.ts";
import type { Reply } from "../../helpers/scripted-server.ts";
import { until } from "../../helpers/wait.ts";
import { inbox, open, serve, settled, without } from "./opened.ts";

/** Small figures of what is minutes in earnest. */
const patience = { connectMs: 400, signInMs: 800, silenceMs: 600, callMs: 1_000, aliveEveryMs: 500, answerMs: 300 };
/** Twice a call's time, because what was lost on a connection that had been left alone is asked for once more, and a good deal for a busy machine. */
const deadlineMs = 8_000;

/** How a call ended: the code that it failed with, or how many messages it listed and skipped. */
async function outcomeOf(call: Promise<ChangePage>): Promise<string> {
  const startedAt = performance.now();
  try {
    const { added, skipped } = await call;
    return `${added.length} listed, ${skipped.length} skipped`;
  } catch (error) {
    expect(error).toBeInstanceOf(MailError);
    return (error as MailError).code;
  } finally {
    expect(performance.now() - startedAt).toBeLessThan(deadlineMs);
  }
}

/** What a server owes after a fault: the next call works, and no connection but the one it uses is open. */
async function expectRecovery(server: MisbehavingImap, provider: MailProvider, added = 20): Promise<void> {
  server.fault = undefined;
  const mirror = createMirror(provider, inbox);
  await mirror.settle();
  expect(mirror.messages.size).toBe(added);
  await until(() => server.open <= 2, "broken connections to be closed");
}

const on =
  (verb: string, reply: (honest: string) => Reply): Fault =>
  (command, honest) =>
    command.verb === verb ? reply(honest()) : honestly;

describe("a page of messages", () => {
  const inFetch: readonly (readonly [what: string, outcome: string, reply: (honest: string) => Reply])[] = [
    ["that breaks off", "unavailable", (honest) => ({ said: honest.slice(0, honest.length / 2), thenHangUp: true })],
    ["that never comes", "unavailable", () => undefined],
    ["that comes a byte at a time", "connection_timeout", (honest) => ({ said: honest, byteEveryMs: 100 })],
    ["that is garbage", "unavailable", () => `${'\x00\xff{)\\"('.repeat(400)}\r\n`],
    ["that ends in garbage", "unavailable", (honest) => `${honest.slice(0, 900)}\r\n((((\r\n`],
    ["whose literal is longer than it says", "20 listed, 0 skipped", (honest) => honest.replaceAll(/\{\d+\}/g, "{0}")],
    ["whose literal is shorter than it says", "unavailable", (honest) => honest.replace(/\{\d+\}/, "{100000}")],
    ["whose literal is larger than all mail", "invalid_response", (honest) => honest.replace(/\{\d+\}/, "{99999999999}")],
    ["that is refused for the quota", "quota_exceeded", () => "{tag} NO [OVERQUOTA] Mailbox is full\r\n"],
    ["that is refused for its pace", "rate_limited", () => "{tag} NO [THROTTLED] slow down\r\n"],
    ["that is refused for the time being", "0 listed, 20 skipped", () => "{tag} NO [UNAVAILABLE] backend is away\r\n"],
    ["that is refused as misunderstood", "0 listed, 20 skipped", () => "{tag} BAD what?\r\n"],
    ["in whose place the server says goodbye", "unavailable", () => ({ said: "* BYE shutting down\r\n", thenHangUp: true })],
    ["in whose place the server says goodbye and stays [row 61]", "unavailable", () => "* BYE Autologout; idle for too long\r\n".repeat(3)],
  ];

  test.each(inFetch)("%s ends in time, and the next call works", async (_what, outcome, reply) => {
    const server = await serve();
    const provider = open(server, { patience });
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 100 });
    server.append("INBOX", 20);
    server.fault = on("UID FETCH", reply);
    expect(await outcomeOf(provider.pullChanges(inbox, cursor, { limit: 100 }))).toBe(outcome);
    await expectRecovery(server, provider);
  });
});

describe("signing in", () => {
  const bye = (said: string) => ({ said: `* BYE ${said}\r\n`, thenHangUp: true });
  const atGreeting: readonly (readonly [what: string, code: MailErrorCode, greeting: Reply])[] = [
    ["is ended by a BYE in place of a greeting", "unavailable", bye("[UNAVAILABLE] down for maintenance")],
    ["is told of too many connections in place of a greeting [row 64]", "too_many_connections", bye("Too many connections from your host")],
    ["ends when nothing is said", "connection_timeout", undefined],
    ["ends when everything is said a byte at a time", "connection_timeout", { said: `* OK ${"ready ".repeat(100)}\r\n`, byteEveryMs: 50 }],
    ["ends at garbage that nothing follows", "connection_timeout", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["ends when the connection does", "unavailable", null],
  ];
  test.each(atGreeting)("%s, in time, with a code of the catalogue", async (_what, code, greeting) => {
    const server = await serve({ greeting });
    expect(await outcomeOf(open(server, { patience }).pullChanges(inbox, undefined, { limit: 10 }))).toBe(code);
    await until(() => server.open === 0, "the connection to be closed");
  });

  const atLogin: readonly (readonly [said: string, code: MailErrorCode])[] = [
    ["* BYE Autologout\r\n", "unavailable"],
    ["* BYE [UNAVAILABLE] restarting\r\n{tag} NO gone\r\n", "unavailable"],
    ["{tag} NO [ALERT] Please log in via your web browser\r\n", "account_disabled"],
    ["* OK [ALERT] Your password expires\r\n{tag} NO [AUTHENTICATIONFAILED] no\r\n", "authentication_failed"],
    ["{tag} NO [OVERQUOTA] Mailbox is full\r\n", "quota_exceeded"],
    ["{tag} NO [THROTTLED] Too fast\r\n", "rate_limited"],
    ["{tag} NO [UNAVAILABLE] Backend is away\r\n", "unavailable"],
    ["{tag} NO [LIMIT] Too many simultaneous connections\r\n", "too_many_connections"],
    ["{tag} NO [INUSE] Another session holds the mailbox\r\n", "too_many_connections"],
  ];
  test.each(atLogin)("that is answered %j is a failure of its own kind, and works when the server does [row 64]", async (said, code) => {
    const server = await serve();
    server.fault = ({ verb }) => (verb === "LOGIN" || verb === "AUTHENTICATE" ? said : honestly);
    const provider = open(server, { patience });
    expect(await outcomeOf(provider.pullChanges(inbox, undefined, { limit: 10 }))).toBe(code);
    await until(() => server.open === 0, "the connection to be closed");
    server.fault = undefined;
    await expect(provider.pullChanges(inbox, undefined, { limit: 10 })).resolves.toMatchObject({ reset: true });
  });
});

describe("connections that break", () => {
  test("at any moment, in use or at rest, are nobody's uncaught error [row 62]", async () => {
    const uncaught: unknown[] = [];
    const listener = (error: unknown) => uncaught.push(error);
    process.on("uncaughtExceptionMonitor", listener);
    const server = await serve();
    server.append("INBOX", 5);
    for (const verb of ["CAPABILITY", "LOGIN", "NAMESPACE", "ENABLE", "EXAMINE", "UID FETCH", "LOGOUT"]) {
      const provider = open(server, { patience });
      const { historyCursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
      server.cut();
      server.fault = (command) => {
        if (command.verb !== verb) return honestly;
        server.cut();
        return null;
      };
      await provider.pullHistory(inbox, historyCursor ?? {}, { limit: 10 }).catch((error: unknown) => expect(error).toBeInstanceOf(MailError));
      await provider.close();
      server.fault = undefined;
      await expectRecovery(server, open(server, { patience }), 5);
    }
    process.off("uncaughtExceptionMonitor", listener);
    expect(uncaught).toEqual([]);
  });

  test("by an answer that does not come leave the next call to work, again and again [row 75]", async () => {
    const server = await serve();
    const provider = open(server, { patience });
    for (const verb of ["EXAMINE", "UID FETCH", "STATUS", "LIST"] as const) {
      const known = (await provider.pullChanges(inbox, undefined, { limit: 10 })).cursor;
      const [ref] = server.append("INBOX");
      server.fault = (command) => (command.verb === verb ? undefined : honestly);
      const calls = { EXAMINE: pull, "UID FETCH": pull, STATUS: check, LIST: () => provider.listFolders() };
      const startedAt = performance.now();
      await expect(calls[verb](provider, known)).rejects.toMatchObject({ name: "MailError", code: "unavailable" });
      expect(performance.now() - startedAt).toBeLessThan(deadlineMs);
      server.fault = undefined;
      expect((await pull(provider, known)).added.map((message) => message.ref)).toEqual([String(ref)]);
    }
  });

  const pull = (provider: MailProvider, cursor: SyncCursor) => provider.pullChanges(inbox, cursor, { limit: 10 });
  const check = (provider: MailProvider, cursor: SyncCursor) => provider.checkScopes(new Map([["INBOX", cursor]]));
});

describe("a watch", () => {
  /** Watches until the connection ends; resolves to what it ended with. */
  function watching(provider: MailProvider, more: Partial<WatchOptions> = {}) {
    const alive = { times: 0 };
    const options: WatchOptions = {
      scope: inbox,
      knownCursors: async () => new Map(),
      checkEveryMs: 86_400_000,
      onChange: () => {},
      onAlive: () => {
        alive.times += 1;
      },
      signal: new AbortController().signal,
      ...more,
    };
    const ended = provider.watch(options).then(
      () => undefined,
      (error: unknown) => error,
    );
    return { ended, alive };
  }

  test("that is never told that its connection is dead finds out within five minutes [row 59]", async () => {
    expect(defaultPatience.aliveEveryMs + defaultPatience.answerMs).toBeLessThanOrEqual(5 * 60_000);
    const server = await serve();
    const { ended, alive } = watching(open(server, { patience }));
    await until(() => server.heard.some((line) => line.endsWith(" IDLE")), "the watch to idle");
    const before = alive.times;
    server.goSilent();
    const silentAt = performance.now();
    expect(await ended).toMatchObject({ name: "MailError", code: "unavailable" });
    expect(performance.now() - silentAt).toBeLessThan(patience.aliveEveryMs + patience.answerMs + 2_000);
    expect(alive.times).toBe(before);
  });

  test("keeps nothing of the times that others read on its connection, however long it goes on", async () => {
    const server = await serve();
    const provider = open(server);
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    const control = new AbortController();
    const { ended } = watching(provider, { signal: control.signal });
    const idles = () => server.heard.filter((line) => line.endsWith(" IDLE")).length;
    const readTimes = async (times: number) => {
      for (let n = 0; n < times; n += 1) {
        const before = idles();
        await provider.pullChanges(inbox, cursor, { limit: 10 });
        await until(() => idles() > before, "the watch to idle again");
      }
    };
    await until(() => idles() > 0, "the watch to idle");
    await readTimes(10);
    const before = queryObjects(Promise, { format: "count" });
    await readTimes(30);
    expect(queryObjects(Promise, { format: "count" }) - before).toBeLessThan(30);
    control.abort();
    expect(await ended).toBeUndefined();
  }, 60_000);

  test.each([
    ["a page", "UID FETCH", (provider: MailProvider, known: SyncCursor) => provider.pullChanges(inbox, known, { limit: 10 })],
    ["its state", "STATUS", (provider: MailProvider, known: SyncCursor) => provider.checkScopes(new Map([["INBOX", known]]))],
  ])(
    "is not blamed on the folder when an answer to those who ask for %s on its connection breaks it",
    async (_what, verb, ask) => {
      const server = await serve({ capabilities: without("LIST-STATUS") });
      const provider = open(server);
      const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
      const { ended } = watching(provider);
      await until(() => server.heard.some((line) => line.endsWith(" IDLE")), "the watch to idle");
      await provider.pullChanges(inbox, cursor, { limit: 10 });
      server.fault = (command) => (command.verb === verb ? { said: "* 20 EXISTS\r\n".repeat(4_000), times: Number.POSITIVE_INFINITY } : honestly);
      server.append("INBOX");
      await expect(ask(provider, cursor)).rejects.toMatchObject({ name: "MailError", code: "invalid_response" });
      expect(provider.isUsable()).toBe(false);
      expect(await ended).toMatchObject({ name: "MailError" });
    },
    60_000,
  );

  test("proves its connection alive however seldom folders are asked about", async () => {
    const server = await serve();
    const control = new AbortController();
    const { ended, alive } = watching(open(server, { patience: { ...patience, aliveEveryMs: 50, answerMs: 5_000 } }), { signal: control.signal });
    await until(() => alive.times > 3, "several proofs of life");
    control.abort();
    expect(await ended).toBeUndefined();
  });

  test.each([
    ["a BYE that is repeated and never followed by the end [row 61]", "* BYE Autologout; idle for too long\r\n".repeat(5)],
    ["an end without a word [row 60]", null],
    ["a BYE with a reason", { said: "* BYE [UNAVAILABLE] restarting\r\n", thenHangUp: true }],
  ])("ends at once at %s", async (_what, said) => {
    const server = await serve();
    const provider = open(server, { patience: { ...patience, aliveEveryMs: 60_000 } });
    const { ended } = watching(provider);
    await until(() => server.heard.some((line) => line.endsWith(" IDLE")), "the watch to idle");
    server.say(said);
    expect(await ended).toMatchObject({ name: "MailError", code: "unavailable" });
    await until(() => server.open === 0, "the connection to be closed");
  });
});

describe("what a listing rests on", () => {
  test("is UIDs, never counts or sequence numbers [row 50]", async () => {
    const server = await serve({ folders: [scriptedFolder("INBOX", { uids: [100, 2_000, 30_000], uidNext: 4_000_000 })] });
    const { mirror } = await settled(server);
    expect(mirror.listed).toEqual(["30000", "2000", "100"]);
    server.expunge("INBOX", [100, 2_000]);
    server.append("INBOX", 2);
    await mirror.settle();
    expect([...mirror.messages.keys()]).toEqual(["30000", "4000000", "4000001"]);
  });

  test("is a mod-sequence although no text follows it [row 52]", async () => {
    const server = await serve();
    server.append("INBOX", 3);
    server.fault = on("EXAMINE", (honest) => honest.replace(/(HIGHESTMODSEQ \d+\]) highest/, "$1"));
    const { mirror } = await settled(server);
    expect(mirror.cursor).toMatchObject({ modseq: "4" });
    server.setFlags("INBOX", 2, ["\\Seen"]);
    await mirror.settle();
    expect(mirror.messages.get("2")?.flags).toEqual(["seen"]);
  });

  test("is asked for in ascending sets, which no server refuses [row 55]", async () => {
    const server = await serve();
    server.append("INBOX", 60);
    server.expunge("INBOX", [5, 6, 20, 59]);
    server.fault = ({ args }) => (descends(args) ? "{tag} BAD invalid sequence\r\n" : honestly);
    const { mirror } = await settled(server);
    server.append("INBOX", 30);
    server.setFlags("INBOX", 3, ["\\Seen"]);
    server.expunge("INBOX", [1, 70]);
    await mirror.settle(7);
    expect(mirror.messages.size).toBe(84);
    expect(server.heard.filter((line) => descends(line.split(" ")))).toEqual([]);
  });

  test("is what came since the last look, not since a date: an outage of months loses nothing [row 73]", async () => {
    const server = await serve();
    server.append("INBOX", 2);
    const { provider, mirror } = await settled(server);
    await provider.close();
    // Moved in from an archive while nobody looked: every date lies before the outage.
    server.append("INBOX", 250, { receivedAt: "01-Jan-2019 10:00:00 +0000" });
    const later = createMirror(open(server), inbox);
    later.cursor = mirror.cursor;
    await later.settle(100);
    expect(later.listed).toHaveLength(250);
    expect(later.resets).toBe(0);
  });
});

/** Whether one of these is a sequence set whose numbers fall. */
function descends(words: readonly unknown[]): boolean {
  return words.some((word) => {
    if (typeof word !== "string" || !/^[\d:,*]+$/.test(word)) return false;
    const numbers = word.split(/[:,]/).map((number) => (number === "*" ? Number.POSITIVE_INFINITY : Number(number)));
    return numbers.some((number, index) => index > 0 && number < (numbers[index - 1] ?? 0));
  });
}

describe("ten thousand folders at a server that has to be asked about each", () => {
  const names = ["INBOX", ...Array.from({ length: 10_000 }, (_, index) => `Archive/${index % 100}/case ${index}`)];
  const capabilities = without("LIST-STATUS");

  test("are asked about although no call has the time for all, and keep nobody else waiting", async () => {
    const server = await serve({ folders: names.map((name) => scriptedFolder(name)), capabilities });
    const provider = open(server, { patience: { ...patience, silenceMs: 5_000, callMs: 1_500 } });
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    server.append("Archive/7/case 7");
    const startedAt = performance.now();
    let isChecked = false;
    const checking = provider.checkScopes(new Map(names.map((name) => [name, cursor]))).finally(() => {
      isChecked = true;
    });
    await provider.pullChanges(inbox, cursor, { limit: 10 });
    expect(isChecked).toBe(false);
    const states = await checking;
    expect(states).toHaveLength(names.length);
    expect(states.filter(({ changed }) => changed).map(({ path }) => path)).toEqual(["Archive/7/case 7"]);
    expect(performance.now() - startedAt).toBeLessThan(60_000);
  }, 90_000);

  test("do not look like a dead connection to the watch, which hears of new mail meanwhile", async () => {
    const server = await serve({ folders: names.map((name) => scriptedFolder(name)), capabilities });
    const provider = open(server);
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 10 });
    const control = new AbortController();
    const heard = new Set<string>();
    let proofs = 0;
    const watching = provider.watch({
      scope: inbox,
      knownCursors: async () => new Map(names.map((name) => [name, { ...cursor, uidNext: name === "Archive/99/case 9999" ? 7 : cursor.uidNext }])),
      checkEveryMs: 60_000,
      onChange: (paths) => {
        for (const path of paths) heard.add(path);
      },
      onAlive: () => {
        proofs += 1;
      },
      signal: control.signal,
    });
    await until(() => proofs > 2, "the first folders to be asked about");
    expect(heard.size).toBe(0);
    server.append("INBOX");
    await until(() => heard.has("INBOX"), "the new mail");
    expect(proofs).toBeLessThan(names.length / 50);
    await until(() => heard.has("Archive/99/case 9999"), "the last folder", 60_000);
    control.abort();
    await watching;
  }, 90_000);
});

describe("a slow import", () => {
  test("keeps new mail waiting no longer than a question takes, on a connection of its own", async () => {
    const server = await serve();
    server.append("INBOX", 40);
    const provider = open(server);
    const { cursor, historyCursor } = await provider.pullChanges(inbox, undefined, { limit: 100 });
    // The page of history takes a minute and more; what is new comes at once.
    server.fault = ({ verb, args }, honest) =>
      verb === "UID FETCH" && String(args[0]).startsWith("1:") ? { said: honest(), byteEveryMs: 10 } : honestly;
    let isImported = false;
    const control = new AbortController();
    const importing = provider.pullHistory(inbox, historyCursor ?? {}, { limit: 100, signal: control.signal }).finally(() => {
      isImported = true;
    });
    importing.catch(() => {});
    await until(() => server.heard.some((line) => / UID FETCH 1:/.test(line)), "the import to read");
    let known = cursor;
    for (let mail = 1; mail <= 3; mail += 1) {
      const [ref] = server.append("INBOX");
      const startedAt = performance.now();
      const page = await provider.pullChanges(inbox, known, { limit: 100 });
      expect(page.added.map((message) => message.ref)).toEqual([String(ref)]);
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      known = page.cursor;
    }
    expect(isImported).toBe(false);
    expect(server.open).toBe(2);
    control.abort(new Error("enough"));
    await expect(importing).rejects.toThrow("enough");
  });
});
