import { describe, expect, test } from "vitest";
import { type TraitFacts, traitHeaders, traitsOf } from "../../domain/traits.ts";

/** Facts of ordinary mail, changed by what a case says. */
function facts(
  headers: Readonly<Record<string, string>> = {},
  changes: Partial<TraitFacts> & { readonly sender?: string; readonly name?: string } = {},
): TraitFacts {
  const { sender = "ann@example.test", name = "Ann", ...rest } = changes;
  return {
    headers: new Map(Object.entries(headers).map(([field, value]) => [field.toLowerCase(), [value]])),
    from: [{ name, address: sender }],
    subject: "Lunch",
    contentType: "text/plain",
    reportType: null,
    partTypes: ["text/plain"],
    ...rest,
  };
}

const report = (reportType: string, ...partTypes: string[]) => ({
  contentType: "multipart/report",
  reportType,
  partTypes: ["text/plain", ...partTypes],
});
const daemon = { sender: "MAILER-DAEMON@mx.example.test", name: "Mail Delivery System" };

describe("traits", () => {
  test("of ordinary mail are none", () => {
    expect(traitsOf(facts())).toEqual([]);
    expect(traitsOf(facts({ "Auto-Submitted": "no", "Return-Path": "<ann@example.test>" }, { subject: "Re: Undeliverable parcel" }))).toEqual([]);
  });

  test.each<[string, TraitFacts, string, string]>([
    [
      "a complaint by its report type",
      facts({}, report("feedback-report")),
      "complaint",
      "Content-Type: multipart/report; report-type=feedback-report",
    ],
    [
      "a complaint by a part",
      facts({}, { partTypes: ["text/plain", "message/feedback-report"] }),
      "complaint",
      "a part of type message/feedback-report",
    ],
    ["a bounce by its report type", facts({}, report("delivery-status")), "bounce", "Content-Type: multipart/report; report-type=delivery-status"],
    ["a bounce by a part", facts({}, { partTypes: ["message/delivery-status"] }), "bounce", "a part of type message/delivery-status"],
    ["a bounce by Exim's field", facts({ "X-Failed-Recipients": "bob@example.test" }), "bounce", "X-Failed-Recipients"],
    [
      "a bounce by sender and subject",
      facts({}, { sender: "postmaster@example.test", name: "", subject: "Undeliverable: Lunch" }),
      "bounce",
      "From: postmaster, with a subject of failure",
    ],
    [
      "a bounce by a sender without a usable address",
      facts({}, { sender: "", name: "MAILER-DAEMON", subject: "failure notice" }),
      "bounce",
      "From: MAILER-DAEMON, with a subject of failure",
    ],
    [
      "a bounce by sender and return path",
      facts({ "Return-Path": "<>" }, { ...daemon, subject: "Sorry" }),
      "bounce",
      "From: MAILER-DAEMON, with an empty return path",
    ],
    [
      "a bounce in German",
      facts({ "Return-Path": "<>" }, { subject: "Unzustellbar: Mittagessen" }),
      "bounce",
      "Return-Path: <>, with a subject of failure",
    ],
    [
      "a bounce in Japanese",
      facts({}, { ...daemon, subject: "メールを送信できませんでした" }),
      "bounce",
      "From: MAILER-DAEMON, with a subject of failure",
    ],
    [
      "a bounce in Russian",
      facts({}, { ...daemon, subject: "Ваше сообщение не доставлено" }),
      "bounce",
      "From: MAILER-DAEMON, with a subject of failure",
    ],
    [
      "an automatic reply by RFC 3834",
      facts({ "Auto-Submitted": "auto-replied (vacation)" }),
      "auto_reply",
      "Auto-Submitted: auto-replied (vacation)",
    ],
    ["an automatic reply by an older field", facts({ "X-Autoreply": "yes" }), "auto_reply", "X-Autoreply: yes"],
    ["an automatic reply by its precedence", facts({ Precedence: "auto_reply" }), "auto_reply", "Precedence: auto_reply"],
    ["an automatic reply by its subject", facts({}, { subject: "Automatic reply: Lunch" }), "auto_reply", "Subject: Automatic reply: Lunch"],
    [
      "an automatic reply in French",
      facts({}, { subject: "Réponse automatique : Déjeuner" }),
      "auto_reply",
      "Subject: Réponse automatique : Déjeuner",
    ],
    ["an automatic reply behind AW:", facts({}, { subject: "AW: Abwesenheitsnotiz: Essen" }), "auto_reply", "Subject: AW: Abwesenheitsnotiz: Essen"],
    ["a mailing list by its id", facts({ "List-Id": "Riders <riders.example.test>" }), "mailing_list", "List-Id: Riders <riders.example.test>"],
    ["a mailing list by its precedence", facts({ Precedence: "list" }), "mailing_list", "Precedence: list"],
    ["bulk by its precedence", facts({ Precedence: "Bulk" }), "bulk", "Precedence: Bulk"],
    ["bulk by a way to unsubscribe", facts({ "List-Unsubscribe": "<https://example.test/u>" }), "bulk", "List-Unsubscribe"],
  ])("tell %s, and what it rests on", (_name, given, kind, source) => {
    expect(traitsOf(given)).toEqual([{ kind, source }]);
  });

  test.each<[string, TraitFacts]>([
    ["a delay", facts({}, { ...report("delivery-status", "message/delivery-status"), ...daemon, subject: "Delivery Status Notification (Delay)" })],
    ["Exim's warning", facts({ "Auto-Submitted": "auto-replied" }, { ...daemon, subject: "Warning: message 1Gd-00 delayed 72 hours" })],
    ["a delivery that succeeded", facts({}, { ...report("delivery-status"), ...daemon, subject: "Successful Mail Delivery Report" })],
    ["a read receipt", facts({ "Auto-Submitted": "auto-replied" }, { ...report("disposition-notification"), subject: "Read: Lunch" })],
    ["a person who writes about a bounce", facts({}, { subject: "Fwd: Undelivered Mail Returned to Sender" })],
    [
      "a person who is called Postmaster",
      facts({ "Return-Path": "<postmaster@example.test>" }, { sender: "postmaster@example.test", subject: "Lunch" }),
    ],
    ["a person who writes about the office", facts({}, { subject: "Out of office supplies again" })],
  ])("take %s for nothing special", (_name, given) => {
    expect(traitsOf(given)).toEqual([]);
  });

  test("stand beside each other: a newsletter of a list, a returned automatic reply", () => {
    const kinds = (given: TraitFacts) => traitsOf(given).map(({ kind }) => kind);
    expect(kinds(facts({ "List-Id": "<news.example.test>", "List-Unsubscribe": "<mailto:u@example.test>", Precedence: "bulk" }))).toEqual([
      "mailing_list",
      "bulk",
    ]);
    expect(kinds(facts({ "Auto-Submitted": "auto-replied" }, { ...report("delivery-status"), ...daemon }))).toEqual(["bounce"]);
  });

  test("quote no more of a header than tells what was meant", () => {
    const [trait] = traitsOf(facts({ "List-Id": "x".repeat(5_000) }));
    expect(trait?.source).toHaveLength(200);
  });

  test("ask for no header that no rule reads", () => {
    const values: Readonly<Record<string, string>> = { "return-path": "<>", "auto-submitted": "auto-replied", precedence: "bulk" };
    for (const name of traitHeaders) {
      const key = name.toLowerCase();
      const given = facts({ [key]: values[key] ?? "yes" }, { subject: "Undeliverable" });
      expect(traitsOf(given), name).not.toEqual([]);
    }
  });
});
