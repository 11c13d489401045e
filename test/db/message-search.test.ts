import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newId } from "../../db/ids.ts";
import { findMessages, type MessageFilter, type MessageOrder, type SearchBounds } from "../../db/message-search.ts";
import { writeMissingTerms } from "../../db/missing-terms.ts";
import type { PageCursor } from "../../db/pages.ts";
import { scopedTo } from "../../db/scope.ts";
import type { Envelope, RemoteMessage } from "../../domain/message.ts";
import { parseSearch, wordsOf } from "../../domain/search-terms.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type FilledMailbox, fillMailbox } from "../helpers/mailboxes.ts";

let database: TestDatabase;
let first: FilledMailbox;
let second: FilledMailbox;
let foreign: FilledMailbox;
const customerId = newId("customer");

/** Small enough that a few hundred messages go through every way of looking. */
const tight: SearchBounds = { firstWalk: 20, longWalk: 40, scatter: 2, sliceMax: 12, matchesMax: 60, sliceMs: 5_000, foldersMax: 1 };
const roomy: SearchBounds = { firstWalk: 10_000, longWalk: 10_000, scatter: 1, sliceMax: 1_000, matchesMax: 10_000, sliceMs: 5_000, foldersMax: 60 };

beforeAll(async () => {
  database = await createTestDatabase();
  const { db } = database;
  first = await fillMailbox(db, { customerId, email: "ann@shop.test", messages: mails("ann@shop.test", 400) });
  second = await fillMailbox(db, { customerId, email: "tom@shop.test", messages: mails("tom@shop.test", 150) });
  foreign = await fillMailbox(db, { customerId: newId("customer"), email: "ann@shop.test", messages: mails("ann@shop.test", 50) });
});
afterAll(() => database.drop());

/** A mail every few days: common and rare words, one that was common long ago only, two that never meet, and people alike. */
function mails(self: string, count: number): readonly { readonly folder: "INBOX" | "Sent" | "Work"; readonly message: Partial<RemoteMessage> }[] {
  return Array.from({ length: count }, (_, i) => {
    const words = [
      "meeting",
      i % 2 === 0 ? "even" : "odd",
      i % 37 === 0 ? "rare" : "",
      i > count * 0.8 ? "bygone" : "",
      i % 50 === 0 ? "Prüfung Łódź" : "",
      i % 41 === 0 ? "blue" : i % 43 === 0 ? "whale blue" : i % 44 === 0 ? "blue whale" : "",
      i === 7 ? "東京都" : "",
    ];
    const other = i % 29 === 0 ? "seldom@far.test" : i > count * 0.7 ? "old.friend@past.test" : "bob@often.test";
    const isSent = i % 5 === 0;
    return {
      folder: isSent ? "Sent" : i % 11 === 0 ? "Work" : "INBOX",
      message: {
        receivedAt: new Date(Date.parse("2026-11-01T00:00:00Z") - Math.floor(i / 2) * 86_400_000 * 2.5).toISOString(),
        flags: i % 13 === 0 ? [] : i % 17 === 0 ? ["flagged", "seen"] : ["seen"],
        traits: i % 31 === 0 ? [{ kind: "bulk", source: "Precedence: bulk" }] : [],
        attachments:
          i % 19 === 0
            ? [
                {
                  part: "2",
                  fileName: "offer_final.pdf",
                  contentType: "application/pdf",
                  encodedSizeBytes: 1,
                  contentId: null,
                  isInline: i % 38 === 0,
                },
              ]
            : [],
        envelope: envelope({
          subject: words.filter((word) => word !== "").join(" "),
          from: [{ name: isSent ? "" : "Some Body", address: isSent ? self : other }],
          to: [{ name: "", address: isSent ? other : self }],
        }),
      },
    };
  });
}

function envelope(parts: Partial<Envelope>): Envelope {
  return { messageId: null, inReplyTo: null, references: [], subject: "", from: [], replyTo: [], to: [], cc: [], bcc: [], sentAt: null, ...parts };
}

/** Every page of a listing, one after the other. */
async function listAll(filter: MessageFilter, order: MessageOrder, limit: number, bounds: SearchBounds) {
  const scope = { customerId, mailboxId: null };
  const ids: string[] = [];
  let after: PageCursor | undefined;
  for (let pages = 0; pages < 2_000; pages++) {
    const page = await findMessages(scopedTo(database.db, scope), scope, filter, { limit, after, order }, bounds);
    expect(page.rows.length).toBeLessThanOrEqual(limit);
    ids.push(...page.rows.map((row) => row.id));
    if (page.next === undefined) return ids;
    after = page.next;
  }
  throw new Error("the listing has no end");
}

/** What a filter means, read off every row. */
async function expected(filter: MessageFilter, typed: string | undefined, order: MessageOrder): Promise<readonly string[]> {
  const rows = await database.db
    .selectFrom("messages")
    .select(["id", "mailbox_id", "envelope", "flags", "traits", "attachments", "special_use", "direction", "received_at", "main_folder_id"])
    .where("customer_id", "=", customerId)
    .execute();
  const wanted = rows.filter((row) => {
    const { from, to, subject } = row.envelope;
    const people = [...from, ...to].map((person) => person.address);
    const said = ` ${[subject, ...from.map((p) => p.name), ...people, ...row.attachments.map((a) => a.fileName ?? "")].map((part) => wordsOf(part).join(" ")).join(" | ")} `;
    const hasFile = row.attachments.some((attachment) => !attachment.isInline);
    const times = [filter.receivedFrom, filter.receivedBefore].map((at) => (at === undefined ? undefined : Date.parse(at)));
    return (
      (filter.mailboxId === undefined || filter.mailboxId === row.mailbox_id) &&
      (filter.folderId === undefined || filter.folderId === row.main_folder_id) &&
      (filter.role === undefined || filter.role === row.special_use) &&
      (filter.direction === undefined || filter.direction === row.direction) &&
      (filter.contact === undefined || people.includes(filter.contact.toLowerCase())) &&
      (filter.isUnread === undefined || filter.isUnread === !row.flags.includes("seen")) &&
      (filter.isFlagged === undefined || filter.isFlagged === row.flags.includes("flagged")) &&
      (filter.hasAttachment === undefined || filter.hasAttachment === hasFile) &&
      (filter.trait === undefined || row.traits.some((trait) => trait.kind === filter.trait)) &&
      (times[0] === undefined || row.received_at.getTime() >= times[0]) &&
      (times[1] === undefined || row.received_at.getTime() < times[1]) &&
      (typed === undefined || meaning(typed).every((test) => test(said)))
    );
  });
  const sign = order === "newest" ? 1 : -1;
  wanted.sort((a, b) => sign * (b.received_at.getTime() - a.received_at.getTime() || (a.id < b.id ? -1 : 1)));
  return wanted.map((row) => row.id);
}

/** The search language once more, over plain text. */
function meaning(typed: string): readonly ((said: string) => boolean)[] {
  return [...typed.matchAll(/(-?)(?:"([^"]*)"|(\S+))/g)].map(([, minus, phrase, bare]) => {
    const words = wordsOf(phrase ?? bare ?? "").join(" ");
    const isIn = (said: string) => said.includes(bare?.endsWith("*") ? ` ${words}` : ` ${words} `);
    return minus === "" ? isIn : (said: string) => !isIn(said);
  });
}

const searches = [
  "meeting",
  "rare",
  "bygone",
  "bygone rare",
  "even odd",
  "even rare",
  '"blue whale"',
  "blue whale",
  "blue -whale",
  "-even",
  "whal*",
  "ev* rare",
  "prufung",
  "LODZ",
  "ŁÓDŹ",
  "bob",
  "far.test",
  "seldom@far.test",
  "offer_final",
  "pdf",
  "nowhere",
  "some body -bygone",
];

const filters: readonly (readonly [string, () => MessageFilter])[] = [
  ["nothing", () => ({})],
  ["a mailbox", () => ({ mailboxId: second.id })],
  ["a folder", () => ({ folderId: first.folders.Work })],
  ["a folder's unread", () => ({ folderId: first.folders.INBOX, isUnread: true })],
  ["a role", () => ({ role: "sent" })],
  ["a role of a mailbox", () => ({ role: "sent", mailboxId: second.id })],
  ["a role that no folder has", () => ({ role: "junk" })],
  ["unread", () => ({ isUnread: true })],
  ["read", () => ({ isUnread: false, mailboxId: second.id })],
  ["flagged", () => ({ isFlagged: true })],
  ["attachments", () => ({ hasAttachment: true })],
  ["no attachments", () => ({ hasAttachment: false, isFlagged: true })],
  ["a trait", () => ({ trait: "bulk" })],
  ["outgoing", () => ({ direction: "outgoing" })],
  ["a direction that no message has", () => ({ direction: "draft" })],
  ["a stretch of time", () => ({ receivedFrom: "2025-12-01T00:00:00Z", receivedBefore: "2026-03-02T00:00:00Z" })],
  ["a common contact", () => ({ contact: "Bob@Often.test" })],
  ["the own address", () => ({ contact: "ann@shop.test" })],
  ["a rare contact", () => ({ contact: "seldom@far.test" })],
  ["a contact of long ago", () => ({ contact: "old.friend@past.test" })],
  ["a contact's attachments", () => ({ contact: "bob@often.test", hasAttachment: true, isUnread: false })],
  ["another customer's folder", () => ({ folderId: foreign.folders.INBOX })],
];

describe.each(["newest", "oldest"] as const)("%s first", (order) => {
  test.each(filters)("lists by %s exactly what there is, once, in order, whichever way it is found", async (_name, filter) => {
    const wanted = await expected(filter(), undefined, order);
    expect(await listAll(filter(), order, 7, roomy)).toEqual(wanted);
    expect(await listAll(filter(), order, 5, tight)).toEqual(wanted);
  });

  test.each(searches)("finds %s exactly where it is said, whichever way it is found", async (typed) => {
    const search = parseSearch(customerId, typed);
    for (const filter of [
      { search },
      { search, mailboxId: second.id },
      { search, folderId: first.folders.INBOX },
      { search, role: "sent" as const },
    ]) {
      const wanted = await expected(filter, typed, order);
      expect(await listAll(filter, order, 9, roomy)).toEqual(wanted);
      expect(await listAll(filter, order, 6, tight)).toEqual(wanted);
    }
  });
});

test("the searches above find something and not everything", async () => {
  for (const typed of searches.filter((search) => !["meeting", "nowhere", "even odd"].includes(search))) {
    const found = await expected({}, typed, "newest");
    expect([typed, found.length > 0 && found.length < 550]).toEqual([typed, true]);
  }
});

test("a script without spaces is found by any of its characters", async () => {
  for (const typed of ["東京", "京都", "東京都", "京"]) {
    expect(await listAll({ search: parseSearch(customerId, typed) }, "newest", 5, tight)).toHaveLength(2);
  }
  expect(await listAll({ search: parseSearch(customerId, "京東") }, "newest", 5, tight)).toEqual([]);
});

test("a key that is bound to a mailbox finds nothing of another, by words or without", async () => {
  const scope = { customerId, mailboxId: second.id };
  const db = scopedTo(database.db, scope);
  for (const filter of [{}, { search: parseSearch(customerId, "rare") }, { mailboxId: first.id }, { folderId: first.folders.INBOX }]) {
    const { rows } = await findMessages(db, scope, filter, { limit: 200, order: "newest" }, tight);
    const mailboxes = await database.db
      .selectFrom("messages")
      .select("mailbox_id")
      .distinct()
      .where("id", "in", ["msg_", ...rows.map((row) => row.id)] as never)
      .execute();
    expect(mailboxes.map((row) => row.mailbox_id)).toEqual("mailboxId" in filter || "folderId" in filter ? [] : [second.id]);
  }
});

test("another customer's words are never looked up", async () => {
  const scope = { customerId: foreign.customerId, mailboxId: null };
  const search = parseSearch(customerId, "meeting");
  expect(await findMessages(scopedTo(database.db, scope), scope, { search }, { limit: 10, order: "newest" }, tight)).toMatchObject({ rows: [] });
});

test("a message whose words changed is found by the old ones no more, and by the new ones once they are written", async () => {
  await using other = await createTestDatabase();
  const mailbox = await fillMailbox(other.db, { customerId, email: "ann@shop.test", messages: mails("ann@shop.test", 1) });
  await sql`update messages set envelope = jsonb_set(envelope, '{subject}', '""')`.execute(other.db);
  const scope = { customerId: mailbox.customerId, mailboxId: null };
  const page = await findMessages(scopedTo(other.db, scope), scope, { search: parseSearch(customerId, "meeting") }, { limit: 5, order: "newest" });
  expect(page.rows).toEqual([]);
  expect(await writeMissingTerms(other.db)).toBe(1);
  const parts = await findMessages(scopedTo(other.db, scope), scope, { search: parseSearch(customerId, "shop.test") }, { limit: 5, order: "newest" });
  expect(parts.rows).toHaveLength(1);
});
