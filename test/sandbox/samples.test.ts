import { simpleParser } from "mailparser";
import { describe, expect, test } from "vitest";
import { bodyStructure, parseMessage } from "../../sandbox/imap/structure.ts";
import { makeSamples } from "../../sandbox/samples.ts";

const now = new Date("2026-11-21T09:30:00Z");
const samples = makeSamples({ now, email: "alex@sandbox.everpost.test" });
const parsed = await Promise.all(samples.map(async (sample) => ({ sample, mail: await simpleParser(sample.source) })));

describe("the sample mail", () => {
  test("is a few hundred messages in every folder, a few of them unread", () => {
    expect(samples.length).toBeGreaterThan(300);
    expect(samples.length).toBeLessThan(400);
    expect(new Set(samples.map(({ folder }) => folder))).toEqual(
      new Set(["INBOX", "Sent", "Drafts", "Archive", "Junk", "Trash", "Projects/Apollo", "Rechnungen & Büro"]),
    );
    const unread = samples.filter(({ folder, flags }) => folder === "INBOX" && !flags.includes("\\Seen"));
    expect(unread.length).toBeGreaterThan(3);
    expect(unread.length).toBeLessThan(30);
  });

  test("is the same for the same day, byte for byte, at whatever time", () => {
    const later = makeSamples({ now: new Date("2026-11-21T23:59:59Z"), email: "alex@sandbox.everpost.test" });
    const written = (made: typeof samples) => made.map(({ source, ...rest }) => ({ ...rest, source: source.toString("latin1") }));
    expect(written(later)).toEqual(written(samples));
  });

  test("spans the last year, up to yesterday, oldest first", () => {
    const dates = samples.map(({ receivedAt }) => receivedAt);
    expect(dates).toEqual(dates.toSorted((a, b) => a - b));
    expect(dates[0]).toBeGreaterThan(now.getTime() - 367 * 86_400_000);
    expect(dates[0]).toBeLessThan(now.getTime() - 300 * 86_400_000);
    expect(dates.at(-1)).toBeLessThan(Date.UTC(2026, 10, 21));
    expect(dates.at(-1)).toBeGreaterThanOrEqual(Date.UTC(2026, 10, 20));
  });

  test("ends before today and keeps its order on every day of the week", () => {
    for (let day = 1; day <= 7; day++) {
      const made = makeSamples({ now: new Date(Date.UTC(2026, 5, day, 1)), email: "alex@sandbox.everpost.test" });
      expect(made.at(-1)?.receivedAt).toBeLessThan(Date.UTC(2026, 5, day));
    }
  });

  test("is well-formed: a parser of others finds sender, subject, text and an own Message-ID in each", () => {
    const ids = new Set(parsed.map(({ mail }) => mail.messageId));
    expect(ids.size).toBe(samples.length);
    for (const { sample, mail } of parsed) {
      expect(mail.from?.value[0]?.address).toMatch(/@[a-z.-]+\.(test|example)$/);
      expect(mail.subject).toBeTruthy();
      expect(mail.text?.trim()).toBeTruthy();
      expect(mail.text).not.toContain("\ufffd");
      expect(Math.abs((mail.date?.getTime() ?? 0) - sample.receivedAt)).toBeLessThan(1_000);
      expect(sample.source.toString("latin1")).not.toMatch(/[^\r]\n|[\x80-\xff]/);
      expect(
        sample.source
          .toString("latin1")
          .split("\r\n")
          .every((line) => line.length <= 998),
      ).toBe(true);
    }
  });

  test("replies refer to what they answer, which is there, and quote it", () => {
    const ids = new Map(parsed.map(({ mail }) => [mail.messageId, mail]));
    const replies = parsed.filter(({ mail }) => mail.inReplyTo !== undefined);
    expect(replies.length).toBeGreaterThan(70);
    for (const { mail } of replies) {
      const original = ids.get(mail.inReplyTo);
      expect(original?.date?.getTime()).toBeLessThanOrEqual(mail.date?.getTime() ?? 0);
      expect([mail.references].flat().at(-1)).toBe(mail.inReplyTo);
      if (mail.headers.get("auto-submitted") === "auto-replied") continue; // machines do not quote
      const firstLine = original?.text?.split("\n").find((line) => line !== "") ?? "nothing";
      expect(mail.text).toContain(`> ${firstLine}`);
    }
  });

  test("bounces return what lies in Sent", () => {
    const sent = new Set(parsed.filter(({ sample }) => sample.folder === "Sent").map(({ mail }) => mail.messageId));
    const returned = samples.filter(({ source }) => source.includes("multipart/report")).map(({ source }) => source.toString("latin1"));
    expect(returned).toHaveLength(6);
    for (const text of returned)
      expect(sent).toContain(/\r\n(?:[^\r]|\r\n(?!\r\n))*Message-ID: (<[^>]+>)/.exec(text.slice(text.lastIndexOf("\r\nDate:")))?.[1]);
  });

  test("has lists, bounces, absences, invitations, attachments and several scripts", () => {
    const count = (condition: (each: (typeof parsed)[number]) => boolean) => parsed.filter(condition).length;
    const structures = samples.map(({ source }) => bodyStructure(parseMessage(source.toString("latin1")), true));
    expect(count(({ mail }) => mail.headers.has("list") && mail.headerLines.some(({ key }) => key === "list-unsubscribe"))).toBeGreaterThan(40);
    expect(structures.filter((structure) => /"report" \("boundary" "[^"]+" "report-type" "delivery-status"\)/.test(structure))).toHaveLength(6);
    expect(
      count(({ mail }) => mail.headers.get("auto-submitted") === "auto-replied" && /away|congé|Fortbildung|休暇|slow|closed/.test(mail.text ?? "")),
    ).toBe(6);
    expect(structures.filter((structure) => structure.includes('"text" "calendar"')).length).toBeGreaterThan(10);
    for (const type of ["application/pdf", "image/png", "text/csv"]) {
      expect(count(({ mail }) => mail.attachments.some(({ contentType }) => contentType === type))).toBeGreaterThan(1);
    }
    for (const script of [/\p{Script=Han}/u, /\p{Script=Cyrillic}/u, /[äöüß]/, /[éè]/, /\p{Extended_Pictographic}/u]) {
      expect(count(({ mail }) => script.test(mail.subject ?? "") || script.test(mail.text ?? ""))).toBeGreaterThan(2);
    }
    expect(parsed.some(({ mail }) => mail.attachments.some(({ filename }) => filename === "jetée.png"))).toBe(true);
  });
});
