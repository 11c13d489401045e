import { type FetchMessageObject, ImapFlow, type MessageStructureObject } from "imapflow";
import { expect, test } from "vitest";
import { makeSamples } from "../../sandbox/samples.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { alex, imapClient, temporarySandbox } from "./helpers.ts";

const odd = [
  "Subject: only a header",
  "\r\nno header at all\r\n",
  'From: "A, B" <a@b.example>, Group: c@d.example, e@f.example;\r\nTo: undisclosed-recipients:;\r\nCc: x@y.example (Comment)\r\n\r\nx\r\n',
  "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\nContent-Type: text/html\r\n\r\nnever closed\r\n",
  "Content-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n\r\nSubject: first\r\n\r\none\r\n--a\r\n\r\nSubject: second\r\n\r\ntwo\r\n--a--\r\n",
  "Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
  "Subject: folded\r\n  over\r\n\tlines\r\nDate: not a date\r\nMessage-ID: <a@b>\r\nIn-Reply-To: <c@d>\r\n <e@f>\r\n\r\n",
  'Content-Type: text/plain; charset=utf-8; format=flowed\r\nContent-Language: en, de\r\nContent-Location: http://a.example/\r\nContent-MD5: abc=\r\nContent-ID: <1@2>\r\nContent-Description: some text\r\nContent-Disposition: inline; filename="x.txt"\r\n\r\nx\r\n',
];

test("says of every message what Dovecot says: envelope, structure, size, headers, parts", async () => {
  const sources = [
    ...makeSamples({ now: new Date("2026-11-21T00:00:00Z"), email: alex.email }).map(({ source }) => source),
    ...odd.map((text) => Buffer.from(text)),
  ];
  const { host, imapPort } = dovecot();
  const user = await createMailUser();
  const real = new ImapFlow({
    host,
    port: imapPort,
    secure: false,
    doSTARTTLS: false,
    auth: { user: user.email, pass: user.password },
    logger: false,
  });
  await real.connect();
  await using sandbox = await temporarySandbox();
  const ours = await imapClient(sandbox);
  for (const client of [real, ours]) for (const source of sources) await client.append("INBOX", source, ["\\Seen"], new Date("2026-01-02T03:04:05Z"));

  const query = {
    envelope: true,
    bodyStructure: true,
    size: true,
    headers: true,
    flags: true,
    internalDate: true,
    bodyParts: ["1", "2", "1.1", "1.2", "1.mime", "2.mime", "header", "text"],
  };
  const fetched = async (client: ImapFlow) => {
    await client.mailboxOpen("INBOX");
    return client.fetchAll("1:*", query, { uid: true });
  };
  const [expected, found] = await Promise.all([fetched(real), fetched(ours)]);
  expect(found).toHaveLength(sources.length);
  for (const [index, message] of found.entries()) expect({ index, ...comparable(message) }).toEqual({ index, ...comparable(expected[index]) });
  real.close();
  ours.close();
});

/** Without what differs by right: ids of the server's own, \Recent, and what is said of parts that the structure does not have. */
function comparable(message: FetchMessageObject | undefined) {
  if (message === undefined) return {};
  const { modseq: _modseq, id: _id, emailId: _emailId, threadId: _threadId, bodyParts, flags, headers, ...rest } = message;
  const numbers = new Set(["", ...partNumbers(rest.bodyStructure)]);
  return {
    ...rest,
    headers: headers?.toString("latin1"),
    flags: [...(flags ?? [])].filter((flag) => flag !== "\\Recent"),
    parts: [...(bodyParts ?? [])]
      .filter(([name]) => numbers.has(name.replace(/\.?(mime|header|text)$/, "")))
      .map(([name, bytes]) => [name, bytes?.toString("latin1")]),
  };
}

function partNumbers(node: MessageStructureObject | undefined): string[] {
  return node === undefined ? [] : [node.part ?? "1", ...(node.childNodes ?? []).flatMap(partNumbers)];
}
