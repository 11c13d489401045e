import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSource } from "../../mime/parse-source.ts";
import { isTnef, readTnef } from "../../mime/tnef.ts";

const int = (value: number, bytes: 2 | 4) => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntLE(value, 0, bytes);
  return buffer;
};
const attribute = (id: number, data: Buffer) =>
  Buffer.concat([Buffer.from([id === 0x00069003 || id === 0x00069007 ? 1 : 2]), int(id, 4), int(data.length, 4), data, int(0, 2)]);
const pad = (data: Buffer) => Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
const variable = (type: number, tag: number, data: Buffer) => Buffer.concat([int(type, 2), int(tag, 2), int(1, 4), int(data.length, 4), pad(data)]);
const properties = (...list: readonly Buffer[]) => Buffer.concat([int(list.length, 4), ...list]);
const named = Buffer.concat([int(3, 2), int(0x8001, 2), Buffer.alloc(16), int(1, 4), int(6, 4), pad(Buffer.from("a\0b\0\0\0")), int(7, 4)]);

const wrapped = Buffer.concat([
  int(0x223e9f78, 4),
  int(1, 2),
  attribute(0x00069007, Buffer.concat([int(1252, 4), int(0, 4)])),
  attribute(0x00069003, properties(named, variable(0x102, 0x1013, Buffer.from("<p>Gr\u00fc\u00dfe</p>", "latin1")))),
  attribute(0x00069002, Buffer.alloc(14)),
  attribute(0x00018010, Buffer.from("PLAN~1.PDF\0")),
  attribute(0x0006800f, Buffer.from("%PDF")),
  attribute(
    0x00069005,
    properties(variable(0x1f, 0x3707, Buffer.from("Pläne für März.pdf\0", "utf16le")), variable(0x1e, 0x370e, Buffer.from("application/pdf\0"))),
  ),
  attribute(0x00069002, Buffer.alloc(14)),
  attribute(0x00018010, Buffer.from("logo.png\0")),
  attribute(0x0006800f, Buffer.from([1, 2, 3])),
  attribute(0x00069005, properties(variable(0x1e, 0x3712, Buffer.from("logo@x\0")))),
]);

describe("winmail.dat", () => {
  test("gives its text and its attachments, under their long names", () => {
    expect(readTnef(wrapped)).toEqual({
      text: null,
      html: "<p>Grüße</p>",
      attachments: [
        { fileName: "Pläne für März.pdf", contentType: "application/pdf", contentId: null, content: Buffer.from("%PDF") },
        { fileName: "logo.png", contentType: "application/octet-stream", contentId: "logo@x", content: Buffer.from([1, 2, 3]) },
      ],
    });
  });

  test("is known by its type or its name", () => {
    expect(isTnef({ contentType: "application/ms-tnef", fileName: null })).toBe(true);
    expect(isTnef({ contentType: "application/octet-stream", fileName: "WINMAIL.DAT" })).toBe(true);
    expect(isTnef({ contentType: "application/pdf", fileName: "a.pdf" })).toBe(false);
  });

  test("shows in a source as what it holds", async () => {
    const source = [
      'Content-Type: multipart/mixed; boundary="o"',
      "",
      "--o",
      'Content-Type: application/ms-tnef; name="winmail.dat"',
      "Content-Disposition: attachment; filename=winmail.dat",
      "Content-Transfer-Encoding: base64",
      "",
      wrapped.toString("base64"),
      "--o--",
      "",
    ].join("\r\n");
    const parsed = await parseSource(Buffer.from(source), { charactersMax: 1_000 });
    expect(parsed.attachments.map(({ fileName, sizeBytes, wrappedIn }) => [fileName, sizeBytes, wrappedIn])).toEqual([
      ["winmail.dat", wrapped.length, null],
      ["Pläne für März.pdf", 4, "winmail.dat"],
      ["logo.png", 3, "winmail.dat"],
    ]);
    expect(parsed.html).toBe("<p>Grüße</p>");
    expect(parsed.text).toBe("Grüße");
  });

  test("that is cut, or is none, gives what can be read of it", () => {
    expect(readTnef(Buffer.from("no such thing"))).toBeUndefined();
    for (let length = 0; length < wrapped.length; length += 1) expect(() => readTnef(wrapped.subarray(0, length))).not.toThrow();
    expect(readTnef(wrapped.subarray(0, wrapped.length - 60))?.attachments[0]?.fileName).toBe("Pläne für März.pdf");
  });

  test("of any bytes is read without throwing, in bounded time", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(wrapped.length), (noise, at) => {
        const broken = Buffer.from(wrapped);
        broken.set(noise.subarray(0, Math.max(0, broken.length - at)), at);
        readTnef(broken);
      }),
      { numRuns: 3_000 },
    );
    const start = performance.now();
    const many = Buffer.concat([wrapped, attribute(0x00069003, Buffer.concat([int(0xffffffff, 4), Buffer.alloc(5_000_000, 0x1e)]))]);
    readTnef(many);
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});
