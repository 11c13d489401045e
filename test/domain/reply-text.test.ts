import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { extractReply } from "../../domain/reply-text.ts";

/** An answer above a quoted letter, as programs of that language write it: what stands between is all that differs. */
const attributions: readonly (readonly [language: string, attribution: string])[] = [
  ["English", "On Tue, Mar 3, 2026 at 9:14 AM Bea Moss <bea@shop.test> wrote:"],
  ["English, wrapped", "On Tue, Mar 3, 2026 at 9:14 AM, Beatrice Alexandra Moss\n<beatrice.alexandra.moss@a-rather-long-name.shop.test> wrote:"],
  ["English, wrapped within the address", "On 3 March 2026 at 09:14, Bea Moss <\nbea@shop.test> wrote:"],
  ["English, without a day", "Bea Moss <bea@shop.test> wrote:"],
  ["English, in figures", "On 2026-03-03 09:14, Bea Moss wrote:"],
  ["English, between dashes", "---- On Tue, 03 Mar 2026 09:14:00 +0000 Bea Moss wrote ----"],
  ["English, without a verb", "Tuesday, 3 March 2026, 09:14 +0000 from bea@shop.test:"],
  ["German", "Am Di., 3. März 2026 um 09:14 Uhr schrieb Bea Moss <bea@shop.test>:"],
  ["German, name first", "Bea Moss <bea@shop.test> schrieb am Di., 3.\nMärz 2026, 09:14:"],
  ["German, Thunderbird", "Am 03.03.2026 um 09:14 schrieb Bea Moss:"],
  ["French", "Le mar. 3 mars 2026 à 09:14, Bea Moss <bea@shop.test> a écrit :"],
  ["Spanish", "El mar, 3 mar 2026 a las 9:14, Bea Moss (<bea@shop.test>) escribió:"],
  ["Portuguese", "Em ter., 3 de mar. de 2026 às 09:14, Bea Moss <bea@shop.test> escreveu:"],
  ["Italian", "Il giorno mar 3 mar 2026 alle ore 09:14 Bea Moss <bea@shop.test>\nha scritto:"],
  ["Dutch", "Op di 3 mrt 2026 om 09:14 schreef Bea Moss <bea@shop.test>:"],
  ["Swedish", "Den tis 3 mars 2026 kl 09:14 skrev Bea Moss <bea@shop.test>:"],
  ["Danish", "Den tirs. 3. mar. 2026 kl. 09.14 skrev Bea Moss <bea@shop.test>:"],
  ["Norwegian", "tir. 3. mars 2026 kl. 09:14 skrev Bea Moss <bea@shop.test>:"],
  ["Finnish", "ti 3. maalisk. 2026 klo 9.14 Bea Moss (bea@shop.test) kirjoitti:"],
  ["Polish", "wt., 3 mar 2026 o 09:14 Bea Moss <bea@shop.test> napisał(a):"],
  ["Czech", "út 3. 3. 2026 v 9:14 odesílatel Bea Moss <bea@shop.test> napsal:"],
  ["Russian", "вт, 3 мар. 2026 г. в 09:14, Bea Moss <bea@shop.test>:"],
  ["Russian, with a verb", "3 марта 2026 г., 09:14 пользователь Bea Moss <bea@shop.test> написал:"],
  ["Ukrainian", "вт, 3 бер. 2026 р. о 09:14 Bea Moss <bea@shop.test> пише:"],
  ["Hungarian", "Bea Moss <bea@shop.test> ezt írta (időpont: 2026. márc. 3., K, 9:14):"],
  ["Turkish", "Bea Moss <bea@shop.test>, 3 Mar 2026 Sal, 09:14 tarihinde şunu yazdı:"],
  ["Greek", "Στις Τρί 3 Μαρ 2026 στις 9:14 π.μ., ο χρήστης Bea Moss <bea@shop.test> έγραψε:"],
  ["Romanian", "În mar., 3 mar. 2026 la 09:14, Bea Moss <bea@shop.test> a scris:"],
  ["Chinese", "Bea Moss <bea@shop.test> 于2026年3月3日周二 09:14写道："],
  ["Japanese", "2026年3月3日(火) 9:14 Bea Moss <bea@shop.test>:"],
  ["Korean", "2026년 3월 3일 (화) 오전 9:14, Bea Moss <bea@shop.test>님이 작성:"],
  ["Vietnamese", "Vào Th 3, 3 thg 3, 2026 vào lúc 09:14 Bea Moss <bea@shop.test> đã viết:"],
  ["Hebrew", "‫בתאריך יום ג׳, 3 במרץ 2026 ב-9:14 מאת ‪Bea Moss‬‏ <‪bea@shop.test‬‏>:‬"],
];

const blocks: readonly (readonly [language: string, block: string])[] = [
  ["English", "From: Bea Moss <bea@shop.test>\nSent: Tuesday, March 3, 2026 9:14 AM\nTo: Ann\nSubject: Order 12"],
  ["English, in bold", "*From:* Bea Moss [mailto:bea@shop.test]\n*Sent:* Tuesday, March 3, 2026 9:14 AM\n*To:* Ann\n*Subject:* Order 12"],
  ["English, below a line", "________________________________\nFrom: Bea Moss\nSent: Tuesday\nTo: Ann\nSubject: Order 12"],
  ["English, between dashes", "-----Original Message-----\nFrom: Bea Moss\nSent: Tuesday\nTo: Ann"],
  ["German", "Von: Bea Moss <bea@shop.test>\nGesendet: Dienstag, 3. März 2026 09:14\nAn: Ann\nBetreff: Bestellung 12"],
  ["German, between dashes", "-----Ursprüngliche Nachricht-----\nVon: Bea Moss"],
  ["French", "De : Bea Moss <bea@shop.test>\nEnvoyé : mardi 3 mars 2026 09:14\nÀ : Ann\nObjet : Commande 12"],
  ["Spanish", "De: Bea Moss <bea@shop.test>\nEnviado el: martes, 3 de marzo de 2026 9:14\nPara: Ann\nAsunto: Pedido 12"],
  ["Portuguese", "De: Bea Moss <bea@shop.test>\nEnviada em: terça-feira, 3 de março de 2026 09:14\nPara: Ann\nAssunto: Pedido 12"],
  ["Italian", "Da: Bea Moss <bea@shop.test>\nInviato: martedì 3 marzo 2026 09:14\nA: Ann\nOggetto: Ordine 12"],
  ["Dutch", "Van: Bea Moss <bea@shop.test>\nVerzonden: dinsdag 3 maart 2026 09:14\nAan: Ann\nOnderwerp: Bestelling 12"],
  ["Swedish", "Från: Bea Moss <bea@shop.test>\nSkickat: den 3 mars 2026 09:14\nTill: Ann\nÄmne: Order 12"],
  ["Danish", "Fra: Bea Moss <bea@shop.test>\nSendt: 3. marts 2026 09:14\nTil: Ann\nEmne: Ordre 12"],
  ["Finnish", "Lähettäjä: Bea Moss <bea@shop.test>\nLähetetty: tiistai 3. maaliskuuta 2026 9.14\nVastaanottaja: Ann\nAihe: Tilaus 12"],
  ["Polish", "Od: Bea Moss <bea@shop.test>\nWysłano: wtorek, 3 marca 2026 09:14\nDo: Ann\nTemat: Zamówienie 12"],
  ["Russian", "От: Bea Moss <bea@shop.test>\nОтправлено: 3 марта 2026 г. 9:14\nКому: Ann\nТема: Заказ 12"],
  ["Turkish", "Kimden: Bea Moss <bea@shop.test>\nGönderildi: 3 Mart 2026 Salı 09:14\nKime: Ann\nKonu: Sipariş 12"],
  ["Chinese", "发件人: Bea Moss <bea@shop.test>\n发送时间: 2026年3月3日 9:14\n收件人: Ann\n主题: 订单 12"],
  ["Japanese", "差出人: Bea Moss <bea@shop.test>\n送信日時: 2026年3月3日 9:14\n宛先: Ann\n件名: 注文 12"],
  ["Korean", "보낸 사람: Bea Moss <bea@shop.test>\n보낸 날짜: 2026년 3월 3일\n받는 사람: Ann\n제목: 주문 12"],
];

const letter = "Yes, please.\nTwo of them would be fine.";

describe("a reply above a quotation", () => {
  test.each(attributions)("ends at the attribution, in %s", (_language, attribution) => {
    for (const quoted of ["> Do you still want it?\n>\n> Bea", "Do you still want it?\n\nBea"]) {
      const found = extractReply(`${letter}\n\n${attribution}\n\n${quoted}\n`);
      expect(found).toMatchObject({ reply: letter, source: "attribution" });
      expect(found.quotedFrom).toContain("Bea Moss".length > 0 && attribution.includes("Bea Moss") ? "Bea" : "bea");
    }
  });

  test.each(blocks)("ends at the header block, in %s", (_language, block) => {
    expect(extractReply(`${letter}\n\n${block}\n\nDo you still want it?\n`).reply).toBe(letter);
  });

  test.each(attributions.filter(([language]) => /^(English|German|Swedish|Dutch)$/.test(language)))(
    "needs no empty line before it, in %s",
    (_language, attribution) => {
      expect(extractReply(`${letter}\n${attribution}\n> Do you still want it?\n`).reply).toBe(letter);
    },
  );
});

describe("signatures", () => {
  test.each([
    ["RFC 3676's", "-- \nAnn Field\nField & Sons"],
    ["one without the blank", "--\nAnn Field"],
    ["underscores", "____________\nAnn Field, legal department\nThis mail is confidential."],
    ["a phone's, in English", "Sent from my iPhone"],
    ["a program's", "Get Outlook for Android"],
    ["a phone's, in German", "Von meinem iPhone gesendet"],
    ["a phone's, in French", "Envoyé de mon iPhone"],
    ["a phone's, in Spanish", "Enviado desde mi iPhone"],
    ["a phone's, in Italian", "Inviato da iPhone"],
    ["a phone's, in Dutch", "Verstuurd vanaf mijn iPad"],
    ["a phone's, in Swedish", "Skickat från min iPhone"],
    ["a phone's, in Polish", "Wysłane z iPhone'a"],
    ["a phone's, in Russian", "Отправлено с iPhone"],
    ["a phone's, in Japanese", "iPhoneから送信"],
  ])("are told apart: %s", (_name, signature) => {
    const found = extractReply(`${letter}\n\n${signature}\n\nOn Tue, Mar 3, 2026 at 9:14 AM Bea <bea@shop.test> wrote:\n> Hm?\n`);
    expect(found.reply).toBe(letter);
    expect(found.signature).not.toBeNull();
  });

  test("leave a name under a greeting to the letter", () => {
    const text = "Yes.\n\nThanks,\nAnn";
    expect(extractReply(text)).toEqual({ reply: text, quotedFrom: null, signature: null, source: "whole_text" });
  });
});

describe("what only looks like a quotation", () => {
  test.each([
    ["sentences that begin like one", "On Monday I wrote to the shop.\nOn the other hand, you said:\nwait until 2027."],
    ["a sentence about writing", "As Bea wrote: never again."],
    ["a list of labels that are no header", "Subject: maths\nRoom: 12"],
    ["a table with a line of dashes", "Item   Price\n--------------\nPen    1.20"],
    ["code between fences", "```\n# ---\n#> x\n```\nThat is all."],
    ["a link in angle brackets", "See\n<https://shop.test/a>\nfor more."],
    ["a quotation that somebody answers", "> Do you still want it?\n\nYes."],
    ["a shop that advertises", "Visit us:\n>>> https://shop.test <<<\nNow!"],
    ["a date on a line", "We meet on 3 March 2026 at 9:14.\nBring: pens"],
  ])("is left alone: %s", (_name, text) => {
    expect(extractReply(text).reply).toBe(text);
  });
});

describe("a reply in other places", () => {
  test("stands below the quotation", () => {
    expect(extractReply("On Mon, Mar 2, 2026 at 9:00, Bea <bea@shop.test> wrote:\n> Do you?\n> Bea\n\nI do.\n").reply).toBe("I do.");
  });

  test("stands between the lines, and keeps what it answers", () => {
    const between = "> Do you want it?\n\nYes.\n\n> And today?\n\nTomorrow.";
    expect(extractReply(`On Mon, Mar 2, 2026 at 9:00, Bea <bea@shop.test> wrote:\n${between}\n`).reply).toBe(between);
  });

  test("ends where only quoted lines follow, with nothing to introduce them", () => {
    expect(extractReply("Fine.\n\n> Do you?\n> Bea\n")).toMatchObject({ reply: "Fine.", source: "quote_marks" });
  });

  test("has lines of a quotation that some program broke go with it", () => {
    expect(extractReply("Fine.\n\nOn Mon, Mar 2, 2026, Bea wrote:\n> See https://shop.test/a?\nb=c&d=e)\n> Bea\n").reply).toBe("Fine.");
  });

  test("is the forwarded message where nothing else was written", () => {
    const forward = "---------- Forwarded message ---------\nFrom: Bea <bea@shop.test>\nSubject: Order\n\nDo you?";
    expect(extractReply(forward).reply).toBe(forward);
    expect(extractReply(`For you.\n\n${forward}`).reply).toBe("For you.");
  });

  test("is nothing where nothing was written", () => {
    expect(extractReply("")).toEqual({ reply: "", quotedFrom: null, signature: null, source: "whole_text" });
    expect(extractReply("\r\n\r\nOn Mon, Mar 2, 2026 at 9:00, Bea <bea@shop.test> wrote:\r\n> Do you?\r\n").reply).toBe("");
  });
});

describe("any text", () => {
  const line = fc.oneof(
    fc.constantFrom(
      "",
      ">",
      "> a",
      "--",
      "-- ",
      "__",
      "On Mon, Mar 2, 2026, Bea <b@x> wrote:",
      "From: a",
      "To: b",
      "wrote:",
      "-----Original Message-----",
      "\u001eCUT\u001e",
      "Sent from my iPhone",
    ),
    fc.string({ unit: "binary", maxLength: 80 }),
  );

  test("gives a reply that is made of its own lines, and never throws", () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 60 }), (lines) => {
        const text = lines.join("\n");
        const { reply } = extractReply(text);
        const own = new Set(
          text
            .replace(/[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "")
            .replace(/[\u00a0\u202f\u3000]/g, " ")
            .split(/\r\n?|\n/)
            .map((one) => one.trim()),
        );
        for (const one of reply.split("\n")) expect(own.has(one.trim()) || one.trim() === "").toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ["one long line", "a".repeat(3_000_000)],
    ["short lines", "a\n".repeat(300_000)],
    ["signatures without a letter", "--\n".repeat(300_000)],
    ["attributions without end", "On Mon, Mar 2, 2026 at 9:00, Bea <bea@shop.test> wrote:\n> a\nb\n".repeat(20_000)],
    ["beginnings of attributions", "On Mon, Mar 2, 2026 at 9:00, Bea <bea@shop.test>\n".repeat(20_000)],
    ["labels without end", "From: a\nx\ny\n".repeat(50_000)],
    ["quote marks without end", ">".repeat(600_000)],
    ["dashes without end", `${"-".repeat(400)}\n`.repeat(1_000)],
    ["addresses without end", `${"a.".repeat(400)}@\n`.repeat(1_000)],
  ])("is read in bounded time: %s", (_name, text) => {
    const start = performance.now();
    extractReply(text);
    expect(performance.now() - start).toBeLessThan(3_000);
  });
});
