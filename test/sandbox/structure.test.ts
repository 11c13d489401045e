import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { envelope, parseAddresses } from "../../sandbox/imap/envelope.ts";
import { decodeHeader } from "../../sandbox/imap/headers.ts";
import { fromWire, matchesPattern, toWire } from "../../sandbox/imap/mailbox-name.ts";
import { bodyOf, bodyStructure, findPart, headerOf, parseMessage } from "../../sandbox/imap/structure.ts";

const crlf = (text: string) => text.replaceAll("\n", "\r\n");

const nested = crlf(`From: a@b.example
Content-Type: multipart/mixed; boundary="out er"

preamble
--out er
Content-Type: multipart/alternative; boundary=out

--out
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: 8bit

text
--out
Content-Type: text/html

<p>html</p>
--out--
--out er
Content-Type: message/rfc822

Subject: inner
From: "Inner, One" <inner@b.example>

inner text
--out er
Content-Type: application/pdf; name="a b.pdf"
Content-Disposition: attachment; filename="a b.pdf"
Content-Transfer-Encoding: BASE64

JVBERg==
--out er--
epilogue
`);

describe("BODYSTRUCTURE", () => {
  test("of a plain message without any header of MIME", () => {
    expect(bodyStructure(parseMessage("Subject: x\r\n\r\none\r\ntwo\r\n"), true)).toBe(
      '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2 NIL NIL NIL NIL)',
    );
  });

  test("of parts within parts, in which one boundary begins like the other", () => {
    expect(bodyStructure(parseMessage(nested), true)).toBe(
      '((("text" "plain" ("charset" "utf-8") NIL NIL "8bit" 4 0 NIL NIL NIL NIL)("text" "html" ("charset" "us-ascii") NIL NIL "7bit" 11 0 NIL NIL NIL NIL) "alternative" ("boundary" "out") NIL NIL NIL)' +
        '("message" "rfc822" NIL NIL NIL "7bit" 66 (NIL "inner" (("Inner, One" NIL "inner" "b.example")) (("Inner, One" NIL "inner" "b.example")) (("Inner, One" NIL "inner" "b.example")) NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 0 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)' +
        '("application" "pdf" ("name" "a b.pdf") NIL NIL "base64" 8 NIL ("attachment" ("filename" "a b.pdf")) NIL NIL) "mixed" ("boundary" "out er") NIL NIL NIL)',
    );
  });

  test.each([
    ["no boundary", "Content-Type: multipart/mixed\r\n\r\ntext", '("text" "plain"'],
    ["no parts", "Content-Type: multipart/mixed; boundary=x\r\n\r\ntext", '(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'],
    [
      "a part never closed",
      "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhalf a te",
      '(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 0',
    ],
    ["a type that is none", "Content-Type: rubbish\r\n\r\nx", '("text" "plain"'],
    ["an empty message/rfc822", "Content-Type: message/rfc822\r\n\r\n", '("message" "rfc822" NIL NIL NIL "7bit" 0 (NIL NIL NIL'],
    ["no body at all", "Subject: only", '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'],
    ["nothing", "", '("text" "plain"'],
  ])("of a message with %s", (_, source, expected) => {
    expect(bodyStructure(parseMessage(source), true).startsWith(expected)).toBe(true);
  });

  test("of a bomb of nested parts, in a blink", () => {
    const depth = 5_000;
    const bomb = Array.from({ length: depth }, (_, level) => `Content-Type: multipart/mixed; boundary=b${level}\r\n\r\n--b${level}\r\n`).join("");
    const many = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\nx\r\n".repeat(50_000)}`;
    const before = performance.now();
    bodyStructure(parseMessage(bomb), true);
    bodyStructure(parseMessage(many), true);
    expect(performance.now() - before).toBeLessThan(2_000);
  });

  test("never throws and is always balanced, whatever the bytes", () => {
    const piece = fc.constantFrom(
      "\r\n",
      "\n",
      "--x",
      "--x--",
      "--",
      "Content-Type: ",
      "multipart/mixed",
      "message/rfc822",
      "; boundary=x",
      ";",
      '"',
      "(",
      ")",
      ":",
      " ",
      "\\",
      "a",
      "\u00e9",
      "From: ",
      "<a@b>",
      ",",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const message = parseMessage(pieces.join(""));
        const text = bodyStructure(message, true) + envelope(message.headers);
        const bare = withoutStrings(text);
        expect(count(bare, "(")).toBe(count(bare, ")"));
        expect(bare).toMatch(/^[() 0-9NIL]*$/);
        expect(headerOf(message) + bodyOf(message)).toBe(message.source);
      }),
    );
  });
});

describe("sections", () => {
  const message = parseMessage(nested);
  test.each([
    [[1, 1], "text"],
    [[1, 2], "<p>html</p>"],
    [[2, 1], "inner text"],
    [[3], "JVBERg=="],
  ])("%j is the part of that number", (numbers, expected) => {
    const part = findPart(message, numbers);
    expect(part && bodyOf(part)).toBe(expected);
  });

  test.each([[[4]], [[1, 3]], [[3, 1]], [[2, 2]], [[1, 1, 1]]])("%j is no part", (numbers) => {
    expect(findPart(message, numbers)).toBeUndefined();
  });

  test("1 is the body of a message that is no multipart", () => {
    const plain = parseMessage("A: b\r\n\r\nbody");
    expect(findPart(plain, [1])).toBe(plain);
    expect(findPart(plain, [2])).toBeUndefined();
  });
});

describe("addresses", () => {
  test.each([
    ["a@b.example", [{ mailbox: "a", host: "b.example" }]],
    [
      '"Doe, \\"J\\"" <j@b.example>, x@y.example',
      [
        { name: 'Doe, "J"', mailbox: "j", host: "b.example" },
        { mailbox: "x", host: "y.example" },
      ],
    ],
    ["j@b.example (John Doe)", [{ name: "John Doe", mailbox: "j", host: "b.example" }]],
    ["=?utf-8?q?J=C3=B6rg?= <j@b.example>", [{ name: "=?utf-8?q?J=C3=B6rg?=", mailbox: "j", host: "b.example" }]],
    ["Team: a@b.example, c@d.example;", [{ mailbox: "Team" }, { mailbox: "a", host: "b.example" }, { mailbox: "c", host: "d.example" }, {}]],
    ["undisclosed-recipients:;", [{ mailbox: "undisclosed-recipients" }, {}]],
    ["<@relay.example:j@b.example>", [{ mailbox: "j", host: "b.example" }]],
    ["nobody", [{ mailbox: "nobody", host: "" }]],
    ["Open <j@b.example", [{ name: "Open", mailbox: "j", host: "b.example" }]],
    [", ,", []],
    ["", []],
  ])("%s", (text, expected) => {
    expect(parseAddresses(text)).toEqual(expected);
  });
});

test("encoded words are decoded, joined, and left alone when nobody knows their charset", () => {
  expect(decodeHeader("=?utf-8?B?R3LDvA==?= =?UTF-8?Q?=C3=9Fe_?= Alex")).toBe("Grüße  Alex");
  expect(decodeHeader("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=")).toBe("日本");
  expect(decodeHeader("=?x-none?Q?a?=")).toBe("=?x-none?Q?a?=");
  expect(decodeHeader(Buffer.from("Grüße").toString("latin1"))).toBe("Grüße");
});

describe("mailbox names", () => {
  test.each([
    ["Rechnungen & Büro", '"Rechnungen &- B&APw-ro"'],
    ["日本/東京", '"&ZeVnLA-/&Z3FOrA-"'],
    ["🌧️", '"&2DzfJ,4P-"'],
  ])("%s is %s on the wire", (name, wire) => {
    expect(toWire(name)).toBe(wire);
    expect(fromWire(wire.slice(1, -1))).toBe(name);
  });

  test("go to the wire and back, whatever they are", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme", maxLength: 40 }),
        (name) =>
          name.toLowerCase().startsWith("inbox") ||
          fromWire(
            toWire(name)
              .replace(/^"|"$|^\{\d+\}\r\n/g, "")
              .replace(/\\(["\\])/g, "$1"),
          ) === name,
      ),
    );
  });

  test.each([
    ["a/b", "*", true],
    ["a/b", "%", false],
    ["a/b", "%/%", true],
    ["a/b", "a*b", true],
    ["a/b", "a%b", false],
    ["a", "a*", true],
    ["ab", "a", false],
    ["日本", "日%", true],
  ])("%s against %s: %s", (name, pattern, expected) => {
    expect(matchesPattern(name, pattern)).toBe(expected);
  });
});

/** What is left of a response without its quoted strings and literals. */
function withoutStrings(text: string): string {
  const string = /"(?:[^"\\]|\\.)*"|\{(\d+)\}\r\n/g;
  let bare = "";
  for (let at = 0; ; ) {
    string.lastIndex = at;
    const match = string.exec(text);
    if (match === null) return bare + text.slice(at);
    bare += text.slice(at, match.index);
    at = string.lastIndex + Number(match[1] ?? 0);
  }
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}
