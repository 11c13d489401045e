import type { CopyResponseObject, FetchMessageObject, ImapFlow, StatusObject } from "imapflow";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { until } from "../helpers/wait.ts";
import { imapClient, mail, temporarySandbox } from "./helpers.ts";

let sandbox: Awaited<ReturnType<typeof temporarySandbox>>;
let one: ImapFlow;
let two: ImapFlow;

beforeEach(async () => {
  sandbox = await temporarySandbox();
  [one, two] = await Promise.all([imapClient(sandbox), imapClient(sandbox)]);
});

afterEach(async () => {
  one.close();
  two.close();
  await sandbox[Symbol.asyncDispose]();
});

async function status(client: ImapFlow, path: string): Promise<StatusObject> {
  const found = await client.status(path, { uidNext: true, uidValidity: true, highestModseq: true, messages: true });
  if (!found) throw new Error(`no status of ${path}`);
  return found;
}

function uidMap(copied: CopyResponseObject | false): [number, number][] {
  return copied === false ? [] : [...(copied.uidMap ?? [])];
}

async function collect(messages: AsyncIterable<FetchMessageObject>): Promise<FetchMessageObject[]> {
  const found: FetchMessageObject[] = [];
  for await (const message of messages) found.push(message);
  return found;
}

describe("folders", () => {
  test("lists special uses, levels without mail and names beyond ASCII", async () => {
    const folders = await one.list({ statusQuery: { messages: true, uidNext: true, uidValidity: true } });
    expect(Object.fromEntries(folders.map((folder) => [folder.path, folder.specialUse]))).toEqual({
      INBOX: "\\Inbox",
      Sent: "\\Sent",
      Drafts: "\\Drafts",
      Archive: "\\Archive",
      Junk: "\\Junk",
      Trash: "\\Trash",
      Projects: undefined,
      "Projects/Apollo": undefined,
      "Rechnungen & Büro": undefined,
    });
    expect(folders.find(({ path }) => path === "Projects")?.flags).toContain("\\Noselect");
    expect(folders.find(({ path }) => path === "INBOX")?.status).toMatchObject({ messages: 0, uidNext: 1 });
    expect(folders.every(({ path, subscribed }) => Boolean(subscribed) === (path !== "Projects"))).toBe(true);
  });

  test("creates, renames with all below and deletes", async () => {
    await one.mailboxCreate("Kunden/日本/東京");
    await one.append("Kunden/日本/東京", mail("one"));
    await one.mailboxRename("Kunden", "Customers");
    expect(await two.status("Customers/日本/東京", { messages: true })).toMatchObject({ messages: 1 });
    await one.mailboxDelete("Customers/日本/東京");
    expect((await two.list()).some(({ path }) => path.startsWith("Customers"))).toBe(false);
    await expect(one.mailboxDelete("INBOX")).rejects.toMatchObject({ serverResponseCode: "CANNOT" });
  });

  test("gives a folder that is made again another UIDVALIDITY, at once and after a restart", async () => {
    const seen = new Set<bigint>();
    for (let round = 0; round < 3; round++) {
      await one.mailboxCreate("Again");
      seen.add((await status(one, "Again")).uidValidity ?? 0n);
      await one.mailboxDelete("Again");
    }
    expect(seen.size).toBe(3);
  });
});

describe("two clients on one mailbox", () => {
  test("an append is heard in IDLE, with the UID that APPENDUID promised", async () => {
    await one.mailboxOpen("INBOX");
    const heard = new Promise<number>((resolve) => one.on("exists", ({ count }) => resolve(count)));
    const idling = one.idle();
    const appended = await two.append("INBOX", mail("news"), ["\\Seen", "Projekt"], new Date("2026-02-03T04:05:06Z"));
    expect(await heard).toBe(1);
    expect(appended).toMatchObject({ uid: 1 });
    const [message] = await collect(one.fetch("1", { uid: true, flags: true, internalDate: true, envelope: true, size: true, source: true }));
    await idling;
    expect(message).toMatchObject({
      uid: 1,
      envelope: { subject: "news" },
      internalDate: new Date("2026-02-03T04:05:06Z"),
      size: mail("news").length,
    });
    expect(message?.flags).toEqual(new Set(["\\Seen", "Projekt"]));
    expect(message?.source?.toString()).toBe(mail("news"));
  });

  test("flags set by one are told to the other, once", async () => {
    await one.append("INBOX", mail("a"));
    await one.append("INBOX", mail("b"));
    await one.mailboxOpen("INBOX");
    await two.mailboxOpen("INBOX");
    const told: [number | undefined, Set<string>][] = [];
    one.on("flags", ({ uid, flags }) => told.push([uid, flags]));
    await two.messageFlagsAdd("2", ["\\Flagged"], { uid: true });
    await one.noop();
    await one.noop();
    expect(told).toEqual([[2, new Set(["\\Flagged"])]]);
    await two.messageFlagsRemove("2", ["\\Flagged"], { uid: true });
    await one.noop();
    expect(told.at(-1)).toEqual([2, new Set()]);
  });

  test("a removal is told in IDLE and leaves the other messages their UIDs", async () => {
    for (const subject of ["a", "b", "c"]) await one.append("INBOX", mail(subject));
    await one.mailboxOpen("INBOX");
    await two.mailboxOpen("INBOX");
    const gone = new Promise<number>((resolve) => one.on("expunge", ({ seq }) => resolve(seq ?? 0)));
    const idling = one.idle();
    await two.messageDelete("2", { uid: true });
    expect(await gone).toBe(2);
    expect(await one.search({ all: true }, { uid: true })).toEqual([1, 3]);
    await idling;
  });

  test("a move says where each message went, and moves it", async () => {
    for (const subject of ["a", "b", "c"]) await one.append("INBOX", mail(subject));
    await one.append("Archive", mail("before"));
    await one.mailboxOpen("INBOX");
    const moved = await one.messageMove("1,3", "Archive", { uid: true });
    expect(uidMap(moved)).toEqual([
      [1, 2],
      [3, 3],
    ]);
    await two.mailboxOpen("Archive");
    expect((await collect(two.fetch("1:*", { uid: true, envelope: true }))).map(({ uid, envelope }) => [uid, envelope?.subject])).toEqual([
      [1, "before"],
      [2, "a"],
      [3, "c"],
    ]);
    const copied = await two.messageCopy("3", "INBOX", { uid: true });
    expect(uidMap(copied)).toEqual([[3, 4]]);
    expect(await one.search({ all: true }, { uid: true })).toEqual([2, 4]);
  });

  test("CHANGEDSINCE names exactly what changed", async () => {
    for (const subject of ["a", "b", "c"]) await one.append("INBOX", mail(subject));
    const { highestModseq } = await one.mailboxOpen("INBOX");
    expect(await collect(one.fetch("1:*", { flags: true }, { changedSince: highestModseq ?? 0n }))).toEqual([]);
    await two.mailboxOpen("INBOX");
    await two.messageFlagsAdd("2", ["\\Seen"], { uid: true });
    await two.messageFlagsAdd("2", ["\\Seen"], { uid: true }); // so already: no change
    const changed = await collect(one.fetch("1:*", { flags: true, uid: true }, { changedSince: highestModseq ?? 0n }));
    expect(changed.map(({ uid, modseq }) => [uid, modseq])).toEqual([[2, (highestModseq ?? 0n) + 1n]]);
    expect((await status(one, "INBOX")).highestModseq).toBe((highestModseq ?? 0n) + 1n);
  });
});

test("searches by flags, headers, dates, sizes and text, decoded", async () => {
  await one.append("INBOX", mail("=?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?="), ["\\Seen"], new Date("2026-03-01T12:00:00Z"));
  await one.append("INBOX", mail("plain", "Content\r\n".repeat(100)), ["\\Flagged"], new Date("2026-03-02T12:00:00Z"));
  await one.append("INBOX", mail("report").replace("\r\n\r\nHello.", "\r\nContent-Transfer-Encoding: base64\r\n\r\n8J+MpyBSZWdlbg=="));
  await one.mailboxOpen("INBOX");
  const uids = (query: Parameters<ImapFlow["search"]>[0]) => one.search(query, { uid: true });
  expect(await uids({ subject: "GRÜSSE AUS" })).toEqual([]);
  expect(await uids({ subject: "grüße aus köln" })).toEqual([1]);
  expect(await uids({ seen: false })).toEqual([2, 3]);
  expect(await uids({ or: [{ flagged: true }, { seen: true }] })).toEqual([1, 2]);
  expect(await uids({ since: new Date("2026-03-02"), before: new Date("2026-03-03") })).toEqual([2]);
  expect(await uids({ larger: 800 })).toEqual([2]);
  expect(await uids({ header: { "message-id": "<plain@partner.example>" } })).toEqual([2]);
  expect(await uids({ body: "regen" })).toEqual([3]);
  expect(await uids({ uid: "2:*", not: { flagged: true } })).toEqual([3]);
  expect(await one.search({ all: true }, { uid: true, returnOptions: ["MIN", "MAX", "COUNT", "ALL"] } as never)).toMatchObject({
    min: 1,
    max: 3,
    count: 3,
  });
});

test("a restart keeps UIDVALIDITY, UIDs, flags, MODSEQs and what was removed", async () => {
  for (const subject of ["a", "b", "c"]) await one.append("INBOX", mail(subject));
  await one.mailboxOpen("INBOX");
  await one.messageFlagsAdd("2", ["\\Flagged", "Later"], { uid: true });
  await one.messageDelete("3", { uid: true });
  const before = await status(one, "INBOX");
  await one.mailboxClose();
  await one.mailboxOpen("INBOX");
  const messagesBefore = await collect(one.fetch("1:*", { uid: true, flags: true, source: true }));
  await sandbox.stop();

  const { dataDir } = sandbox;
  sandbox = await temporarySandbox({ dataDir });
  one = await imapClient(sandbox);
  expect(await status(one, "INBOX")).toEqual(before);
  await one.mailboxOpen("INBOX");
  expect(await collect(one.fetch("1:*", { uid: true, flags: true, source: true }))).toEqual(messagesBefore);
  expect(await one.append("INBOX", mail("d"))).toMatchObject({ uid: 4 });
});

test("a client that vanishes in IDLE is forgotten and the others go on", async () => {
  await one.mailboxOpen("INBOX");
  one.idle().catch(() => {});
  await until(() => one.idling, "IDLE");
  one.close();
  await two.append("INBOX", mail("still here"));
  expect(await two.status("INBOX", { messages: true })).toMatchObject({ messages: 1 });
});
