import { describe, expect, test } from "vitest";
import { decodeText } from "../../mime/decode-text.ts";
import { htmlToText } from "../../mime/html-to-text.ts";
import { storable } from "../../mime/sanitise.ts";
import { makeSnippet } from "../../mime/snippet.ts";
import { tidyText } from "../../mime/tidy-text.ts";
import { decodeTransfer } from "../../mime/transfer-encoding.ts";

describe("decodeText", () => {
  const utf8 = (text: string) => Buffer.from(text);
  test.each([
    ["UTF-8 as it stands", utf8("Grüße"), "utf-8", "8bit", "Grüße"],
    ["base64 in lines", utf8("R3LD\r\nvMOf\r\nZQ==\r\n"), "utf-8", "base64", "Grüße"],
    ["base64 cut in the middle", utf8("R3LDvMOfZ"), "utf-8", "base64", "Grüß"],
    ["quoted-printable with soft breaks", utf8("Gr=C3=BC=\r\n=C3=9Fe =3D 1"), "utf-8", "quoted-printable", "Grüße = 1"],
    ["quoted-printable in lower case, blanks before the break", utf8("Gr=c3=bc= \t\r\nx"), "utf-8", "Quoted-Printable", "Grüx"],
    ["quoted-printable with what is no escape", utf8("a=ZZ b=5"), "utf-8", "quoted-printable", "a=ZZ b"],
    ["ISO-8859-1", Buffer.from([0x47, 0xf6]), "ISO-8859-1", "8bit", "Gö"],
    ["windows-1251", Buffer.from([0xcf, 0xf0]), "windows-1251", "8bit", "Пр"],
    ["Shift_JIS under another name", Buffer.from([0x93, 0xfa]), "cp932", "8bit", "日"],
    ["ISO-2022-JP", Buffer.from("\x1b$BF|\x1b(B", "latin1"), "iso-2022-jp", "7bit", "日"],
    ["a charset that nobody knows, when it is UTF-8", utf8("Grüße"), "x-martian", "8bit", "Grüße"],
    ["a charset that nobody knows, when it is not", Buffer.from([0x47, 0xf6]), "x-martian", "8bit", "Gö"],
    ["8-bit bytes called US-ASCII", utf8("Grüße"), "us-ascii", "7bit", "Grüße"],
    ["no charset", Buffer.from([0x80]), "", "8bit", "€"],
    ["half a character at the end", utf8("Grü").subarray(0, 3), "utf-8", "8bit", "Gr"],
    ["an encoding that nobody knows", utf8("as it is"), "utf-8", "x-uuencode", "as it is"],
    ["NULs", utf8("a\u0000b"), "utf-8", "8bit", "ab"],
  ])("reads %s", (_name, bytes, charset, transferEncoding, text) => {
    expect(decodeText(bytes, { charset, transferEncoding })).toBe(text);
  });

  test("undoes what Node encodes, byte by byte", () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const quoted = Buffer.from([...bytes].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join(""));
    expect(decodeTransfer(quoted, "quoted-printable")).toEqual(bytes);
    expect(decodeTransfer(Buffer.from(bytes.toString("base64")), "base64")).toEqual(bytes);
  });
});

describe("htmlToText", () => {
  test("keeps the words and drops links, pictures, styles and scripts", () => {
    const html = `<html><head><style>p{color:red}</style><script>alert(1)</script></head><body><h1>Hi &amp; welcome</h1><p>See <a href="https://x.example/y">our page</a>.<img src="cid:1" alt="logo"></p></body></html>`;
    expect(tidyText(htmlToText(html))).toBe("Hi & welcome\n\nSee our page.");
  });

  test("survives markup that is cut, nested without end, or nothing at all", () => {
    expect(tidyText(htmlToText("<p>Hello <b>wor"))).toBe("Hello wor");
    expect(htmlToText("")).toBe("");
    expect(() => htmlToText(`${"<div>".repeat(50_000)}deep`)).not.toThrow();
  });
});

describe("tidyText and makeSnippet", () => {
  test("keep lines, and no white space that says nothing", () => {
    expect(tidyText("  a \t b\r\n\r\n\r\n\r\n c \u00a0 d\n\n")).toBe("a b\n\nc d");
    expect(tidyText("pre\u200bview\u034f\u00ad \u200c \u200c")).toBe("preview");
  });

  test("make one line that ends at a word", () => {
    expect(makeSnippet("short\n\n text ")).toBe("short text");
    const snippet = makeSnippet("lorem ipsum ".repeat(100));
    expect(snippet.length).toBeLessThanOrEqual(200);
    expect(snippet).toMatch(/(lorem|ipsum)…$/);
  });

  test("cut a word without end, and never half a character", () => {
    const snippet = makeSnippet("😀".repeat(500));
    expect(snippet.isWellFormed()).toBe(true);
    expect(Array.from(snippet)).toHaveLength(200);
  });

  test("storable leaves good text alone", () => {
    expect(storable("ä😀")).toBe("ä😀");
    expect(storable("a\u0000\ud83d")).toBe("a\ufffd");
  });
});
