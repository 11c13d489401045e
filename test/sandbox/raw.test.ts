import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { until } from "../helpers/wait.ts";
import { alex, loggedIn, mail, type RawClient, rawClient, temporarySandbox } from "./helpers.ts";

let sandbox: Awaited<ReturnType<typeof temporarySandbox>>;
let client: RawClient;

beforeEach(async () => {
  sandbox = await temporarySandbox();
  client = await loggedIn(sandbox.imapPort);
});

afterEach(async () => {
  client.socket.destroy();
  await sandbox[Symbol.asyncDispose]();
});

async function append(subject: string, body?: string): Promise<void> {
  const source = mail(subject, body);
  expect(await client.command(`APPEND INBOX {${source.length}+}\r\n${source}`)).toContain("OK [APPENDUID");
}

describe("logging in", () => {
  test("takes user and password as quoted strings and as literals of both kinds", async () => {
    const password = Buffer.from(alex.password).toString("latin1");
    const quoted = await rawClient(sandbox.imapPort);
    expect(await quoted.command(`LOGIN ${alex.email} "${password.replace(/["\\]/g, "\\$&")}"`)).toContain("OK [CAPABILITY");
    const literal = await rawClient(sandbox.imapPort);
    literal.send(`a LOGIN {${alex.email.length}}\r\n`);
    await literal.until(/\+ /);
    literal.send(`${alex.email} {${password.length}+}\r\n${password}\r\n`);
    expect(await literal.until(/a /)).toContain("a OK");
    const sasl = await rawClient(sandbox.imapPort);
    sasl.send("a AUTHENTICATE PLAIN\r\n");
    await sasl.until(/\+ /);
    sasl.send(`${Buffer.from(`\0${alex.email}\0${alex.password}`).toString("base64")}\r\n`);
    expect(await sasl.until(/a /)).toContain("a OK");
  });

  test("refuses a wrong password, a stranger's commands, and a second login", async () => {
    const stranger = await rawClient(sandbox.imapPort);
    expect(await stranger.command(`LOGIN ${alex.email} wrong`)).toContain("NO [AUTHENTICATIONFAILED]");
    expect(await stranger.command("SELECT INBOX")).toContain("BAD log in first");
    expect(await stranger.command("AUTHENTICATE PLAIN !!!")).toContain("BAD");
    expect(await stranger.command("LOGIN nobody@sandbox.everpost.test x")).toContain("NO [AUTHENTICATIONFAILED]");
    expect(await client.command(`LOGIN ${alex.email} x`)).toContain("BAD");
  });

  test("ends the connection of one who only guesses", async () => {
    const guesser = await rawClient(sandbox.imapPort);
    for (let tries = 0; tries < 10; tries++) expect(await guesser.command("LOGIN a b")).toContain("NO");
    await guesser.closed();
  });
});

describe("rubbish", () => {
  test.each([
    "",
    "FETCH",
    "fetch 1 (",
    "FETCH 0 FLAGS",
    "FETCH 1: FLAGS",
    "FETCH 4294967296 FLAGS",
    "FETCH 1 BODY[",
    "FETCH 1 BODY[MIME]",
    "FETCH 1 BODY[1.HEADER.FIELDS ()]",
    "FETCH 1 BODY[]<0.0>",
    "FETCH 1 constructor",
    "FETCH 1 (FLAGS) (CHANGEDSINCE)",
    "FETCH 1 FLAGS trailing",
    "STORE 1 FLAGS \\Recent",
    "STORE 1 FLAGS",
    'STORE 1 FLAGS ("quoted")',
    "SEARCH",
    "SEARCH toString",
    "SEARCH (",
    `SEARCH ${"(".repeat(1_000)}ALL${")".repeat(1_000)}`,
    `SEARCH ${"NOT ".repeat(10_000)}ALL`,
    "SEARCH SINCE 31-Foo-2020",
    "SEARCH RETURN (SAVE) ALL",
    "SEARCH HEADER x",
    'SELECT "INBOX',
    "SELECT INBOX (QRESYNC (1 1))",
    "STATUS INBOX (__proto__)",
    'LIST "" * RETURN (NONSENSE)',
    'LIST (RECURSIVEMATCH) "" *',
    "UID EXPUNGE",
    "UID NOOP",
    "COPY 1",
    "ENABLE",
    "ID (unquoted)",
    "APPEND INBOX",
    'APPEND INBOX "01-Jan-2024" {1+}\r\nx',
    "APPEND INBOX {3+}\r\na\0b",
    "NOSUCH",
    "constructor",
    "\u00ff\u00fe",
  ])("is BAD and nothing more: %s", async (command) => {
    await append("one");
    await client.command("SELECT INBOX");
    expect(await client.command(command)).toMatch(/\r\nt\d+ BAD |^t\d+ BAD /);
    expect(await client.command("NOOP")).toContain("OK");
  });

  test("without a tag is BAD untagged, and after twenty lines of it the connection ends", async () => {
    client.send("\r\n");
    await client.until(/\* BAD/);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n".repeat(20));
    expect(await client.closed()).toContain("* BYE");
  });

  test("a line that never ends costs no memory, and a command after it works", async () => {
    client.send("x NOOP ");
    for (let piece = 0; piece < 200; piece++) client.send("a".repeat(10_000));
    client.send("\r\n");
    expect(await client.until(/x /)).toContain("x BAD line too long");
    expect(await client.command("NOOP")).toContain("OK");
  });

  test("a literal that is too large is refused before it is sent, and passed over when it is sent anyway", async () => {
    expect(await client.command("APPEND INBOX {99999999999}")).toContain("BAD");
    expect(await client.command("APPEND INBOX {999999999}")).toContain("NO [TOOBIG]");
    const size = 40_000_000;
    client.send(`x APPEND INBOX {${size}+}\r\n`);
    for (let piece = 0; piece < 40; piece++) client.socket.write(Buffer.alloc(1_000_000, "a"));
    client.send("\r\n");
    expect(await client.until(/x /)).toContain("x NO [TOOBIG]");
    expect(await client.command("STATUS INBOX (MESSAGES)")).toContain("(MESSAGES 0)");
    const stranger = await rawClient(sandbox.imapPort);
    expect(await stranger.command("LOGIN {100000}")).toContain("NO [TOOBIG]");
  });
});

describe("the wire", () => {
  test("takes a command in single bytes", async () => {
    const source = mail("slow");
    const text = `x APPEND INBOX (\\Seen) {${source.length}+}\r\n${source}\r\n`;
    for (const byte of text) await new Promise((resolve) => client.socket.write(byte, resolve));
    expect(await client.until(/x /)).toContain("x OK [APPENDUID");
  });

  test("answers pipelined commands in order", async () => {
    const source = mail("piped");
    client.send(
      `a SELECT INBOX\r\nb APPEND INBOX {${source.length}+}\r\n${source}\r\nc UID SEARCH ALL\r\nd UID FETCH 1 (BODY.PEEK[TEXT])\r\ne LOGOUT\r\n`,
    );
    const all = await client.closed();
    expect([...all.matchAll(/^([a-e]) OK/gm)].map((match) => match[1])).toEqual(["a", "b", "c", "d", "e"]);
    expect(all).toContain("* SEARCH 1\r\n");
    expect(all).toContain("* 1 FETCH (UID 1 BODY[TEXT] {8}\r\nHello.\r\n)\r\n");
  });

  test("a client killed in the middle of APPEND leaves nothing behind", async () => {
    const dying = await loggedIn(sandbox.imapPort);
    dying.send("x APPEND INBOX {1000}\r\n");
    await dying.until(/\+ /);
    dying.send("From: half a mess");
    dying.socket.resetAndDestroy();
    await append("whole");
    expect(await client.command("STATUS INBOX (MESSAGES UIDNEXT)")).toContain("(MESSAGES 1 UIDNEXT 2)");
    const messages = join(sandbox.dataDir, "accounts", alex.email, "messages");
    expect(readdirSync(messages)).toHaveLength(1);
  });

  test("a client that asks for everything and reads nothing holds up nobody", async () => {
    for (let count = 0; count < 10; count++) await append(`big ${count}`, `${"x".repeat(998)}\r\n`.repeat(1_000));
    const greedy = await loggedIn(sandbox.imapPort);
    await greedy.command("SELECT INBOX");
    greedy.socket.pause();
    for (let count = 0; count < 20; count++) greedy.send(`g${count} FETCH 1:* BODY.PEEK[]\r\n`);
    const memoryBefore = process.memoryUsage().rss;
    for (let count = 0; count < 20; count++) expect(await client.command("NOOP")).toContain("OK");
    expect(process.memoryUsage().rss - memoryBefore).toBeLessThan(100_000_000);
    greedy.socket.resetAndDestroy();
    expect(await client.command("STATUS INBOX (MESSAGES)")).toContain("(MESSAGES 10)");
  });

  test("advertises no more than it does", async () => {
    const capabilities = await client.command("CAPABILITY");
    expect(capabilities).not.toMatch(/STARTTLS|QRESYNC|IMAP4rev2|COMPRESS/);
    expect(await client.command("STARTTLS")).toContain("BAD");
  });
});

describe("sequence numbers", () => {
  beforeEach(async () => {
    for (const subject of ["a", "b", "c"]) await append(subject);
    await client.command("SELECT INBOX");
  });

  test("stay as they are while a client may be counting, and a message that has gone is passed over", async () => {
    const other = await loggedIn(sandbox.imapPort);
    await other.command("SELECT INBOX");
    await other.command("STORE 2 +FLAGS.SILENT \\Deleted");
    expect(await other.command("EXPUNGE")).toContain("* 2 EXPUNGE\r\n");
    const fetched = await client.command("FETCH 1:3 (UID)");
    expect(fetched).not.toContain("EXPUNGE\r\n");
    expect(fetched).toContain("* 3 FETCH (UID 3)");
    expect(fetched).toContain("OK [EXPUNGEISSUED]");
    expect(await client.command("STORE 3 +FLAGS.SILENT \\Seen")).not.toContain("EXPUNGE\r\n");
    expect(await client.command("SEARCH SEEN")).toContain("* SEARCH 3\r\n");
    expect(await client.command("UID FETCH 3 (FLAGS)")).toMatch(/\* 2 EXPUNGE\r\nt\d+ OK/);
    expect(await client.command("FETCH 2 (UID)")).toContain("* 2 FETCH (UID 3)");
  });

  test("beyond the last message are an error, and * is the last one", async () => {
    expect(await client.command("FETCH 4 FLAGS")).toContain("BAD");
    expect(await client.command("FETCH * UID")).toContain("* 3 FETCH (UID 3)");
    expect(await client.command("FETCH 9:* UID")).toContain("* 3 FETCH (UID 3)");
    expect(await client.command("UID FETCH 9:* UID")).toContain("* 3 FETCH (UID 3)");
    expect(await client.command("UID FETCH 9 UID")).not.toContain("FETCH (");
    expect(await client.command("FETCH 3,1:2,2 UID")).toMatch(/\* 1 .*\r\n\* 2 .*\r\n\* 3 .*\r\nt/);
  });

  test("in an empty folder name nothing", async () => {
    await client.command("SELECT Archive");
    expect(await client.command("FETCH 1:* FLAGS")).toMatch(/^t\d+ OK/);
    expect(await client.command("UID FETCH 1:* FLAGS")).toMatch(/^t\d+ OK/);
    expect(await client.command("UID SEARCH RETURN (MIN MAX COUNT) ALL")).toMatch(/\* ESEARCH \(TAG "t\d+"\) UID COUNT 0\r\n/);
  });
});

describe("flags", () => {
  beforeEach(async () => {
    await append("a");
    await client.command("SELECT INBOX");
  });

  test("a body read without PEEK becomes seen, and the client hears it", async () => {
    expect(await client.command("FETCH 1 BODY.PEEK[]")).not.toContain("\\Seen");
    expect(await client.command("FETCH 1 BODY[TEXT]")).toContain("FLAGS (\\Seen)");
    await client.command("EXAMINE INBOX");
    expect(await client.command("STORE 1 FLAGS ()")).toContain("NO [READ-ONLY]");
  });

  test("UNCHANGEDSINCE leaves alone what has changed since", async () => {
    const other = await loggedIn(sandbox.imapPort);
    await other.command("SELECT INBOX");
    const modseq = Number(/MODSEQ \((\d+)\)/.exec(await client.command("FETCH 1 MODSEQ"))?.[1]);
    await other.command("STORE 1 +FLAGS \\Flagged");
    expect(await client.command(`STORE 1 (UNCHANGEDSINCE ${modseq}) FLAGS (\\Deleted)`)).toContain("OK [MODIFIED 1]");
    expect(await client.command("FETCH 1 FLAGS")).toContain("FLAGS (\\Flagged)");
    expect(await client.command(`STORE 1 (UNCHANGEDSINCE ${modseq + 1}) -FLAGS (\\Flagged)`)).toContain(`MODSEQ (${modseq + 2})`);
    expect(await client.command(`UID SEARCH MODSEQ ${modseq + 2}`)).toContain(`* SEARCH 1 (MODSEQ ${modseq + 2})`);
  });

  test("keywords are one whatever their case, and survive", async () => {
    expect(await client.command("STORE 1 FLAGS (Later later \\sEEN)")).toContain("FLAGS (Later \\Seen)");
    expect(await client.command("STORE 1 -FLAGS (LATER)")).toContain("FLAGS (\\Seen)");
  });

  test("CLOSE removes what is deleted without a word, UNSELECT does not", async () => {
    await client.command("STORE 1 +FLAGS \\Deleted");
    await client.command("UNSELECT");
    expect(await client.command("STATUS INBOX (MESSAGES DELETED)")).toContain("(MESSAGES 1 DELETED 1)");
    await client.command("SELECT INBOX");
    expect(await client.command("CLOSE")).not.toContain("EXPUNGE");
    expect(await client.command("STATUS INBOX (MESSAGES)")).toContain("(MESSAGES 0)");
  });
});

test("IDLE ends with DONE and with nothing else", async () => {
  await client.command("SELECT INBOX");
  client.send("i IDLE\r\n");
  await client.until(/\+ /);
  client.send("NOOP\r\n");
  expect(await client.until(/i /)).toContain("i BAD");
  expect(await client.command("NOOP")).toContain("OK");
});

test("a folder deleted under a session becomes empty for it, and the session goes on", async () => {
  await client.command("CREATE Shortlived");
  const source = mail("one");
  await client.command(`APPEND Shortlived {${source.length}+}\r\n${source}`);
  const other = await loggedIn(sandbox.imapPort);
  await other.command("SELECT Shortlived");
  await client.command("DELETE Shortlived");
  expect(await other.command("NOOP")).toContain("* 1 EXPUNGE");
  expect(await other.command("SELECT Shortlived")).toContain("NO [NONEXISTENT]");
  expect(await other.command("FETCH 1 FLAGS")).toContain("BAD");
});

test("LIST knows subscriptions, special uses and levels above", async () => {
  expect(await client.command('LIST "" ""')).toContain('* LIST (\\Noselect) "/" ""');
  expect(await client.command('LIST "" %')).not.toContain("Apollo");
  expect(await client.command('LIST "Projects/" %')).toContain('"Projects/Apollo"');
  expect(await client.command('LIST "" "&-*"')).not.toContain("* LIST");
  expect(await client.command('LIST "" Rech*')).toContain('"Rechnungen &- B&APw-ro"');
  expect(await client.command('LIST (SPECIAL-USE) "" *')).not.toContain("INBOX");
  await client.command("UNSUBSCRIBE Archive");
  expect(await client.command('LIST (SUBSCRIBED) "" *')).not.toContain("Archive");
  expect(await client.command('LIST (SUBSCRIBED RECURSIVEMATCH) "" %')).toContain('"Projects" (CHILDINFO ("SUBSCRIBED"))');
  expect(await client.command('LSUB "" %')).toContain('* LSUB (\\Noselect) "/" "Projects"');
  expect(await client.command('LIST "" (inbox Sent) RETURN (STATUS (MESSAGES) SUBSCRIBED)')).toContain('* STATUS "Sent" (MESSAGES 0)');
  const slow = performance.now();
  await client.command(`LIST "" "${"*a".repeat(500)}"`);
  expect(performance.now() - slow).toBeLessThan(1_000);
});

test("everybody vanishing at once leaves the server standing", async () => {
  const many = await Promise.all(Array.from({ length: 30 }, () => loggedIn(sandbox.imapPort)));
  for (const each of many) each.send("s SELECT INBOX\r\ni IDLE\r\n");
  await Promise.all(many.map((each) => each.until(/\+ idling/)));
  for (const each of many) each.socket.resetAndDestroy();
  await append("after");
  await until(async () => (await client.command("STATUS INBOX (MESSAGES)")).includes("(MESSAGES 1)"), "the message");
});
