import { type Kysely, sql } from "kysely";

/** What is kept of messages besides what a list shows: texts in a table, sources and attachments as blobs. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements: readonly string[] = [
  // Null for what nothing is to be kept of, which is the default and costs a first sync nothing: the index below is empty then.
  `alter table messages add column content_state text check (content_state in ('pending', 'kept', 'failed'))`,
  `create index messages_content_pending on messages (mailbox_id, received_at desc, id) where content_state = 'pending'`,

  // What the stored messages were last brought in line with, and how far that is; null for nothing kept.
  `alter table mailboxes add column content_plan jsonb`,

  `alter table message_texts add column is_kept boolean not null default false`,
  `alter table message_texts add column reply text`,
  `drop index message_texts_by_age`,
  `create index message_texts_by_age on message_texts (created_at) where not is_kept`,

  // One row per blob. The row is the only thing that refers to the blob, and goes with its message.
  `create table message_blobs (
    key text primary key,
    customer_id text not null,
    mailbox_id text not null references mailboxes on delete cascade,
    message_id text not null references messages on delete cascade,
    part text not null,
    content_type text not null,
    size_bytes bigint not null,
    sha256 bytea not null,
    sealed_key jsonb not null,
    created_at timestamptz not null default now()
  )`,
  `create unique index message_blobs_by_message on message_blobs (message_id, part)`,
  `create index message_blobs_by_mailbox on message_blobs (mailbox_id)`,

  // Blobs that are to be removed from the store. Written before a blob is put, with a day's grace, and taken back in the transaction that stores its
  // row: a process that dies in between leaves the blob to the sweep. There is no other way for a blob to be in the store and nowhere else.
  `create table blob_removals (
    key text primary key,
    due_at timestamptz not null default now(),
    attempts int not null default 0
  )`,
  `create index blob_removals_by_due on blob_removals (due_at)`,

  // A trigger, so that no way of deleting rows, a cascade included, can forget the blob.
  `create function queue_blob_removals() returns trigger language plpgsql as $$
    begin
      insert into blob_removals (key) select key from gone on conflict (key) do update set due_at = least(blob_removals.due_at, now());
      return null;
    end
  $$`,
  `create trigger message_blobs_removed after delete on message_blobs referencing old table as gone
    for each statement execute function queue_blob_removals()`,
];
