import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { plainSubject } from "../../domain/subject.ts";

describe("a prefix of an answer or a forward is taken off", () => {
  it.each([
    ["Re: Lunch"],
    ["RE: Lunch"],
    ["re:Lunch"],
    ["Re : Lunch"],
    ["Re\u00a0: Lunch"],
    ["Re[2]: Lunch"],
    ["Re(3): Lunch"],
    ["RE^4: Lunch"],
    ["Re: Re: Fwd: Lunch"],
    ["Fw: Lunch"],
    ["AW: Lunch"],
    ["WG: AW: Lunch"],
    ["SV: Lunch"],
    ["VB: Lunch"],
    ["VS: Lunch"],
    ["Antw: Lunch"],
    ["Doorst: Lunch"],
    ["TR: Lunch"],
    ["RÉF: Lunch"],
    ["RV: Lunch"],
    ["RES: Lunch"],
    ["ENC: Lunch"],
    ["R: Lunch"],
    ["I: Lunch"],
    ["Odp: Lunch"],
    ["Vá: Lunch"],
    ["YNT: Lunch"],
    ["İLT: Lunch"],
    ["ΑΠ: Lunch"],
    ["Ответ: Lunch"],
    ["השב: Lunch"],
    ["رد: Lunch"],
    ["回复: Lunch"],
    ["答复：Lunch"],
    ["轉寄: Lunch"],
    ["返信: Lunch"],
    ["회신: Lunch"],
    ["[Fwd: Lunch]"],
    ["Lunch (fwd)"],
    ["Re: [list] Re: Lunch"],
    ["[EXTERNAL] Re: Lunch"],
    ["Re: [EXT] Lunch"],
  ])("%s", (subject) => expect(plainSubject(subject)).toMatchObject({ text: "lunch", isReply: true }));
});

describe("what a person typed stays", () => {
  it.each([
    ["Lunch", "lunch"],
    ["Regarding: lunch", "regarding: lunch"],
    ["Report: Re: lunch", "report: re: lunch"],
    ["Research: lunch", "research: lunch"],
    ["Lunch  on\tFriday", "lunch on friday"],
    ["[list] Lunch", "lunch"],
    ["[list]", "[list]"],
    ["(fwd) Lunch", "(fwd) lunch"],
    ["Ｌｕｎｃｈ", "lunch"],
    ["", ""],
  ])("%s", (subject, text) => expect(plainSubject(subject)).toMatchObject({ text, isReply: false }));
});

it("tells a list's tag from the mark that a gateway puts on mail from outside", () => {
  expect(plainSubject("Re: [dev] Lunch").hasTag).toBe(true);
  expect(plainSubject("Re: [EXTERNAL] Lunch").hasTag).toBe(false);
  expect(plainSubject("Re: Lunch [dev]").hasTag).toBe(false);
});

it("leaves nothing of a subject that is all prefix", () => {
  expect(plainSubject("Re: AW: ")).toMatchObject({ text: "", isReply: true });
});

it("gives the same for what it gave, whatever the subject", () => {
  const piece = fc.oneof(fc.constantFrom("Re: ", "AW:", "[x] ", "Fwd:", "[Fwd: ", "]", "(fwd)", " "), fc.string({ unit: "grapheme", maxLength: 5 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const { text } = plainSubject(pieces.join(""));
      const { text: again, isReply } = plainSubject(text);
      // A wrapper or trailer may show only when what stood around it is gone.
      if (!isReply) expect(plainSubject(`Re: ${text}`).text).toBe(again);
    }),
  );
});

it.each([
  ["prefixes", "Re: ".repeat(100_000)],
  ["brackets", "[".repeat(100_000)],
  ["tags", "[a]".repeat(100_000)],
  ["spaces", `Re${" ".repeat(100_000)}:`],
  ["trailers", " (fwd)".repeat(100_000)],
])("takes no time for a subject of nothing but %s", (_title, subject) => {
  const started = performance.now();
  plainSubject(subject);
  expect(performance.now() - started).toBeLessThan(200);
});
