import { isDeepStrictEqual } from "node:util";
import { parser } from "imapflow/lib/handler/imap-handler.js";
import { formatMessageResponse } from "imapflow/lib/tools.js";
import { describe, expect, it } from "vitest";
import { readFetchRow } from "../../../providers/imap/fetch-row.ts";

const plainStructure = '("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 120 4 NIL NIL NIL NIL)';
const envelope =
  '("Thu, 1 Jan 2026 10:00:00 +0000" "=?utf-8?q?Gr=C3=BC=C3=9Fe?=" (("Ann \\"A.\\" Example" NIL "ann" "example.com")) (("Ann" NIL "ann" "example.com")) ((NIL NIL "ann" "example.com")) ((NIL NIL "team" NIL)(NIL NIL "bob" "example.net")(NIL NIL NIL NIL)) NIL NIL "<a@b>" "<c@d>")';

/** What servers write of a message, plainly. */
const plain: readonly (readonly [string, string, ...string[]])[] = [
  [
    "what Dovecot writes",
    `(UID 7 FLAGS (\\Seen $Forwarded NonJunk) INTERNALDATE " 1-Jan-2026 10:00:00 +0100" RFC822.SIZE 4711 ENVELOPE ${envelope} BODYSTRUCTURE ${plainStructure})`,
  ],
  [
    "literals",
    `(UID 7 ENVELOPE (NIL {5}\r\n NIL NIL NIL NIL NIL NIL NIL NIL) BODY[HEADER.FIELDS (REFERENCES LIST-ID)] {24}\r\n)`,
    "Grüß",
    "References: <a@b>\r\n\r\n\r\n\r\n".slice(0, 24),
  ],
  ["an empty literal", `(UID 7 BODY[HEADER.FIELDS (REFERENCES)] {0}\r\n)`, ""],
  ["header fields in quotes", `(UID 7 BODY[HEADER.FIELDS ("REFERENCES")] "List-Id: x")`],
  ["bytes beyond ASCII", `(UID 7 ENVELOPE (NIL "Grüße, 你好" NIL NIL NIL NIL NIL NIL NIL NIL))`],
  ["escapes", `(UID 7 ENVELOPE (NIL "a \\"b\\" \\\\" NIL NIL NIL NIL NIL NIL NIL "x"))`],
  ["no envelope and no structure", "(UID 7 ENVELOPE NIL BODYSTRUCTURE NIL)"],
  ["a date that is none", '(UID 7 INTERNALDATE "yesterday")'],
  ["no flags", "(FLAGS () UID 7)"],
  ["ids of a provider", "(UID 7 EMAILID (M123-a) THREADID (T9))"],
  ["a thread that is none", "(UID 7 EMAILID (M123-a) THREADID NIL)"],
  ["ids of Gmail", "(X-GM-THRID 1278455344230334865 X-GM-MSGID 1278455344230334866 UID 7)"],
  ["a mod-sequence", "(UID 7 MODSEQ (12345678901))"],
  [
    "a tree of parts",
    `(UID 7 BODYSTRUCTURE ((${plainStructure}("text" "html" NIL NIL NIL "quoted-printable" 900 30 NIL NIL NIL NIL) "alternative" ("boundary" "x") NIL NIL NIL)("application" "pdf" ("name*0*" "utf-8''r%C3%A9" "name*1" "sum.pdf") "<id@x>" "what" "base64" 3000 NIL ("attachment" ("filename" "=?utf-8?b?w6kucGRm?=")) ("en" "de") "loc")("message" "rfc822" NIL NIL NIL "7bit" 500 ${envelope} ${plainStructure} 12 NIL NIL NIL NIL) "mixed" ("boundary" "y") NIL NIL NIL))`,
  ],
];

/** Written as grammar or custom do not have it: left to ImapFlow. */
const odd: readonly (readonly [string, string, ...string[]])[] = [
  ["no UID", "(FLAGS (\\Seen))"],
  ["two UIDs for one", "(UID (7 8))"],
  ["a UID of words", "(UID seven)"],
  ["flags without a space between", "(UID 7 FLAGS (\\Seen\\Flagged))"],
  ["flags that are no list", "(UID 7 FLAGS NIL)"],
  ["an item that nobody asked for", "(UID 7 X-FUNNY 12)"],
  ["another section", '(UID 7 BODY[1] "text")'],
  ["a part of a section", '(UID 7 BODY[HEADER.FIELDS (REFERENCES)]<0> "x")'],
  ["a list that does not end", "(UID 7 FLAGS (\\Seen)"],
  ["more than one answer", "(UID 7) (UID 8)"],
  ["a string that does not end", '(UID 7 INTERNALDATE "never)'],
  ["a literal that is not there", "(UID 7 BODY[HEADER.FIELDS (REFERENCES)] {3}\r\n)"],
  ["a literal of another length", "(UID 7 BODY[HEADER.FIELDS (REFERENCES)] {3}\r\n)", "four"],
  ["a literal too many", "(UID 7)", "what"],
  ["lists without end", `(UID 7 BODYSTRUCTURE ${"(".repeat(5_000)}`],
  ["lists as deep as that", `(UID 7 BODYSTRUCTURE ${"(".repeat(5_000)}${")".repeat(5_000)})`],
  ["more values than a message has", `(UID 7 FLAGS (${"a ".repeat(30_000)}))`],
  ["a tab between", "(UID\t7)"],
];

describe("reading FETCH answers in one pass", () => {
  it.each(plain)("reads %s as ImapFlow does", async (_, items, ...literals) => {
    const buffers = literals.map((literal) => Buffer.from(literal));
    const text = sized(items, buffers);
    expect(readFetchRow(Buffer.from(`* 3 FETCH ${text}`), buffers)).toEqual(await asImapFlow(`* 3 FETCH ${text}`, buffers));
  });

  it.each(odd)("leaves %s to ImapFlow", (_, items, ...literals) => {
    const buffers = literals.map((literal) => Buffer.from(literal));
    expect(readFetchRow(Buffer.from(`* 3 FETCH ${items}`), buffers)).toBeUndefined();
  });

  it.each(["* 3 EXISTS", "* OK [CAPABILITY IMAP4rev1] FETCH (", "A1 OK FETCH done", "* VANISHED 3", "\0* 3 FETCH (UID 7)", ""])(
    "leaves %j to ImapFlow",
    (line) => {
      expect(readFetchRow(Buffer.from(line), [])).toBeUndefined();
    },
  );

  it("reads what was cut or changed anywhere as ImapFlow does, or not at all", async () => {
    for (const [, items, ...literals] of plain) {
      const buffers = literals.map((literal) => Buffer.from(literal));
      const line = Buffer.from(`* 3 FETCH ${sized(items, buffers)}`);
      for (let at = 9; at < line.length; at += 1) {
        for (const changed of [line.subarray(0, at), Buffer.concat([line.subarray(0, at), line.subarray(at + 1)]), replaced(line, at)]) {
          const row = readFetchRow(changed, buffers);
          if (row !== undefined) expect(isDeepStrictEqual(row, await asImapFlow(changed.toString(), buffers)), changed.toString()).toBe(true);
        }
      }
    }
  });
});

/** The sizes of literals in the text as they are in bytes. */
function sized(items: string, literals: readonly Buffer[]): string {
  let next = 0;
  return items.replace(/\{\d+\}\r\n/g, () => `{${literals[next++]?.length}}\r\n`);
}

function replaced(line: Buffer, at: number): Buffer {
  const copy = Buffer.from(line);
  copy[at] = ' ()"\\{N7'.charCodeAt(at % 8);
  return copy;
}

/** The row as the library reads it, without what only it works out. */
async function asImapFlow(line: string, literals: readonly Buffer[]) {
  const parsed = await parser(Buffer.from(line), { literals: [...literals] });
  const { id: _id, modseq: _modseq, flagColor: _color, ...row } = await formatMessageResponse(parsed as never, { path: "INBOX" } as never);
  return row;
}
