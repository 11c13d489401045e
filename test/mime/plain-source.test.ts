import { simpleParser } from "mailparser";
import { describe, expect, test } from "vitest";
import { type MessageToRead, readTexts } from "../../mime/parse-source.ts";
import { readPlainSource, type SourceTexts } from "../../mime/plain-source.ts";
import { type Chance, chanceOf } from "../chaos/random.ts";

const head =
  "From: Ann <ann@a.example>\r\nTo: Bob <bob@b.example>\r\nSubject: Hello\r\nDKIM-Signature: v=1; b=abc\r\n\tdef==\r\nMIME-Version: 1.0\r\n";
const plain = (text: string, more = "") => `Content-Type: text/plain; charset=utf-8\r\n${more}\r\n${text}`;
const marked = (html: string, more = "") => `Content-Type: text/html; charset="UTF-8"\r\n${more}\r\n${html}`;
const file = (name: string, more = "") =>
  `Content-Type: application/pdf; name="${name}"\r\nContent-Disposition: attachment;\r\n filename="${name}"\r\nContent-Transfer-Encoding: base64\r\n${more}\r\nJVBERi0xLjQK\r\nJVBERi0=\r\n`;
const multipart = (kind: string, boundary: string, parts: readonly string[]) =>
  `Content-Type: multipart/${kind}; boundary="${boundary}"\r\n\r\n${parts.map((part) => `--${boundary}\r\n${part}\r\n`).join("")}--${boundary}--\r\n`;
const quoted = "Content-Transfer-Encoding: quoted-printable\r\n";
const base64 = "Content-Transfer-Encoding: base64\r\n";
const html = "<html><body><p>Hello <b>Bob</b></p></body></html>";

/** Mail as most of it is written. */
const usual: Readonly<Record<string, string>> = {
  "a text": `${head}${plain("Hello Bob\r\n\r\nAnn\r\n")}`,
  "a text with bare line feeds": `${head}${plain("Hello Bob\r\n\r\nAnn\r\n")}`.replaceAll("\r\n", "\n"),
  "no type at all": `${head}\r\nHello Bob\r\n`,
  "quoted-printable": `${head}${plain("Gr=C3=BC=C3=9Fe =3D=\r\n soft\r\n", quoted)}`,
  base64: `${head}${plain(`${Buffer.from("Grüße\r\nAnn\r\n").toString("base64")}\r\n`, base64)}`,
  "ISO-8859-1": `${head}Content-Type: text/plain; charset=iso-8859-1\r\n${quoted}\r\nGr=FC=DFe\r\n`,
  "windows-1252": `${head}Content-Type: text/plain; charset=Windows-1252\r\n${quoted}\r\n=80 5 =96 =93x=94\r\n`,
  "mark-up alone": `${head}${marked(html)}`,
  alternatives: `${head}${multipart("alternative", "b", [plain("Hello"), marked(html, quoted.replace("quoted-printable", "7bit"))])}`,
  "an empty text beside mark-up": `${head}${multipart("alternative", "b", [plain(""), marked(html)])}`,
  "a preamble and an epilogue": `${head}${multipart("mixed", "b", [plain("Hello"), file("a.pdf")]).replace("\r\n\r\n", "\r\n\r\nThis is MIME.\r\n")}The end.\r\n--b\r\n\r\nnot a part`,
  "a file": `${head}${multipart("mixed", "=_b.1", [plain("Hello\r\n"), file("a.pdf")])}`,
  "files only": `${head}${multipart("mixed", "b", [file("a.pdf"), file("b.pdf")])}`,
  "a text that is a file": `${head}${multipart("mixed", "b", [plain("Hello"), plain("a,b", "Content-Disposition: attachment; filename=a.txt\r\n")])}`,
  "pictures of mark-up, and a file": `${head}${multipart("mixed", "o", [
    multipart("related", "r", [
      multipart("alternative", "a", [plain("Hello"), marked(`${html}<img src="cid:1">`)]),
      "Content-Type: image/png\r\nContent-ID: <1>\r\nContent-Disposition: inline\r\n\r\nxx",
    ]),
    file("a.pdf"),
  ])}`,
  "boundaries that begin alike": `${head}${multipart("mixed", "b", [multipart("alternative", "b1", [plain("Hello --b\r\n--bx"), marked(html)]), file("a.pdf")])}`,
  "an attached message": `${head}${multipart("mixed", "b", [plain("Hello"), `Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n${head}${plain("Theirs")}`])}`,
  "parts without headers": `${head}${multipart("mixed", "b", ["\r\nHello\r\n", file("a.pdf")])}`,
  "an unclosed part of mark-up": `${head}${multipart("related", "b", [marked("<p>Hello <b>Bob")])}`,
};

/** What may be meant in more than one way, or says more than one text. */
const unusual: Readonly<Record<string, string>> = {
  "flowed text": `${head}Content-Type: text/plain; format=flowed\r\n\r\nHello \r\nBob\r\n`,
  "two texts": `${head}${multipart("mixed", "b", [plain("One"), plain("Two")])}`,
  "a text and mark-up one after the other": `${head}${multipart("mixed", "b", [plain("One"), marked(html)])}`,
  "winmail.dat": `${head}${multipart("mixed", "b", [plain(""), file("winmail.dat")])}`,
  "a file whose name is encoded": `${head}${multipart("mixed", "b", [plain("x"), file("=?utf-8?B?d2lubWFpbC5kYXQ=?=").replace("application/pdf", "application/octet-stream")])}`,
  "a message within": `${head}${multipart("mixed", "b", [plain("x"), `Content-Type: message/rfc822\r\nContent-Disposition: inline\r\n\r\n${head}${plain("Theirs")}`])}`,
  "a report": `${head}${multipart("report", "b", [plain("x"), "Content-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n"])}`,
  "a multipart that is not closed": `${head}${multipart("mixed", "b", [plain("x")]).replace("--b--", "")}`,
  "a boundary in a comment": `${head}${multipart("mixed", "b", [plain("x")]).replace('"b"', '"b" (x)')}`,
  "the same type twice": `${head}Content-Type: text/html\r\n${plain("x")}`,
  "the same boundary within itself": `${head}${multipart("mixed", "b", [multipart("alternative", "b", [plain("x"), marked(html)])])}`,
  "broken base64": `${head}${plain("SGVsbG8=SGVsbG8\r\n", base64)}`,
  "broken quoted-printable": `${head}${plain("a=ZZ  \r\n", quoted)}`,
  Japanese: `${head}Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$BF|\x1b(B\r\n`,
  "no body": head,
};

describe("readPlainSource", () => {
  test.each(Object.entries(usual))("reads %s as mailparser does", async (_name, source) => {
    expect(readPlainSource(Buffer.from(source))).toEqual(await byMailparser(Buffer.from(source)));
  });

  test.each(Object.entries(unusual))("leaves %s to mailparser", (_name, source) => {
    expect(readPlainSource(Buffer.from(source))).toBeUndefined();
  });

  test("reads what was changed or cut anywhere as mailparser does, or not at all", async () => {
    const chance = chanceOf(5);
    let read = 0;
    let left = 0;
    for (const source of [...Object.values(usual), ...Object.values(unusual)].map((text) => Buffer.from(text))) {
      for (let round = 0; round < 100; round += 1) {
        const changed = change(source, chance);
        const ours = readPlainSource(changed);
        if (ours === undefined) left += 1;
        else {
          read += 1;
          expect(comparable(ours), JSON.stringify(changed.toString("latin1"))).toEqual(await byMailparser(changed));
        }
      }
    }
    expect(read).toBeGreaterThan(500);
    expect(left).toBeGreaterThan(500);
  }, 60_000);
});

describe("readTexts", () => {
  const read = (...sources: readonly string[]) => {
    const envelope = { subject: "", from: [], replyTo: [], to: [], cc: [], bcc: [] };
    const searchable = { mailboxId: "mbx_1", receivedAt: "2026-11-21T00:00:00Z", envelope, attachments: [], traits: [], snippet: null } as const;
    const messages = sources.map((source): MessageToRead => ({ source: Buffer.from(source), searchable }));
    return readTexts({ messages, customerId: "cus_abcd", charactersMax: 1_000 });
  };

  test("gives text, reply, line of preview and words, whoever read the source", async () => {
    const answer = "Yes\r\n\r\nOn Fri, 20 Nov 2026, Ann wrote:\r\n> Will you?\r\n";
    for (const source of [`${head}${plain(answer)}`, `${head}Content-Type: text/plain; format=flowed\r\n\r\n${answer}`]) {
      const [text] = await read(source);
      expect(text).toMatchObject({ reply: "Yes", isTruncated: false, snippet: expect.stringContaining("Yes On Fri") });
      expect(text?.text).toContain("> Will you?");
      expect(text?.terms).toContain("'abcdyes':");
    }
  });

  test("makes a text of mark-up that is all there is, within a multipart too", async () => {
    expect(await read(`${head}${multipart("related", "b", [marked("<p>Hello</p><p>Bob</p>")])}`)).toMatchObject([{ text: "Hello\n\nBob" }]);
  });

  test("gives no text of a source that the parser gives up on, and the texts of the others", async () => {
    const endless = `${head}Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\nx\r\n".repeat(1_100)}--b--\r\n`;
    expect(await read(endless, `${head}${plain("Hello")}`)).toMatchObject([
      { text: "", snippet: null, isTruncated: true },
      { text: "Hello", isTruncated: false },
    ]);
  });
});

async function byMailparser(source: Buffer) {
  const mail = await simpleParser(source, { skipTextToHtml: true, skipImageLinks: true });
  return comparable({ text: mail.text ?? "", html: mail.html || null });
}

/** The line end before a delimiter is the delimiter's; mailparser takes it for the content of a part that has no other. */
function comparable({ text, html }: SourceTexts): SourceTexts {
  return { text: text === "\n" ? "" : text, html: html === "\n" ? null : html };
}

/** Cuts off the end, or takes out, doubles, or overwrites a few bytes; mostly with what means something in MIME. */
function change(source: Buffer, chance: Chance): Buffer {
  const at = chance.between(0, source.length - 1);
  const length = chance.between(1, 40);
  const kind = chance.between(0, 3);
  if (kind === 0) return source.subarray(0, at);
  if (kind === 1) return Buffer.concat([source.subarray(0, at), source.subarray(at + length)]);
  if (kind === 2) return Buffer.concat([source.subarray(0, at + length), source.subarray(at)]);
  return Buffer.concat([source.subarray(0, at), Buffer.from(chance.pick(telling)), source.subarray(at + chance.between(0, 2))]);
}

const telling = ["\r\n", "\n", "\r", "--b", "--b--", "--b\r\n", "\r\n\r\n", " ", "\t", ";", '"', "=", "=\r\n", ":", "\\", "(", "*", "-", "\0", "é"];
