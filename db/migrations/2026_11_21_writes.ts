import { type Kysely, sql } from "kysely";

/** What customers ask to be done to messages: one row a request, one a message, kept until it was carried out and for a while after. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  // Counts what we wrote to a folder ourselves: a page that was read before such a write is dropped, as one whose cursor moved.
  `alter table folders add column writes int not null default 0`,

  // mailbox_id is set where the request concerns one mailbox only.
  `create table message_actions (
    id text primary key,
    customer_id text not null references customers on delete cascade,
    mailbox_id text,
    action jsonb not null,
    when_away text not null check (when_away in ('refuse', 'queue')),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  `create index message_actions_by_age on message_actions (created_at)`,

  // One row per message, in the order of the requests (position). "step" is what is under way at the server; a row whose state is begun is never begun
  // again before what the first attempt did was looked for. mailbox_id is null for ids that are not the caller's.
  `create table message_action_items (
    action_id text not null references message_actions on delete cascade,
    message_id text not null,
    customer_id text not null,
    mailbox_id text,
    position bigint generated always as identity,
    state text not null check (state in ('queued', 'begun', 'done', 'not_found', 'refused')),
    steps_done int not null default 0,
    step jsonb,
    problem jsonb,
    primary key (action_id, message_id)
  )`,
  `create index message_action_items_pending on message_action_items (mailbox_id, position) where state in ('queued', 'begun')`,
];
