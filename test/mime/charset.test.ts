import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeCharset, isKnownCharset } from "../../mime/charset.ts";
import { decodeHeader } from "../../mime/decode-header.ts";
import { readHeaderFields } from "../../mime/header-fields.ts";

/** A word in each charset that mail uses, in its bytes. */
const samples: readonly (readonly [charset: string, hex: string, text: string])[] = [
  ["utf-8", "c3bc", "ü"],
  ["UTF8", "c3bc", "ü"],
  ["utf-16", "fc00", "ü"],
  ["utf-16be", "00fc", "ü"],
  ["utf-32", "fffe0000fc000000", "ü"],
  ["utf-7", "2b4150772d", "ü"],
  ["unicode-1-1-utf-7", "2b4150772d", "ü"],
  ["iso-8859-1", "fc80", "ü€"],
  ["iso-8859-2", "b3", "ł"],
  ["iso-8859-3", "b1", "ħ"],
  ["iso-8859-4", "b3", "ŗ"],
  ["iso-8859-5", "bf", "П"],
  ["iso-8859-6", "c7", "ا"],
  ["iso-8859-7", "c1", "Α"],
  ["iso-8859-8", "e0", "א"],
  ["iso-8859-8-i", "e0", "א"],
  ["iso-8859-9", "fd", "ı"],
  ["iso-8859-10", "bd", "―"],
  ["iso-8859-11", "a1", "ก"],
  ["iso-8859-13", "e0", "ą"],
  ["iso-8859-14", "a1", "Ḃ"],
  ["iso-8859-15", "a4", "€"],
  ["iso-8859-16", "a4", "€"],
  ["windows-874", "a1", "ก"],
  ["windows-1250", "9c", "ś"],
  ["windows-1251", "cf", "П"],
  ["windows-1252", "80", "€"],
  ["windows-1253", "c1", "Α"],
  ["windows-1254", "fd", "ı"],
  ["windows-1255", "e0", "א"],
  ["windows-1256", "c7", "ا"],
  ["windows-1257", "e0", "ą"],
  ["windows-1258", "fe", "₫"],
  ["cp1250", "9c", "ś"],
  ["koi8-r", "f0", "П"],
  ["koi8-u", "a4", "є"],
  ["ibm866", "8f", "П"],
  ["cp437", "81", "ü"],
  ["ibm850", "81", "ü"],
  ["cp850", "81", "ü"],
  ["ibm852", "88", "ł"],
  ["macintosh", "8a", "ä"],
  ["x-mac-cyrillic", "8f", "П"],
  ["x-mac-ce", "b8", "ł"],
  ["tis-620", "a1", "ก"],
  ["shift_jis", "93fa967b", "日本"],
  ["cp932", "93fa967b", "日本"],
  ["shift_jis", "b1b2", "ｱｲ"],
  ["euc-jp", "c6fccbdc", "日本"],
  ["iso-2022-jp", "1b2442467c4b5c1b2842", "日本"],
  ["iso-2022-jp", "1b284931321b2842", "ｱｲ"],
  ["iso-2022-jp-ms", "1b2442467c4b5c1b2842", "日本"],
  ["cp50221", "1b2442467c4b5c1b2842", "日本"],
  ["gb2312", "c4e3bac3", "你好"],
  ["gbk", "c4e3bac3", "你好"],
  ["cp936", "c4e3bac3", "你好"],
  ["gb18030", "8139ee39", "㐀"],
  ["hz-gb-2312", "7e7b44633a437e7d21", "你好!"],
  ["big5", "a741a66e", "你好"],
  ["cp950", "a741a66e", "你好"],
  ["euc-kr", "b0a1", "가"],
  ["ks_c_5601-1987", "b0a1", "가"],
  ["cp949", "8141", "갂"],
  ["iso-2022-kr", "1b2429430e30210f21", "가!"],
  ['"utf-8"', "c3bc", "ü"],
  ["utf-8*de", "c3bc", "ü"],
];

describe("charsets", () => {
  test.each(samples)("%s reads %s", (charset, hex, text) => {
    expect(decodeCharset(Buffer.from(hex, "hex"), charset)).toBe(text);
    expect(isKnownCharset(charset)).toBe(true);
  });

  test("are known, or said to be nothing in particular", () => {
    expect(["us-ascii", "", "unknown-8bit", "x-unknown"].map(isKnownCharset)).toEqual([true, true, true, true]);
    expect(["x-martian", "base64", "hex", "iso-8859-99", "__proto__", "constructor"].map(isKnownCharset)).toEqual([
      false,
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  test("of any name read any bytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom(...samples.map(([charset]) => charset))),
        (bytes, charset) => {
          expect(typeof decodeCharset(bytes, charset)).toBe("string");
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("header values", () => {
  const bytes = (text: string) => Buffer.from(text).toString("latin1");

  test.each([
    ["plain", "Lunch", "", "Lunch", false],
    ["an encoded word", "=?utf-8?Q?Gr=C3=BC=C3=9Fe_an?= all", "", "Grüße an all", false],
    ["a character that is cut in two between two words", "=?utf-8?B?w7w=?= =?UTF-8?Q?=C3?= =?utf-8?Q?=9F?=", "", "üß", false],
    ["words of two charsets", "=?koi8-r?B?8A==?= =?utf-8?Q?=C3=BC?=", "", "Пü", false],
    ["raw UTF-8", bytes("Grüße"), "iso-8859-1", "Grüße", true],
    ["raw bytes of the message's charset", "Gr\u00fc\u00dfe", "iso-8859-1", "Grüße", true],
    ["raw bytes of no charset", "Gr\u00fc\u00dfe", "", "Grüße", true],
    ["raw bytes of a charset that does not exist", "Gr\u00fc\u00dfe", "x-martian", "Grüße", true],
    ["raw bytes beside an encoded word", "\u00fc =?utf-8?Q?=C3=BC?=", "iso-8859-1", "ü ü", true],
    ["what only looks like an encoded word", "=?x? =?utf-8?X?a?=", "", "=?x? =?utf-8?X?a?=", false],
  ])("are read: %s", (_name, value, charset, text, isRaw) => {
    expect(decodeHeader(value, charset)).toEqual({ text, isRaw });
  });

  test("of any kind are read in bounded time", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("=", "?", "q", "B", " ", "\u00fc", "\u001b", "$", "a", "_", "\r", "\n", ":") }), (value) => {
        expect(typeof decodeHeader(value, "utf-8").text).toBe("string");
        expect(readHeaderFields(Buffer.from(value, "latin1"))).toBeInstanceOf(Map);
      }),
      { numRuns: 1_000 },
    );
    const start = performance.now();
    for (const value of [
      "=?".repeat(100_000),
      "=?a?q?".repeat(50_000),
      "=?utf-8?q?a?= ".repeat(20_000),
      `a:${" \r\n".repeat(100_000)}`,
      "\r\n ".repeat(100_000),
    ]) {
      decodeHeader(value, "");
      readHeaderFields(Buffer.from(value));
    }
    expect(performance.now() - start).toBeLessThan(3_000);
  });
});
