import { rmSync } from "node:fs";
import { request } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../helpers/wait.ts";
import { winmail } from "../helpers/winmail.ts";
import { base64Part, type ContentWorld, sourcesAt, startContentWorld, withClient, withParts } from "./content.ts";

setFlagsFromString("--expose_gc");
const collect = runInNewContext("gc") as () => void;

let world: ContentWorld;

beforeAll(async () => {
  world = await startContentWorld({ EVERPOST_API_STREAMS_MAX: "2" });
});
afterAll(() => world[Symbol.asyncDispose]());

const patterned = (length: number) => Buffer.from(Array.from({ length }, (_, index) => (index * index) % 251));

async function download(path: string, headers: Readonly<Record<string, string>> = {}, method = "GET") {
  const response = await fetch(`${world.api.url}${path}`, { method, headers: { Authorization: `Bearer ${world.key}`, ...headers } });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
}

describe("what the server has is streamed from there", () => {
  it("gives the source of a message to the byte", async () => {
    const { mailbox, ids } = await world.synced([withParts("large", [base64Part("application/pdf", "attachment", patterned(2_000_000))])]);
    const [[, source = Buffer.alloc(0)] = []] = await sourcesAt(mailbox, "INBOX");
    const answer = await download(`/v1/messages/${ids[0]}/source`);
    expect(answer.status).toBe(200);
    expect(answer.bytes.equals(source)).toBe(true);
    expect(answer.headers.get("Content-Type")).toBe("message/rfc822");
  });

  it("gives each attachment decoded, whatever its encoding", async () => {
    const content = patterned(700_003);
    const parts = [
      base64Part("application/pdf", 'attachment; filename="a.pdf"', content),
      {
        headers: ["Content-Type: text/csv", 'Content-Disposition: attachment; filename="b.csv"', "Content-Transfer-Encoding: quoted-printable"],
        body: "gr=C3=BC=C3=9Fe;a=3Db;=\r\nnext",
      },
      { headers: ["Content-Type: text/plain", 'Content-Disposition: attachment; filename="c.txt"'], body: "as it stands" },
    ];
    const { ids } = await world.synced([withParts("three", parts)]);
    const { body } = await world.api.call("GET", `/v1/messages/${ids[0]}`, { key: world.key });
    const listed = body.attachments.map(({ part }: { part: string }) => part);
    const answers = [];
    for (const part of listed) answers.push((await download(`/v1/messages/${ids[0]}/attachments/${part}`)).bytes);
    const [pdf, csv, text] = answers;
    expect(pdf?.equals(content)).toBe(true);
    expect(csv?.toString()).toBe("grüße;a=b;next");
    expect(text?.toString()).toBe("as it stands");
  });

  it("finds a message that was moved since it was listed", async () => {
    const { mailbox, ids } = await world.synced([withParts("wanders", [])]);
    const path = `/v1/messages/${ids[0]}/source`;
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageMove("1:*", "Archive", { uid: true });
    });
    expect((await download(path)).status).toBe(404);
    await world.sync(mailbox);
    expect((await download(path)).status).toBe(200);
  });
});

describe("a download is only ever a download", () => {
  it("has a name that no header or file system trips over, and forbids to be shown or run", async () => {
    const html = base64Part(
      "text/html",
      "attachment; filename*=UTF-8''%2e%2e%2f%22na%20me%E2%80%AEgnp%22.html",
      Buffer.from("<script>alert(1)</script>"),
    );
    const { ids } = await world.synced([withParts("hostile", [html])]);
    const answer = await download(`/v1/messages/${ids[0]}/attachments/2`);
    expect(answer.bytes.toString()).toBe("<script>alert(1)</script>");
    const disposition = answer.headers.get("Content-Disposition") ?? "";
    expect(disposition).toMatch(/^attachment; filename="[\x20-\x7e]+"; filename\*=UTF-8''[\w.%!~-]+$/);
    expect(decodeURIComponent(disposition.split("''")[1] ?? "")).toBe("__na megnp_.html");
    expect(answer.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(answer.headers.get("Content-Security-Policy")).toMatch(/^sandbox; default-src 'none'/);
    expect(answer.headers.get("Cache-Control")).toBe("private, no-store");
  });

  it("is described by HEAD without asking the server", async () => {
    const { mailbox, ids } = await world.synced([withParts("headless", [base64Part("image/png", "attachment", Buffer.from("png"))])]);
    await world.engine.db.deleteFrom("credentials").where("mailbox_id", "=", mailbox.id).execute();
    const answer = await download(`/v1/messages/${ids[0]}/attachments/2`, {}, "HEAD");
    expect([answer.status, answer.headers.get("Content-Type"), answer.bytes.length]).toEqual([200, "image/png", 0]);
    expect(answer.headers.get("Accept-Ranges")).toBe("none");
  });

  it("says what is wrong before the first byte", async () => {
    const { mailbox, ids } = await world.synced([withParts("gone", [])]);
    expect((await download(`/v1/messages/${ids[0]}/attachments/9`)).status).toBe(404);
    expect((await download(`/v1/messages/${ids[0]}/attachments/1:2`)).status).toBe(400);
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("INBOX");
      await client.messageDelete("1:*", { uid: true });
    });
    const gone = await world.api.call("GET", `/v1/messages/${ids[0]}/source`, { key: world.key });
    expect([gone.status, gone.body.type]).toEqual([404, "https://everpost.dev/problems/mail/not_found"]);
    await world.engine.db.updateTable("mailboxes").set({ deleted_at: new Date() }).where("id", "=", mailbox.id).execute();
    const disconnected = await world.api.call("GET", `/v1/messages/${ids[0]}/source`, { key: world.key });
    expect([disconnected.status, disconnected.body.code]).toEqual([409, "conflict"]);
  });
});

describe("a large attachment", () => {
  it("is read as fast as it is taken, costs no memory, and no longer once the client hangs up; others are told to wait", async () => {
    const megabytes = 50;
    const content = Buffer.alloc(megabytes * 1024 * 1024, "0123456789abcdef");
    const { ids } = await world.synced([withParts("fifty", [base64Part("application/zip", 'attachment; filename="a.zip"', content)])]);
    const path = `/v1/messages/${ids[0]}/attachments/2`;

    const stalled = await open(path);
    const also = await open(path);
    const refused = await world.api.call("GET", path, { key: world.key });
    expect([refused.status, refused.body.code]).toEqual([503, "service_unavailable"]);
    also.destroy();

    const before = heldBytes();
    const whole = await until(async () => {
      const response = await fetch(`${world.api.url}${path}`, { headers: { Authorization: `Bearer ${world.key}` } });
      if (response.status !== 200) return void (await response.arrayBuffer());
      let length = 0;
      let peak = 0;
      for await (const chunk of response.body ?? []) {
        const isNextSample = Math.floor(length / sampleEvery) !== Math.floor((length + chunk.length) / sampleEvery);
        length += chunk.length;
        if (isNextSample) peak = Math.max(peak, heldBytes());
      }
      return { length, peak };
    }, "the place of the client that hung up");
    expect(whole.length).toBe(content.length);
    // Client and server in one process; without backpressure the stalled one alone would hold all 50 MB.
    expect(whole.peak - before).toBeLessThan(15 * 1024 * 1024);

    stalled.destroy();
    const lines = () => world.api.logLines.filter((line) => line.includes('"isCut":true')).length;
    await until(async () => lines() >= 2, "both to be logged as cut");
    // Both places are free again: what the clients that hung up had asked for is not read any further.
    const [one, two] = await Promise.all([open(path), open(path)]);
    one.destroy();
    two.destroy();
  });

  const sampleEvery = 4 * 1024 * 1024;

  /** What is held, garbage aside. */
  function heldBytes(): number {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  }

  /** A client that has read the beginning and now takes nothing more. */
  function open(path: string): Promise<import("node:http").IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(`${world.api.url}${path}`, { headers: { Authorization: `Bearer ${world.key}` } }, (response) => {
        response.pause();
        if (response.statusCode === 200) resolve(response);
        else reject(new Error(`answered ${response.statusCode}`));
      });
      sent.on("error", () => {});
      sent.end();
    });
  }
});

describe("what is kept is served from there", () => {
  it("in parts where they are asked for, without the server, and from the server once the store has lost it", async () => {
    const content = patterned(300_000);
    const part = base64Part("application/pdf", 'attachment; filename="a.pdf"', content);
    const { mailbox, ids } = await world.synced([withParts("kept", [part])], { content: "full", attachments: "download" });
    await world.engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
    const [[, source = Buffer.alloc(0)] = []] = await sourcesAt(mailbox, "INBOX");
    const path = `/v1/messages/${ids[0]}/attachments/2`;
    const credentials = await world.engine.db.deleteFrom("credentials").where("mailbox_id", "=", mailbox.id).returningAll().executeTakeFirstOrThrow();

    expect((await download(`/v1/messages/${ids[0]}/source`)).bytes.equals(source)).toBe(true);
    const whole = await download(path);
    expect([whole.status, whole.headers.get("Content-Length"), whole.headers.get("Accept-Ranges")]).toEqual([200, "300000", "bytes"]);
    expect(whole.bytes.equals(content)).toBe(true);
    for (const [range, first, last] of [
      ["bytes=0-0", 0, 0],
      ["bytes=65535-65537", 65_535, 65_537],
      ["bytes=299000-", 299_000, 299_999],
      ["bytes=-10", 299_990, 299_999],
      ["bytes=100-9999999", 100, 299_999],
    ] as const) {
      const answer = await download(path, { Range: range });
      expect([answer.status, answer.headers.get("Content-Range")]).toEqual([206, `bytes ${first}-${last}/300000`]);
      expect(answer.bytes.equals(content.subarray(first, last + 1)), range).toBe(true);
    }
    const behind = await download(path, { Range: "bytes=300000-" });
    expect([behind.status, behind.headers.get("Content-Range")]).toEqual([416, "bytes */300000"]);
    expect((await download(path, { Range: "bytes=0-1", "If-Range": '"other"' })).status).toBe(200);
    expect((await download(path, { Range: "bytes=0-1", "If-Range": whole.headers.get("ETag") ?? "" })).status).toBe(206);
    const head = await download(path, {}, "HEAD");
    expect([head.status, head.headers.get("Content-Length"), head.bytes.length]).toEqual([200, "300000", 0]);

    await world.engine.db
      .insertInto("credentials")
      .values({ ...credentials, sealed: JSON.stringify(credentials.sealed) })
      .execute();
    rmSync(world.api.config.blobs.dir, { recursive: true });
    const again = await download(path);
    expect([again.status, again.headers.get("Accept-Ranges")]).toEqual([200, "none"]);
    expect(again.bytes.equals(content)).toBe(true);
  });
});

describe("the text of a message", () => {
  const html = '<p>Hello <b>Bob</b><script>alert(1)</script><img src="cid:logo@x"><img src="https://tracker.example/p.gif"></p>';
  // The two texts are alternatives, as mail programs send them.
  const message = () => Buffer.from(mixed().toString().replace("multipart/mixed", "multipart/alternative"));
  const mixed = () =>
    withParts(
      "text",
      [
        { headers: ["Content-Type: text/html; charset=utf-8"], body: html },
        { headers: ["Content-Type: image/png", "Content-ID: <logo@x>", "Content-Disposition: inline"], body: "png" },
      ],
      "Fine with me.\r\n\r\nOn Fri, 20 Nov 2026 at 10:00, Bob <bob@example.test> wrote:\r\n> Is it?",
    );
  const textOf = async (id: string | undefined, query = "") =>
    (await world.api.call("GET", `/v1/messages/${id}/text${query}`, { key: world.key })).body;

  it("comes from the server in the forms that are asked for", async () => {
    const { ids } = await world.synced([message()]);
    expect(await textOf(ids[0])).toMatchObject({ reply: "Fine with me.", html: null, sanitizedHtml: null, isTruncated: false, source: "fetched" });
    const all = await textOf(ids[0], "?formats=html,sanitizedHtml");
    expect(all).toMatchObject({ plain: null, reply: null, blockedImages: 1 });
    expect(all.html).toContain("<script>");
    expect(all.sanitizedHtml).toContain("<b>Bob</b>");
    expect(all.sanitizedHtml).toMatch(new RegExp(`/v1/messages/${ids[0]}/attachments/\\d`));
    expect(all.sanitizedHtml).not.toMatch(/script|tracker/);
    expect((await textOf(ids[0], "?formats=sanitizedHtml&remoteImages=true")).sanitizedHtml).toContain("tracker.example");
  });

  it("comes from what is kept, without the server", async () => {
    const { mailbox, ids } = await world.synced([message()], { content: "text" });
    await world.engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
    await world.engine.db.deleteFrom("credentials").where("mailbox_id", "=", mailbox.id).execute();
    expect(await textOf(ids[0])).toMatchObject({ reply: "Fine with me.", source: "kept" });
    expect((await textOf(ids[0], "?formats=plain")).plain).toContain("Is it?");
  });

  it("is empty, and said to be cut, where no parser reads the source, fetched or kept", async () => {
    const source = withParts(
      "a thousand parts",
      Array.from({ length: 1_100 }, () => ({ headers: ["Content-Type: text/plain"], body: "x" })),
    );
    const empty = { plain: "", html: null, sanitizedHtml: null, reply: "", isTruncated: true };
    const fetched = await world.synced([source]);
    expect(await textOf(fetched.ids[0], "?formats=plain,html,sanitizedHtml,reply")).toMatchObject({ ...empty, source: "fetched" });
    const { mailbox, ids } = await world.synced([source], { content: "full" });
    await world.engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
    expect(await textOf(ids[0], "?formats=plain,reply")).toMatchObject({ ...empty, source: "kept" });
    expect(await textOf(ids[0], "?formats=html,sanitizedHtml")).toMatchObject({ ...empty, plain: null, reply: null, source: "kept" });
  });

  it("names formats that there are not", async () => {
    const { ids } = await world.synced([message()]);
    const { errors } = await textOf(ids[0], "?formats=plain,pdf");
    expect(errors[0].pointer).toBe("#/formats");
  });
});

describe("what Outlook wrapped into winmail.dat", () => {
  const html = { headers: ["Content-Type: text/html; charset=utf-8"], body: '<p>Hello<img src="cid:logo@x"></p>' };
  const message = () => withParts("wrapped", [html, base64Part("application/ms-tnef", 'attachment; filename="winmail.dat"', winmail)]);
  const textOf = async (id: string | undefined, query = "") =>
    (await world.api.call("GET", `/v1/messages/${id}/text${query}`, { key: world.key })).body;
  const listed = [
    { part: "3", fileName: "winmail.dat", wrappedIn: null },
    { part: "3.tnef.1", fileName: "Pläne für März.pdf", contentType: "application/pdf", encodedSizeBytes: 4, isInline: false, wrappedIn: "3" },
    { part: "3.tnef.2", fileName: "logo.png", contentId: "logo@x", encodedSizeBytes: 3, isInline: true, wrappedIn: "3" },
  ];

  it("is listed with the text, and downloaded like any attachment", async () => {
    const { ids } = await world.synced([message()]);
    expect((await textOf(ids[0])).attachments).toMatchObject(listed);
    const pdf = await download(`/v1/messages/${ids[0]}/attachments/3.tnef.1`);
    expect([pdf.status, pdf.bytes.toString(), pdf.headers.get("Content-Type")]).toEqual([200, "%PDF", "application/pdf"]);
    expect(pdf.headers.get("Content-Disposition")).toContain("filename*=UTF-8''Pl%C3%A4ne%20f%C3%BCr%20M%C3%A4rz.pdf");
    expect(pdf.headers.get("Content-Security-Policy")).toMatch(/^sandbox/);
    const half = await download(`/v1/messages/${ids[0]}/attachments/3.tnef.1`, { Range: "bytes=1-2" });
    expect([half.status, half.bytes.toString(), half.headers.get("Content-Range")]).toEqual([206, "PD", "bytes 1-2/4"]);
    expect([...(await download(`/v1/messages/${ids[0]}/attachments/3.tnef.2`)).bytes]).toEqual([1, 2, 3]);
    expect((await download(`/v1/messages/${ids[0]}/attachments/3`)).bytes.equals(winmail)).toBe(true);
  });

  it("shows its pictures in the HTML that names them", async () => {
    const { ids } = await world.synced([message()]);
    expect((await textOf(ids[0], "?formats=sanitizedHtml")).sanitizedHtml).toContain(`/v1/messages/${ids[0]}/attachments/3.tnef.2`);
  });

  it("is there without the server where the winmail.dat is kept", async () => {
    const { mailbox, ids } = await world.synced([message()], { content: "text", attachments: "download" });
    await world.engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
    await world.engine.db.deleteFrom("credentials").where("mailbox_id", "=", mailbox.id).execute();
    expect(await textOf(ids[0])).toMatchObject({ source: "kept", attachments: listed });
    expect((await download(`/v1/messages/${ids[0]}/attachments/3.tnef.1`)).bytes.toString()).toBe("%PDF");
  });

  it("is left out of a kept text while only the server has it, and the text is answered", async () => {
    const { mailbox, ids } = await world.synced([message()], { content: "text" });
    await world.engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
    await world.engine.db.deleteFrom("credentials").where("mailbox_id", "=", mailbox.id).execute();
    const answer = await textOf(ids[0]);
    expect(answer.plain).toContain("See the attachment.");
    expect(answer.attachments).toMatchObject([{ part: "3" }]);
    expect(answer.attachments).toHaveLength(1);
  });

  it("is not found where there is no such thing, or attachments are not shown", async () => {
    const pdf = base64Part("application/pdf", 'attachment; filename="a.pdf"', winmail);
    const none = base64Part("application/ms-tnef", 'attachment; filename="winmail.dat"', Buffer.from("no such thing"));
    const { ids } = await world.synced([withParts("others", [pdf, none])]);
    for (const part of ["2.tnef.1", "3.tnef.1", "9.tnef.1"]) {
      expect((await download(`/v1/messages/${ids[0]}/attachments/${part}`)).status, part).toBe(404);
    }
    for (const part of ["3.tnef", "tnef.1", "3.tnef.x", "3.tnef.1.1"]) {
      expect((await download(`/v1/messages/${ids[0]}/attachments/${part}`)).status, part).toBe(400);
    }
    const hidden = await world.synced([message()], { attachments: "skip" });
    expect((await textOf(hidden.ids[0])).attachments).toEqual([]);
    expect((await download(`/v1/messages/${hidden.ids[0]}/attachments/3.tnef.1`)).status).toBe(404);
    const { ids: present } = await world.synced([message()]);
    for (const part of ["3.tnef.0", "3.tnef.3", "3.tnef.9999"]) {
      expect((await download(`/v1/messages/${present[0]}/attachments/${part}`)).status, part).toBe(404);
    }
  });
});
