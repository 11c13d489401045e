import { sql } from "kysely";
import { beforeAll, describe, expect, it } from "vitest";
import type { Database } from "../../db/database.ts";
import { type Engine, startEngine, type TestMailbox } from "../activities/engine.ts";
import { dovecot } from "../helpers/dovecot.ts";
import { type Arrival, findFaults, type MailboxEvidence } from "./checker.ts";
import { readKept, readStored } from "./evidence.ts";
import { createLedger, deliverNew, listMail, seedHistory } from "./mail.ts";

const ledger = createLedger();
let engine: Engine;
let mailbox: TestMailbox;
let evidence: MailboxEvidence;

beforeAll(async () => {
  engine = await startEngine();
  mailbox = await engine.addMailbox({ sync: { content: "full", attachments: "download" } });
  const { imapPort, lmtpPort } = dovecot();
  const server = { imapPort, lmtpPort };
  await seedHistory(server, mailbox, ledger, "INBOX", 20);
  const ref = { mailboxId: mailbox.id };
  await engine.run((activities) => activities.openMailbox(ref));
  await engine.run((activities) => activities.importHistory(ref));
  for (let n = 0; n < 3; n++) await deliverNew(server, mailbox.email, ledger);
  for (let n = 0; n < 2; n++) await engine.run((activities) => activities.fetchChanges({ ...ref, paths: null, isThorough: true }));
  await engine.run((activities) => activities.classifyMessages({ ...ref, isSearchComplete: true }));
  await engine.run((activities) => activities.keepContent(ref));
  const listed = await listMail(server, mailbox, true);
  const stored = await readStored(engine.db, mailbox.id);
  const arrivals = stored.events.map((event): Arrival => ({ ...event, webhookId: event.id, isSigned: true, mailboxId: mailbox.id, body: event.id }));
  const shown = { status: "connected", flow: "live", problem: null, messages: 23, unseen: 23 };
  const keeping = { texts: true, sources: true, attachments: true };
  const kept = await readKept(engine.db, engine.deps, mailbox.id);
  evidence = { mailboxId: mailbox.id, delivered: ledger.of(mailbox.email), listed, stored, shown, arrivals, keeping, kept };
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
    ["a delivery that was forgotten", (db) => addDelivery(db, "pending"), "delivery whd_other waits since"],
    ["a delivery that was given up", (db) => addDelivery(db, "failed"), "delivery whd_other waits since"],
    [
      "a folder that rests",
      (db) => sql`update folders set rests_until = now() + interval '1 hour' where path = 'INBOX'`.execute(db),
      "folder INBOX rests until",
    ],
    ["removals that are held back", (db) => sql`update folders set held_since = now() where path = 'INBOX'`.execute(db), "INBOX holds removals back"],
    [
      "a message that was skipped",
      (db) =>
        sql`insert into skipped_messages (folder_id, ref, customer_id, mailbox_id, code, next_attempt_at)
          select id, '7', customer_id, mailbox_id, 'rejected', now() from folders where path = 'INBOX'`.execute(db),
      "message 7 was skipped: rejected",
    ],
    [
      "a change that is left half done",
      async (db) => {
        await sql`insert into message_actions (id, customer_id, mailbox_id, action, when_away, expires_at)
          select 'act_other', customer_id, id, '{}', 'queue', now() from mailboxes`.execute(db);
        await sql`insert into message_action_items (action_id, message_id, customer_id, mailbox_id, state)
          select 'act_other', id, customer_id, mailbox_id, 'begun' from messages limit 1`.execute(db);
      },
      "is left begun",
    ],
    ["content that waits", (db) => sql`update messages set content_state = 'pending' where main_ref = '3'`.execute(db), "is left pending"],
    [
      "a plan of contents that is left half done",
      (db) => sql`update mailboxes set content_plan = jsonb_set(content_plan, '{change}', '{}')`.execute(db),
      "a change of what is kept is left half done",
    ],
    [
      "a message that was told before one that came earlier",
      (db) =>
        sql`update events e set data = o.data from events o
          where e.type = 'message.created' and o.type = 'message.created' and o.mailbox_id = e.mailbox_id
            and e.sequence + o.sequence = (select sum(n) from (select min(sequence) as n from events where type = 'message.created'
              union all select max(sequence) from events where type = 'message.created') ends) and e.id <> o.id`.execute(db),
      ", which came later",
    ],
    ["a counter that ran ahead of its events", (db) => sql`update mailboxes set event_sequence = 50`.execute(db), "counts 50 events"],
  ] as readonly (readonly [string, (db: Database) => Promise<unknown>, string])[])("sees %s", async (_, damage, fault) => {
    const stored = await afterDamage(damage, (db) => readStored(db, mailbox.id));
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

  it.each([
    [
      "a source that was not kept",
      (db) => sql`delete from message_blobs where part = '' and message_id = (select min(message_id) from message_blobs)`.execute(db),
      "was not kept",
    ],
    [
      "the source of another message",
      async (db) => {
        const { rows } = await sql<{ id: string }>`select distinct message_id as id from message_blobs order by 1 limit 2`.execute(db);
        await sql`delete from message_blobs where part = '' and message_id = ${rows[0]?.id}`.execute(db);
        await sql`update message_blobs set message_id = ${rows[0]?.id} where part = '' and message_id = ${rows[1]?.id}`.execute(db);
      },
      "is not what was delivered",
    ],
    [
      "an attachment that is kept twice",
      (db) =>
        sql`insert into message_blobs (key, customer_id, mailbox_id, message_id, part, content_type, size_bytes, sha256, sealed_key)
          select key || 'x', customer_id, mailbox_id, message_id, part || '.9', content_type, size_bytes, sha256, sealed_key
          from message_blobs where part <> '' limit 1`.execute(db),
      "is kept 2 times",
    ],
    ["blobs that the store does not have", (db) => sql`update message_blobs set size_bytes = size_bytes + 1`.execute(db), "cannot be opened"],
    ["a text that lost its end", (db) => sql`update message_texts set text = left(text, 9)`.execute(db), "is not what was delivered"],
    ["a text that was dropped", (db) => sql`update message_texts set is_kept = false`.execute(db), "was not kept"],
  ] as readonly (readonly [string, (db: Database) => Promise<unknown>, string])[])("sees %s", async (_, damage, fault) => {
    const kept = await afterDamage(damage, (db) => readKept(db, engine.deps, mailbox.id));
    expect(findFaults({ ...evidence, kept }).join("\n")).toContain(fault);
  });

  it("sees contents that are kept though the settings keep none", () => {
    const keeping = { texts: false, sources: false, attachments: false };
    expect(findFaults({ ...evidence, keeping }).join("\n")).toContain("is kept, though none is to be");
  });

  it("takes a repeated delivery under the same id for what it is", () => {
    expect(findFaults({ ...evidence, arrivals: [...evidence.arrivals, ...evidence.arrivals.slice(-2)] })).toEqual([]);
  });

  it("sees mail that the server accepted and lost", () => {
    const delivered = [...evidence.delivered, { messageId: "<lost@example.test>", isTold: true, text: "", attachment: null }];
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
async function afterDamage<T>(damage: (db: Database) => Promise<unknown>, read: (db: Database) => Promise<T>): Promise<T> {
  let found: { readonly value: T } | undefined;
  const undone = new Error("undone");
  await engine.db
    .transaction()
    .execute(async (trx) => {
      await damage(trx);
      found = { value: await read(trx) };
      throw undone;
    })
    .catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  if (found === undefined) throw new Error("nothing was read");
  return found.value;
}

async function addDelivery(db: Database, state: "pending" | "failed"): Promise<void> {
  await sql`insert into webhook_endpoints (id, customer_id, url, sealed_secrets) select 'whe_other', id, 'https://example.test', '{}' from customers`.execute(
    db,
  );
  await sql`insert into webhook_deliveries (id, customer_id, endpoint_id, event_id, mailbox_id, lane, state, next_attempt_at)
    select 'whd_other', customer_id, 'whe_other', id, mailbox_id, mailbox_id, ${state}, now() - interval '1 minute' from events limit 1`.execute(db);
}

function setCursor(db: Database, member: string, value: unknown): Promise<unknown> {
  return sql`update folders set cursor = jsonb_set(cursor, array[${member}]::text[], ${JSON.stringify(value)}::jsonb) where path = 'INBOX'`.execute(
    db,
  );
}
