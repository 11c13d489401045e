import { type Kysely, sql } from "kysely";

/**
 * The tables of the foundation. What is written here once is never edited: a change is a new migration.
 *
 * Conventions: every tenant table has customer_id first in its indexes; ids are prefixed text (domain/ids.ts); states are text with a check;
 * instants are timestamptz. The message store is written in pages of hundreds of rows, so its indexes are few and each one has a reader.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  `create table customers (
    id text primary key,
    name text not null,
    created_at timestamptz not null default now()
  )`,

  `create table access_keys (
    id text primary key,
    customer_id text references customers on delete cascade,
    role text not null check (role in ('administrator', 'customer')),
    name text not null,
    prefix text not null,
    hash bytea not null unique,
    scopes text[] not null,
    mailbox_id text,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    check ((role = 'customer') = (customer_id is not null))
  )`,
  `create index access_keys_by_customer on access_keys (customer_id, created_at)`,

  // Append-only: nothing in the code updates or deletes it.
  `create table audit_log (
    id text primary key,
    customer_id text,
    mailbox_id text,
    actor text not null,
    action text not null,
    target text not null,
    details jsonb not null default '{}',
    request_id text,
    created_at timestamptz not null default now()
  )`,
  `create index audit_log_by_customer on audit_log (customer_id, created_at desc, id)`,

  // An answer that a POST with an Idempotency-Key gave; status null while the first request is still at work.
  `create table idempotency_keys (
    customer_id text not null,
    key text not null,
    request_hash bytea not null,
    status int,
    response jsonb,
    created_at timestamptz not null default now(),
    primary key (customer_id, key)
  )`,
  `create index idempotency_keys_by_age on idempotency_keys (created_at)`,

  `create table mailboxes (
    id text primary key,
    customer_id text not null references customers on delete cascade,
    external_id text,
    email text not null,
    display_name text,
    provider text not null,
    settings jsonb not null,
    sync jsonb not null default '{}',
    aliases text[] not null default '{}',
    own_domains text[] not null default '{}',
    status text not null default 'configured'
      check (status in ('not_connected', 'configured', 'awaiting_authorization', 'connected', 'error')),
    is_paused boolean not null default false,
    problem jsonb,
    confirmed_address text,
    event_sequence bigint not null default 0,
    event_tx xid8 not null default '0',
    idle_shard int,
    watch_state text not null default 'off' check (watch_state in ('off', 'connecting', 'watching', 'unsupported')),
    watch_since timestamptz,
    anchored_at timestamptz,
    import_total int not null default 0,
    import_done int not null default 0,
    import_started_at timestamptz,
    import_finished_at timestamptz,
    last_success_at timestamptz,
    last_attempt_at timestamptz,
    next_due_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,
  `create unique index mailboxes_by_external_id on mailboxes (customer_id, external_id) where external_id is not null and deleted_at is null`,
  `create index mailboxes_by_customer on mailboxes (customer_id, created_at desc, id)`,
  `create index mailboxes_by_shard on mailboxes (idle_shard) where idle_shard is not null`,

  // Sealed by db/secrets.ts. One row a mailbox; a reconnect replaces it.
  `create table credentials (
    mailbox_id text primary key references mailboxes on delete cascade,
    customer_id text not null,
    sealed jsonb not null,
    expires_at timestamptz,
    updated_at timestamptz not null default now()
  )`,

  // One live IDLE shard a row; alive_at says for all of its connections that somebody is listening.
  `create table idle_shards (
    shard int primary key,
    alive_at timestamptz
  )`,

  `create table folders (
    id text primary key,
    customer_id text not null,
    mailbox_id text not null references mailboxes on delete cascade,
    path text not null,
    name text not null,
    delimiter text not null,
    role text not null,
    role_source text not null,
    is_selectable boolean not null,
    is_synced boolean not null,
    cursor jsonb,
    history_cursor jsonb,
    import_state text not null default 'pending' check (import_state in ('pending', 'importing', 'complete')),
    was_complete boolean not null default false,
    import_total int not null default 0,
    import_done int not null default 0,
    generation int not null default 0,
    total int not null default 0,
    unseen int not null default 0,
    problem jsonb,
    checked_at timestamptz,
    created_at timestamptz not null default now(),
    unique (mailbox_id, path)
  )`,
  `create index folders_by_customer on folders (customer_id, mailbox_id)`,

  // The registry: one row per mailbox and message, for ever. The id is a hash of mailbox and identity (domain/identity.ts), so the primary key
  // is the registry's uniqueness and an import needs no look-up.
  `create table messages (
    id text primary key,
    customer_id text not null,
    mailbox_id text not null references mailboxes on delete cascade,
    thread_id text not null,
    message_id text,
    envelope jsonb not null,
    subject text not null,
    flags text[] not null,
    size_bytes int not null,
    received_at timestamptz not null,
    attachments jsonb not null,
    text_part jsonb,
    snippet text,
    direction text not null,
    special_use text not null,
    main_folder_id text,
    main_ref text,
    state text not null check (state in ('fetched', 'changed', 'missing', 'settled')),
    told_at timestamptz,
    is_deleted boolean not null default false,
    created_at timestamptz not null default now()
  )`,
  `create index messages_by_mailbox on messages (mailbox_id, received_at desc, id)`,
  `create index messages_by_customer on messages (customer_id, received_at desc, id)`,
  `create index messages_by_thread on messages (thread_id)`,
  `create index messages_unsettled on messages (mailbox_id) where state <> 'settled'`,

  // Where a message lies: one row per folder and provider ref. A new generation begins with each listing from the start.
  `create table message_locations (
    folder_id text not null references folders on delete cascade,
    ref text not null,
    message_id text not null,
    customer_id text not null,
    mailbox_id text not null,
    flags text[] not null,
    generation int not null,
    primary key (folder_id, ref)
  )`,
  `create index message_locations_by_message on message_locations (message_id)`,

  // Texts that somebody asked for, kept for a few days only: see sweepMessageTexts.
  `create table message_texts (
    message_id text primary key,
    customer_id text not null,
    mailbox_id text not null references mailboxes on delete cascade,
    text text not null,
    is_truncated boolean not null,
    created_at timestamptz not null default now()
  )`,
  `create index message_texts_by_age on message_texts (created_at)`,

  // The outbox and the pull stream. "position" orders by commit: a reader takes only transactions that ended (tx below the oldest running one),
  // so a cursor never passes an event that becomes visible later.
  `create table events (
    id text primary key,
    customer_id text not null,
    mailbox_id text,
    sequence bigint,
    type text not null,
    data jsonb not null,
    tx xid8 not null default pg_current_xact_id(),
    position bigint generated always as identity,
    created_at timestamptz not null default now()
  )`,
  `create index events_by_customer on events (customer_id, tx, position)`,
  `create unique index events_by_mailbox on events (mailbox_id, sequence) where mailbox_id is not null`,
  `create index events_by_age on events (created_at)`,

  `create table webhook_endpoints (
    id text primary key,
    customer_id text not null references customers on delete cascade,
    url text not null,
    description text not null default '',
    event_types text[],
    mailbox_ids text[],
    includes_text boolean not null default false,
    sealed_secrets jsonb not null,
    is_enabled boolean not null default true,
    disabled_reason text,
    failing_since timestamptz,
    is_awake boolean not null default false,
    deleted_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,
  `create index webhook_endpoints_by_customer on webhook_endpoints (customer_id, created_at desc, id)`,

  // One row per event and endpoint, made in the transaction that makes the event. lane is the mailbox id, or the endpoint's own id for events
  // without a mailbox: deliveries of one lane go out in order.
  `create table webhook_deliveries (
    id text primary key,
    customer_id text not null,
    endpoint_id text not null references webhook_endpoints on delete cascade,
    event_id text not null,
    mailbox_id text,
    lane text not null,
    position bigint generated always as identity,
    state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    is_replay boolean not null default false,
    attempts jsonb not null default '[]',
    attempt_count int not null default 0,
    next_attempt_at timestamptz not null default now(),
    delivered_at timestamptz,
    created_at timestamptz not null default now()
  )`,
  `create index webhook_deliveries_pending on webhook_deliveries (endpoint_id, lane, position) where state = 'pending'`,
  `create index webhook_deliveries_by_endpoint on webhook_deliveries (endpoint_id, position desc)`,
  `create index webhook_deliveries_by_event on webhook_deliveries (event_id)`,

  // A test of settings that nothing saves: the request is sealed, and both are gone after ten minutes.
  `create table connection_tests (
    id text primary key,
    customer_id text not null,
    mailbox_id text,
    provider text not null,
    email text not null,
    sealed_request jsonb,
    report jsonb,
    created_at timestamptz not null default now()
  )`,
];
