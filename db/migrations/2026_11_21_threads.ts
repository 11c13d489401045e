import { type Kysely, sql } from "kysely";

/** Threads as rows of their own, and what ties messages to them: docs/adr/0026-threads.md. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of [...statements, ...backfill]) await sql.raw(statement).execute(db);
}

const statements = [
  // last_at orders listings: when the newest message that still lies somewhere was received; null when none does. A thread that proved to be part of
  // another names it, for ever, so that its id goes on to mean something; is_moved says that no message carries that id any more.
  `create table threads (
    id text primary key,
    customer_id text not null,
    mailbox_id text not null,
    last_at timestamptz,
    merged_into text,
    is_moved boolean not null default false
  )`,
  `create index threads_by_customer on threads (customer_id, last_at desc, id) where merged_into is null and last_at is not null`,
  `create index threads_by_mailbox on threads (mailbox_id, last_at desc, id) where merged_into is null and last_at is not null`,
  `create index threads_merged on threads (merged_into) where merged_into is not null`,
  `create index threads_to_move on threads (mailbox_id) where merged_into is not null and not is_moved`,

  // One row per mailbox and Message-ID or provider thread id that any message named: 64 bits of its SHA-256, which stand for it within a mailbox.
  // The thread is the one that it was tied to first; where that was merged, threads.merged_into says what it is now, so a merge rewrites no keys.
  // Without a foreign key, which is checked row by row: who removes a mailbox's messages removes these (db/mailbox-state.ts).
  // subject and subjects: hashes of the subjects that the key gathered, the first of them inline, for most have no other.
  `create table thread_keys (
    mailbox_id text not null,
    key bigint not null,
    thread_id text not null,
    subject int not null,
    subjects int[],
    primary key (mailbox_id, key)
  )`,

  // The hash of a subject by which answers without references may find the message; null for all that is never found so.
  `alter table messages add column subject_key bigint, add column is_bare_reply boolean not null default false`,
  `create index messages_by_subject on messages (mailbox_id, subject_key, received_at) where subject_key is not null`,

  // The few messages for which others are looked for by subject.
  `create index messages_bare_replies on messages (mailbox_id, subject_key) where is_bare_reply`,

  // A thread's messages in their order; the old index had the thread alone.
  `create index messages_of_thread on messages (thread_id, received_at)`,
  `drop index messages_by_thread`,
];

/** Threads of messages that were stored before: each as it was told, and the keys that later messages may name. */
export const backfill = [
  `insert into threads (id, customer_id, mailbox_id, last_at)
    select thread_id, min(customer_id), min(mailbox_id), max(received_at) filter (where not is_deleted) from messages group by thread_id
    on conflict (id) do nothing`,
  // The hash of db/threads.ts, in SQL.
  `insert into thread_keys (mailbox_id, key, thread_id, subject)
    select m.mailbox_id, ('x' || encode(substr(sha256(convert_to('message-id ' || k.id, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint, m.thread_id, 0
    from messages m cross join lateral (
      select m.message_id as id union select m.envelope->>'inReplyTo' union select jsonb_array_elements_text(m.envelope->'references')
    ) k
    where k.id is not null
    order by m.received_at
    on conflict (mailbox_id, key) do nothing`,
];
