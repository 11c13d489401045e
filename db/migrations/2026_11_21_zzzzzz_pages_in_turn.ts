import { type Kysely, sql } from "kysely";

/** What a page of a mailbox's messages asks of the database once, instead of once a row or in a round trip of its own: docs/adr/0047. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await sql.raw(statement).execute(db);
}

const statements = [
  // Who writes messages or places holds the lock on their folder's row, which goes with its mailbox's: there is nothing that each row could find out anew.
  `alter table messages drop constraint messages_mailbox_id_fkey`,
  `alter table message_locations drop constraint message_locations_folder_id_fkey`,

  // What the constraints did for rows that are removed, which they did one by one. "RI_…" sorts before these names: a mailbox's folders go first, and wait for pages
  // that are being written; a statement of a function sees what those committed.
  ...takingAlong("folders_take_their_places", "folders", "delete from message_locations where folder_id in (select id from removed)"),
  ...takingAlong("mailboxes_take_their_messages", "mailboxes", "delete from messages where mailbox_id in (select id from removed)"),

  // A function, so that it sees what the page before committed although the statement that calls it began before that. The planner knows nothing of a table that
  // has just begun to grow: limits and settings keep it from reading all of it instead of asking the index for each key, and from going on so when it has grown.
  `create function thread_keys_on_record(of_mailbox text, keys bigint[], subject_keys bigint[])
    returns table ("position" int, thread_id text, subject int, subjects int[], last_at timestamptz)
    language plpgsql set enable_seqscan = off set plan_cache_mode = force_custom_plan as $$
    begin
      return query
        select k.at::int, coalesce(s.id, t.id, r.thread_id), r.subject, r.subjects, coalesce(s.last_at, t.last_at)
        from unnest(keys) with ordinality as k (key, at)
        cross join lateral (select * from thread_keys where mailbox_id = of_mailbox and key = k.key limit 1) r
        left join lateral (select * from threads where id = r.thread_id limit 1) t on true
        left join lateral (select * from threads where id = t.merged_into limit 1) s on true
        union all
        select k.at::int, null, null, null, null from unnest(subject_keys) with ordinality as k (key, at)
        where exists (select from messages where mailbox_id = of_mailbox and is_bare_reply)
          and exists (select from messages where mailbox_id = of_mailbox and is_bare_reply and subject_key = k.key);
    end $$`,
];

/** A trigger that does this once for all rows that a statement deletes from the table. */
function takingAlong(name: string, table: string, statement: string): readonly string[] {
  return [
    `create function ${name}() returns trigger language plpgsql as $$ begin ${statement}; return null; end $$`,
    `create trigger ${name} after delete on ${table} referencing old table as removed for each statement execute function ${name}()`,
  ];
}
