import { expect, test } from "vitest";
import { attachmentDisposition } from "../../api/content-disposition.ts";
import { maildirEntry } from "../../api/export/maildir.ts";
import { newId } from "../../db/ids.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { newSigningSecret } from "../../webhooks/sign.ts";
import { startReceiver } from "../webhooks/receiver.ts";

/** Names that end lines, quotes, paths and headers, or move a cursor. */
const names = [
  "a\r\nX-Injected: 1",
  'a"; filename="evil.exe',
  "a\\",
  "\u001b[2J\u009b1A.txt",
  "../../../etc/cron.d/evil",
  "a\u2028b\u0000c",
  "\u202efdp.exe",
  "\ud800",
  `${"n".repeat(100_000)}.pdf`,
];

test.each(names)("a file's name cannot leave its place in Content-Disposition (%#)", (name) => {
  const header = attachmentDisposition(name);
  expect(header).toMatch(/^attachment; filename="[^"\\\p{Cc}/]*"; filename\*=UTF-8''[\w.!#$&+^`|~%-]*$/u);
  expect(header.length).toBeLessThan(1_000);
  expect(new Headers({ "Content-Disposition": header }).get("Content-Disposition")).toBe(header);
});

test.each(names)("a folder's path cannot leave its place in an archive (%#)", async (path) => {
  const message = { id: newId("message"), receivedAt: new Date(0), flags: [], path: `x/${path}`, delimiter: "/" };
  const pieces: Buffer[] = [];
  for await (const piece of maildirEntry(message, {
    sizeBytes: 1,
    stream: (async function* () {
      yield Buffer.from("m");
    })(),
  }))
    pieces.push(piece);
  const archive = Buffer.concat(pieces);
  expect(archive.length % 512).toBe(0);
  const text = archive.toString();
  const written = / path=([^\n]*)\n/.exec(text)?.[1] ?? text.slice(0, text.indexOf("\0"));
  expect(written).toMatch(/^\.x\.[^/]*\/cur\/0\.msg_\w+\.everpost:2,$/);
  expect(written).not.toMatch(/\p{Cc}/u);
});

test("a webhook's URL cannot add a header, whatever stands in it", async () => {
  await using receiver = await startReceiver();
  const deliverer = createDeliverer({ resolveHost: createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] }) });
  const base = receiver.url.replace(/\/$/, "");
  for (const path of [
    "/a\r\nX-Injected: 1",
    "/a%0d%0aX-Injected:%201",
    "/?q=\r\nX-Injected: 1",
    "/?q=%0aX-Injected:%201",
    "/a HTTP/1.1\r\nX-Injected: 1\r\n\r\n",
  ]) {
    const outcome = await deliverer.deliver({ url: `${base}${path}`, id: "evt_1", body: "{}", secrets: [newSigningSecret()] });
    expect(outcome.kind, path).toBe("delivered");
  }
  await deliverer.close();
  expect(receiver.received).toHaveLength(5);
  for (const { headers } of receiver.received) expect(Object.keys(headers)).not.toContain("x-injected");
});
