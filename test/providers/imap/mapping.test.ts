import { describe, expect, test } from "vitest";
import { toInstant, toMessageId, toReferences, toRemoteMessage } from "../../../providers/imap/mapping.ts";

const row = { seq: 1, uid: 7 };

describe("a message from FETCH", () => {
  test("needs nothing but its UID", () => {
    expect(toRemoteMessage(row)).toEqual({
      ref: "7",
      stableId: null,
      providerThreadId: null,
      envelope: { messageId: null, inReplyTo: null, references: [], subject: "", from: [], replyTo: [], to: [], cc: [], bcc: [], sentAt: null },
      flags: [],
      sizeBytes: 0,
      receivedAt: "1970-01-01T00:00:00.000Z",
      attachments: [],
      textPart: null,
      traits: [],
      defects: ["envelope_unreadable", "structure_unreadable"],
      recipientsTotal: null,
    });
  });

  test("carries no NUL, no lone surrogate and no line break in any header", () => {
    const message = toRemoteMessage({
      ...row,
      flags: new Set(["\\Seen", "od\u0000d"]),
      envelope: {
        subject: "a\u0000b\ud800c\r\n d\u0007",
        from: [{ name: "N\u0000\udfff", address: "x\u0000@y" }],
        messageId: "<a\u0000@b>",
      },
      bodyStructure: { type: "application/pdf", disposition: "attachment", dispositionParameters: { filename: "x\u0000.pdf" }, id: "<\ud800>" },
    });
    const text = JSON.stringify(message);
    expect(text).not.toMatch(/\\u0000|\\ud[89a-f]/i);
    expect(message.envelope.subject).toBe("ab\ufffdc d");
    expect(message.envelope.from).toEqual([{ name: "N\ufffd", address: "x@y" }]);
    expect(message.attachments[0]?.fileName).toBe("x.pdf");
    expect(message.flags).toEqual(["odd", "seen"]);
  });

  test("has no Reply-To of its own where the server repeats From", () => {
    const from = [{ name: "Ann", address: "ann@x.org" }];
    expect(toRemoteMessage({ ...row, envelope: { from, replyTo: [{ name: "Ann", address: "ann@x.org" }] } }).envelope.replyTo).toEqual([]);
    expect(toRemoteMessage({ ...row, envelope: { from, replyTo: [{ address: "list@x.org" }] } }).envelope.replyTo).toHaveLength(1);
  });
});

test("a message whose server says too much of it keeps what a store can hold", () => {
  const message = toRemoteMessage({
    seq: 1,
    uid: 1,
    flags: new Set(["\\Seen", "x".repeat(300), ...Array.from({ length: 100_000 }, (_, n) => `k${n}`)]),
    size: 1e20,
    envelope: { subject: "s".repeat(5_000_000), from: [{ name: "n".repeat(1_000_000), address: "a@b.c" }] },
    bodyStructure: { type: "text/plain", size: -5 },
  });
  expect(message.flags).toHaveLength(501);
  expect(message.flags).toContain("seen");
  expect(message.flags).not.toContain("x".repeat(300));
  expect(message.sizeBytes).toBe(2 ** 31 - 1);
  expect(message.envelope.subject).toHaveLength(10_000);
  expect(message.envelope.from[0]?.name).toHaveLength(10_000);
  expect(message.textPart).toBeNull();
});

describe("parts", () => {
  const text = { part: "1", type: "text/plain", size: 10, encoding: "7BIT", parameters: { charset: "UTF-8" } };
  const html = { part: "2", type: "text/html", size: 90 };
  const read = (bodyStructure: unknown) => toRemoteMessage({ ...row, bodyStructure: bodyStructure as never });

  test("prefer plain text, and take HTML where the plain text is empty", () => {
    expect(read({ type: "multipart/alternative", childNodes: [text, html] }).textPart).toEqual({
      part: "1",
      contentType: "text/plain",
      charset: "utf-8",
      transferEncoding: "7bit",
      encodedSizeBytes: 10,
    });
    expect(read({ type: "multipart/alternative", childNodes: [{ ...text, size: 0 }, html] }).textPart?.part).toBe("2");
    expect(read(text).attachments).toEqual([]);
  });

  test("number a message of one part as 1", () => {
    expect(read({ type: "text/plain", size: 3 }).textPart?.part).toBe("1");
    expect(read({ type: "application/pdf", size: 3 }).attachments[0]?.part).toBe("1");
  });

  test("tell inline pictures from attachments, and keep their content ids", () => {
    const picture = { part: "2", type: "image/png", id: "<cid@x>", size: 5 };
    const inRelated = read({ type: "multipart/related", childNodes: [html, picture] });
    expect(inRelated.attachments).toEqual([
      { part: "2", fileName: null, contentType: "image/png", encodedSizeBytes: 5, contentId: "<cid@x>", isInline: true },
    ]);
    expect(read({ type: "multipart/mixed", childNodes: [text, picture] }).attachments[0]?.isInline).toBe(false);
    expect(read({ type: "multipart/mixed", childNodes: [text, { ...picture, disposition: "inline" }] }).attachments[0]?.isInline).toBe(true);
    expect(read({ type: "multipart/related", childNodes: [html, { ...picture, disposition: "attachment" }] }).attachments[0]?.isInline).toBe(false);
  });

  test("count an attached message once and leave its own parts to it", () => {
    const attached = {
      part: "2",
      type: "message/rfc822",
      size: 99,
      childNodes: [
        {
          type: "multipart/mixed",
          childNodes: [
            { ...text, part: "2.1" },
            { part: "2.2", type: "image/png" },
          ],
        },
      ],
    };
    expect(read({ type: "multipart/mixed", childNodes: [text, attached] }).attachments.map((one) => one.part)).toEqual(["2"]);
    expect(read({ type: "multipart/mixed", childNodes: [{ part: "1", type: "message/rfc822", size: 0 }] })).toMatchObject({ textPart: null });
  });

  test("take a text with a file name, or called an attachment, for what it is", () => {
    const file = { part: "2", type: "text/plain", size: 4, parameters: { name: "notes.txt" } };
    expect(read({ type: "multipart/mixed", childNodes: [text, file] }).attachments[0]?.fileName).toBe("notes.txt");
    expect(read({ ...text, disposition: "attachment" })).toMatchObject({ textPart: null, attachments: [{ part: "1" }] });
  });

  test("survive a multipart without children", () => {
    expect(read({ type: "multipart/mixed" })).toMatchObject({ attachments: [], textPart: null });
  });
});

describe("ids", () => {
  test.each([
    ["<a@b>", "<a@b>"],
    ["  <a@b> (comment)", "<a@b>"],
    ["a@b", "a@b"],
    ["", null],
    ["   ", null],
    [undefined, null],
  ])("%j is %j", (raw, id) => {
    expect(toMessageId(raw)).toBe(id);
  });

  test("of References keep their order, each once, and the root of a thread that is too long", () => {
    expect(toReferences("<a@b> <c@d>  <a@b>")).toEqual(["<a@b>", "<c@d>"]);
    const many = Array.from({ length: 5_000 }, (_, index) => `<${index}@x>`);
    const kept = toReferences(many.join(" "));
    expect(kept).toHaveLength(100);
    expect([kept[0], kept.at(-1)]).toEqual(["<0@x>", "<4999@x>"]);
    expect(toReferences("")).toEqual([]);
  });
});

describe("dates", () => {
  test.each([
    [new Date("2026-11-20T10:00:00Z"), "2026-11-20T10:00:00.000Z"],
    ["Fri, 20 Nov 2026 10:00:00 +0100 (Mitteleuropaeische Zeit)", "2026-11-20T09:00:00.000Z"],
    ["Fri, 20 Nov 2026 10:00:00 Mitteleuropaeische Zeit", "2026-11-20T10:00:00.000Z"],
    ["20-Nov-2026 10:00:00 +0000", "2026-11-20T10:00:00.000Z"],
    ["nonsense", null],
    ["", null],
    [new Date("1970-01-01T00:00:00Z"), null],
    [new Date("9999-01-01T00:00:00Z"), null],
    [new Date(Number.NaN), null],
    [undefined, null],
  ])("%j is %j", (raw, instant) => {
    expect(toInstant(raw)).toBe(instant);
  });

  test("fall back from when it was received to when it was sent", () => {
    const envelope = { date: new Date("2026-01-01T00:00:00Z") };
    expect(toRemoteMessage({ ...row, envelope, internalDate: "never" }).receivedAt).toBe("2026-01-01T00:00:00.000Z");
  });
});
