import { fork } from "node:child_process";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { heapFlags } from "../../embedded/entry-point.ts";
import { type Fault, honestly, misbehavingImap, scriptedFolder } from "../helpers/misbehaving-imap.ts";
import type { Reply } from "../helpers/scripted-server.ts";
import type { Attempted, CallName } from "./hostile-imap-client.ts";

/** What a hostile server may cost besides what any connection does. */
const grownMbMax = 250;
const longestTurnMsMax = 2_000;
const secondsMax = 90;

async function attempt(fault: Fault, call: CallName): Promise<Attempted> {
  await using server = await misbehavingImap({ folders: [scriptedFolder("INBOX"), ...["a", "b", "c"].map((name) => scriptedFolder(name))] });
  server.append("INBOX", 20);
  server.fault = fault;
  const client = fork(new URL("./hostile-imap-client.ts", import.meta.url), [String(server.port), call], { execArgv: [...heapFlags] });
  const [attempted] = (await Promise.race([
    once(client, "message"),
    once(client, "exit").then(([code, signal]) => [{ outcome: `exit ${code} ${signal}` }]),
  ])) as [Attempted];
  return attempted;
}

const on =
  (verb: string, reply: (honest: string) => Reply): Fault =>
  (command, honest) =>
    command.verb === verb ? reply(honest()) : honestly;
const many = (line: string, count = 4_000) => line.repeat(count);
const endless = (line: string): Reply => ({ said: many(line), times: Number.POSITIVE_INFINITY });
/** Behind what the honest answer begins with. */
const inFetch = (change: (honest: string) => string): Fault => on("UID FETCH", change);
const structure = /BODYSTRUCTURE \(.*? NIL NIL NIL NIL\)/g;
const nested = (levels: number) => `BODYSTRUCTURE ${"(".repeat(levels)}"TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1${' "MIXED")'.repeat(levels)}`;

const cases: readonly (readonly [string, CallName, Fault])[] = [
  ["EXISTS without end in place of an answer", "reading a page", on("UID FETCH", () => endless("* 20 EXISTS\r\n"))],
  ["EXPUNGE without end in place of an answer", "reading a page", on("UID FETCH", () => endless("* 1 EXPUNGE\r\n"))],
  ["FETCH of one message without end", "reading a page", on("UID FETCH", () => endless("* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n"))],
  [
    "FETCH of messages that were not asked for, without end",
    "reading a page",
    on("UID FETCH", () => endless('* 9 FETCH (UID 999999 FLAGS (\\Seen) X-A "b")\r\n')),
  ],
  ["OK without end", "reading a page", on("UID FETCH", () => endless("* OK still here\r\n"))],
  ["garbage lines without end", "reading a page", on("UID FETCH", () => endless("* ((((\r\n"))],
  ["an endless line", "reading a page", on("UID FETCH", () => ({ said: "x".repeat(65_536), times: Number.POSITIVE_INFINITY }))],
  [
    "an endless greeting of capabilities",
    "reading a page",
    on("CAPABILITY", () => ({ said: many("* CAPABILITY IMAP4rev1 X\r\n"), times: Number.POSITIVE_INFINITY })),
  ],
  [
    "literals without end in one answer",
    "reading a page",
    on("UID FETCH", () => ({ said: `* 1 FETCH (UID 1 ${many(`BODY[1] {1000}\r\n${"y".repeat(1_000)}`, 60)}`, times: Number.POSITIVE_INFINITY })),
  ],
  ["a literal of 60 MB", "reading a page", on("UID FETCH", () => ({ said: "z".repeat(65_536), times: 1_000 }))],
  ["a literal that never comes", "reading a page", on("UID FETCH", () => "* 1 FETCH (UID 1 BODY[] {60000000}\r\n")],
  ["structures nested 1,000 deep", "reading a page", inFetch((honest) => honest.replaceAll(structure, nested(1_000)))],
  ["structures nested 100,000 deep", "reading a page", inFetch((honest) => honest.replaceAll(structure, nested(100_000)))],
  [
    "a structure of 200,000 parts",
    "reading a page",
    inFetch((honest) => honest.replace(structure, `BODYSTRUCTURE (${'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1)'.repeat(200_000)} "MIXED")`)),
  ],
  [
    "a million flags at one message",
    "reading a page",
    inFetch((honest) => honest.replace(/FLAGS \(\)/, `FLAGS (${Array.from({ length: 1_000_000 }, (_, n) => `k${n}`).join(" ")})`)),
  ],
  [
    "30,000 flags at each message",
    "reading a page",
    inFetch((honest) => honest.replaceAll(/FLAGS \(\)/g, `FLAGS (${Array.from({ length: 30_000 }, (_, n) => `k${n}`).join(" ")})`)),
  ],
  [
    "a million addresses",
    "reading a page",
    inFetch((honest) => honest.replace(/NIL NIL NIL NIL "</, `(${'("a" NIL "b" "c.d")'.repeat(300_000)}) NIL NIL NIL "<`)),
  ],
  ["a subject of 20 MB", "reading a page", inFetch((honest) => honest.replace('"message 1"', `"${"s".repeat(20_000_000)}"`))],
  ["UIDs beyond 32 bits", "reading a page", inFetch((honest) => honest.replaceAll(/UID (\d+)/g, "UID 99999999999999$1"))],
  ["a UIDNEXT beyond 64 bits", "reading a page", on("EXAMINE", (honest) => honest.replace(/UIDNEXT \d+/, "UIDNEXT 99999999999999999999999"))],
  ["a UIDNEXT of 2^53", "reading a page", on("EXAMINE", (honest) => honest.replace(/UIDNEXT \d+/, "UIDNEXT 9007199254740992"))],
  [
    "four billion messages",
    "reading a page",
    on("EXAMINE", (honest) => honest.replace(/\d+ EXISTS/, "4294967295 EXISTS").replace(/UIDNEXT \d+/, "UIDNEXT 4294967295")),
  ],
  [
    "dates from hell",
    "reading a page",
    inFetch((honest) =>
      honest
        .replaceAll(/INTERNALDATE "[^"]*"/g, 'INTERNALDATE "99-Foo-99999 99:99:99 +9999"')
        .replaceAll(/"Fri, [^"]*"/g, '"Thu, 32 Jan 275761 25:61:61 +2500"'),
    ),
  ],
  [
    "sizes from hell",
    "reading a page",
    inFetch((honest) => honest.replaceAll(/RFC822.SIZE \d+/g, "RFC822.SIZE 99999999999999999999").replaceAll(/"8BIT" \d+/g, '"8BIT" -5')),
  ],
  [
    "a mod-sequence beyond 64 bits",
    "reading a page",
    on("EXAMINE", (honest) => honest.replace(/HIGHESTMODSEQ \d+/, "HIGHESTMODSEQ 99999999999999999999999999")),
  ],
  ["SEARCH answers without end", "comparing a folder", on("UID SEARCH", () => endless("* SEARCH 1 2 3 4 5\r\n"))],
  ["an ESEARCH of all numbers", "comparing a folder", on("UID SEARCH", (honest) => honest.replace(/ALL .*/, "ALL 1:4294967295"))],
  [
    "an ESEARCH with a million ranges",
    "comparing a folder",
    on("UID SEARCH", (honest) => honest.replace(/ALL .*/, `ALL ${Array.from({ length: 1_000_000 }, (_, n) => n * 2 + 1).join(",")}`)),
  ],
  [
    "LIST with 100,000 entries",
    "listing folders",
    on("LIST", () => `${Array.from({ length: 100_000 }, (_, n) => `* LIST () "/" "f${n}"\r\n`).join("")}{tag} OK\r\n`),
  ],
  ["LIST without end", "listing folders", on("LIST", () => endless('* LIST () "/" "x"\r\n'))],
  ["STATUS without end", "asking about folders", on("LIST", () => endless('* STATUS "x" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)\r\n'))],
  ["a folder name of 30 MB", "listing folders", on("LIST", () => `* LIST () "/" "${"n".repeat(30_000_000)}"\r\n{tag} OK\r\n`)],
  ["EXISTS without end while idle", "watching", on("IDLE", () => endless("* 20 EXISTS\r\n"))],
  ["EXPUNGE without end while idle", "watching", on("IDLE", () => endless("* 1 EXPUNGE\r\n"))],
  ["FETCH without end while idle", "watching", on("IDLE", () => endless("* 1 FETCH (FLAGS (\\Seen))\r\n"))],
];

describe("a hostile server", () => {
  test.each(cases)(
    "%s (%s): ends, in bounded memory",
    async (_what, call, fault) => {
      const attempted = await attempt(fault, call);
      expect(attempted.outcome).toMatch(/^(done|invalid_response|unavailable|connection_timeout|not_found|rejected)$/);
      expect(attempted.seconds).toBeLessThan(secondsMax);
      expect(attempted.grownMb).toBeLessThan(grownMbMax);
      expect(attempted.longestTurnMs).toBeLessThan(longestTurnMsMax);
    },
    120_000,
  );
});
