import { type Kysely, sql } from "kysely";

/** What a sync has to remember to be sure: since when a message is missing, what a folder holds back, and what could not be stored. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  // Untold: it lost its place before anybody judged it, so neither its deletion nor its move may be told as one.
  `alter table messages add column missing_since timestamptz, add column is_untold boolean not null default false`,
  // Every folder was read, at one and the same instant, after this: what had no place by then is gone.
  `alter table mailboxes add column gone_before timestamptz`,
  `alter table folders
    add column stable_id text,
    add column held_since timestamptz,
    add column held_count int not null default 0,
    add column resets int not null default 0,
    add column resets_since timestamptz,
    add column rests_until timestamptz,
    add column counted_at timestamptz,
    add column miscounted_since timestamptz`,

  // Messages that could not be fetched or stored: they hold up nobody, and are tried again from time to time.
  `create table skipped_messages (
    folder_id text not null references folders on delete cascade,
    ref text not null,
    customer_id text not null,
    mailbox_id text not null references mailboxes on delete cascade,
    code text not null,
    reason text,
    attempts int not null default 1,
    next_attempt_at timestamptz not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (folder_id, ref)
  )`,
  `create index skipped_messages_by_mailbox on skipped_messages (mailbox_id, created_at, folder_id, ref)`,
];
