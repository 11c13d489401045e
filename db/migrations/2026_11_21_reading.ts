import { type Kysely, sql } from "kysely";

/** What reading needs: words, listings in every usual order, and an order of changes. docs/adr/0027 and 0028 say why so. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  // Null until the words are written: at once for new messages, by housekeeping for those that were there before.
  `alter table messages add column terms tsvector, add column revision xid8 not null default pg_current_xact_id()`,
  `create index messages_by_terms on messages using gin (terms) with (gin_pending_list_limit = 2048)`,
  `create index messages_without_terms on messages (id) where terms is null and not is_deleted`,
  `create index messages_by_revision on messages (mailbox_id, revision, id)`,

  `create index messages_unread_by_customer on messages (customer_id, received_at desc, id) where not ('seen' = any(flags))`,
  `create index messages_unread_by_mailbox on messages (mailbox_id, received_at desc, id) where not ('seen' = any(flags))`,
  `create index messages_flagged_by_customer on messages (customer_id, received_at desc, id) where 'flagged' = any(flags)`,
  `create index messages_flagged_by_mailbox on messages (mailbox_id, received_at desc, id) where 'flagged' = any(flags)`,

  // A copy of the message's own instant, so that a folder of any size is listed in order without reading the rest of its mailbox.
  `alter table message_locations add column received_at timestamptz`,
  `update message_locations l set received_at = m.received_at from messages m where m.id = l.message_id`,
  `create index message_locations_by_time on message_locations (folder_id, received_at desc, message_id)`,
  `create function place_takes_its_messages_instant() returns trigger language plpgsql as $$
    begin
      select m.received_at into new.received_at from messages m where m.id = new.message_id;
      return new;
    end $$`,
  `create trigger place_takes_its_messages_instant before insert on message_locations
    for each row when (new.received_at is null) execute function place_takes_its_messages_instant()`,

  // Here and not in the statements that write: no writer can forget it, and the feed of changes is complete by construction.
  `create function message_was_changed() returns trigger language plpgsql as $$
    begin
      new.revision := pg_current_xact_id();
      if new.terms is not distinct from old.terms
        and (new.envelope, new.snippet, new.attachments) is distinct from (old.envelope, old.snippet, old.attachments)
      then
        new.terms := null;
      end if;
      return new;
    end $$`,
  `create trigger message_was_changed before update on messages for each row execute function message_was_changed()`,

  // Cursors of the feed of changes from before it are too old: deletions since have been forgotten.
  `alter table mailboxes add column changes_floor xid8 not null default '0'`,
];
