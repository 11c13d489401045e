import { sql } from "kysely";
import { beforeAll, describe, expect, it } from "vitest";
import type { Database } from "../../db/database.ts";
import { type Engine, startEngine, type TestMailbox } from "../activities/engine.ts";
import { dovecot } from "../helpers/dovecot.ts";
import { type Arrival, findFaults, type MailboxEvidence } from "./checker.ts";
import { readStored } from "./evidence.ts";
import { createLedger, deliverNew, listMail, seedHistory } from "./mail.ts";

const ledger = createLedger();
let engine: Engine;
let mailbox: TestMailbox;
let evidence: MailboxEvidence;

beforeAll(async () => {
  engine = await startEngine();
  mailbox = await engine.addMailbox();
  const { imapPort, lmtpPort } = dovecot();
  const server = { imapPort, lmtpPort };
  await seedHistory(server, mailbox, ledger, "INBOX", 20);
  const ref = { mailboxId: mailbox.id };
  await engine.run((activities) => activities.openMailbox(ref));
  await engine.run((activities) => activities.importHistory(ref));
  for (let n = 0; n < 3; n++) await deliverNew(server, mailbox.email, ledger);
  for (let n = 0; n < 2; n++) await engine.run((activities) => activities.fetchChanges({ ...ref, paths: null, isThorough: true }));
  await engine.run((activities) => activities.classifyMessages({ ...ref, isSearchComplete: true }));
  const listed = await listMail(server, mailbox);
  const stored = await readStored(engine.db, mailbox.id);
  const arrivals = stored.events.map((event): Arrival => ({ ...event, webhookId: event.id, isSigned: true, mailboxId: mailbox.id, body: event.id }));
  const shown = { status: "connected", flow: "live", problem: null, messages: 23, unseen: 23 };
  evidence = { mailboxId: mailbox.id, delivered: ledger.of(mailbox.email), listed, stored, shown, arrivals };
  return () => engine[Symbol.asyncDispose]();
});

describe("the checker of the kill tests", () => {
  it("finds nothing wrong with a mailbox that was synced in peace", () => {
    expect(findFaults(evidence)).toEqual([]);
  });

  /** What the damage does to the real tables, undone after each look. */
  it.each([
    [
      "a message that was dropped",
      (db) => sql`delete from messages where id in (select id from messages limit 1)`.execute(db),
      "is not in the database",
    ],
    [
      "a message that is there twice",
      (db) =>
        sql`insert into messages (id, customer_id, mailbox_id, thread_id, message_id, envelope, subject, flags, size_bytes, received_at, attachments,
            direction, special_use, state)
          select 'msg_other', customer_id, mailbox_id, thread_id, message_id, envelope, subject, flags, size_bytes, received_at, attachments,
            direction, special_use, state from messages limit 1`.execute(db),
      "is in the database 2 times",
    ],
    ["a place that was dropped", (db) => sql`delete from message_locations where ref = '3'`.execute(db), "at INBOX:3 is not known"],
    ["a place where nothing lies", (db) => sql`update message_locations set ref = '99' where ref = '3'`.execute(db), "but nothing lies there"],
    ["a message that nobody judged", (db) => sql`update messages set state = 'fetched' where main_ref = '21'`.execute(db), "was left fetched"],
    ["a cursor that ran ahead", (db) => setCursor(db, "uidNext", 30), "its cursor's UIDNEXT is 30, not 24"],
    ["a cursor that stayed behind", (db) => setCursor(db, "exists", 22), "its cursor's count is 22, not 23"],
    ["a cursor of another folder", (db) => setCursor(db, "uidValidity", "1"), "its cursor's UIDVALIDITY is"],
    ["a listing that did not end", (db) => sql`update folders set import_state = 'importing' where path = 'INBOX'`.execute(db), "import state"],
    ["a wrong count of unseen messages", (db) => sql`update folders set unseen = 1 where path = 'INBOX'`.execute(db), "its unseen is 1, not 23"],
    ["an event that was dropped", (db) => sql`delete from events where sequence = 3`.execute(db), "was never told"],
    ["an event that was dropped, by the gap", (db) => sql`delete from events where sequence = 3`.execute(db), "event number 3 is missing"],
    [
      "a message that was told as two events",
      async (db) => {
        await sql`insert into events (id, customer_id, mailbox_id, sequence, type, data)
          select 'evt_other', customer_id, mailbox_id, (select max(sequence) + 1 from events), type, data from events where sequence = 3`.execute(db);
        await sql`update mailboxes set event_sequence = event_sequence + 1`.execute(db);
      },
      "was told as 2 events",
    ],
    ["a counter that ran ahead of its events", (db) => sql`update mailboxes set event_sequence = 50`.execute(db), "counts 50 events"],
  ] as readonly (readonly [string, (db: Database) => Promise<unknown>, string])[])("sees %s", async (_, damage, fault) => {
    const stored = await afterDamage(damage);
    expect(findFaults({ ...evidence, stored }).join("\n")).toContain(fault);
  });

  it.each([
    ["a webhook that never arrived", (all) => all.slice(0, -1), "never arrived"],
    ["a webhook under a second id", (all) => [...all, { ...all.at(-1), webhookId: "evt_other" }], "was told as 2 events"],
    ["webhooks out of order", (all) => [all.at(-1), ...all.slice(0, -1)], "arrived after"],
    ["a webhook with a wrong signature", (all) => all.map((arrival) => ({ ...arrival, isSigned: false })), "wrong signature"],
    ["a webhook whose repetition says something else", (all) => [...all, { ...all[0], body: "other" }], "different bodies"],
  ] as readonly (readonly [string, (all: readonly Arrival[]) => readonly Arrival[], string])[])("sees %s", (_, change, fault) => {
    expect(findFaults({ ...evidence, arrivals: change(evidence.arrivals) }).join("\n")).toContain(fault);
  });

  it("takes a repeated delivery under the same id for what it is", () => {
    expect(findFaults({ ...evidence, arrivals: [...evidence.arrivals, ...evidence.arrivals.slice(-2)] })).toEqual([]);
  });

  it("sees mail that the server accepted and lost", () => {
    const delivered = [...evidence.delivered, { messageId: "<lost@example.test>", isTold: true }];
    expect(findFaults({ ...evidence, delivered })).toContain("<lost@example.test> was accepted, but the mail server lost it");
  });

  it("sees history that was told", () => {
    const delivered = evidence.delivered.map((one) => ({ ...one, isTold: false }));
    expect(findFaults({ ...evidence, delivered }).join("\n")).toContain("was told, though it is not to be");
  });

  it("sees a mailbox that is not shown as live, and one that is shown with a wrong count", () => {
    const shown = { ...evidence.shown, flow: "importing", messages: 22 };
    expect(findFaults({ ...evidence, shown })).toEqual([
      "the API shows connected and importing, not connected and live",
      "the API counts 22 messages, IMAP 23",
    ]);
  });
});

/** What is read from the tables while the damage is done; nothing of it stays. */
async function afterDamage(damage: (db: Database) => Promise<unknown>): Promise<MailboxEvidence["stored"]> {
  let stored: MailboxEvidence["stored"] | undefined;
  const undone = new Error("undone");
  await engine.db
    .transaction()
    .execute(async (trx) => {
      await damage(trx);
      stored = await readStored(trx, mailbox.id);
      throw undone;
    })
    .catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  if (stored === undefined) throw new Error("nothing was read");
  return stored;
}

function setCursor(db: Database, member: string, value: unknown): Promise<unknown> {
  return sql`update folders set cursor = jsonb_set(cursor, array[${member}]::text[], ${JSON.stringify(value)}::jsonb) where path = 'INBOX'`.execute(
    db,
  );
}
