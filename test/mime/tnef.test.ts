import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSource } from "../../mime/parse-source.ts";
import { isTnef, readTnef } from "../../mime/tnef.ts";
import { attribute, int, winmail as wrapped } from "../helpers/winmail.ts";

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
