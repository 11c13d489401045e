import { sql } from "kysely";
import { type Address, normaliseAddress } from "../domain/address.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { MailboxId, MessageId, ThreadId } from "../domain/ids.ts";
import type { Envelope } from "../domain/message.ts";
import { findMessages, isMatch, type MessageFilter } from "./message-search.ts";
import { isBehind, type Page, type PageCursor, type PageRequest, pageInstant, toPage } from "./pages.ts";
import type { Scope, ScopedConnection } from "./scope.ts";

/** A thread as it is shown: all but its place is worked out when it is read. */
export interface ShownThread {
  readonly id: ThreadId;
  readonly mailboxId: MailboxId;
  readonly account: string | null;
  /** Of its first message. */
  readonly subject: string;
  /** Of its newest message. */
  readonly snippet: string | null;
  readonly participants: readonly Address[];
  readonly messageCount: number;
  readonly unreadCount: number;
  readonly isFlagged: boolean;
  readonly hasAttachment: boolean;
  readonly roles: readonly FolderRole[];
  readonly firstMessageAt: string;
  readonly lastMessageAt: string;
}

/** Which threads: those of which a message answers this description. */
export type ThreadFilter = Omit<MessageFilter, "threadIds">;

/** Participants are read from this many messages, the newest: who wrote in them is who is talking. */
const readMax = 20;
const participantsMax = 50;
/** Messages that are looked at in one round, and rounds of a page: a short page says by its cursor where to go on. */
const roundSize = 200;
const roundsMax = 5;

/** Threads by their newest message that is asked for, newest first. A page may be short, or even empty, although more follow: `next` alone tells. */
export async function listThreads(db: ScopedConnection, scope: Scope, filter: ThreadFilter, request: PageRequest): Promise<Page<ShownThread>> {
  const { mailboxId, ...others } = filter;
  const isPlain = Object.values(others).every((value) => value === undefined);
  const page = isPlain ? await newestThreads(db, mailboxId, request) : await matchingThreads(db, scope, filter, request);
  return { rows: await showThreads(db, page.rows), next: page.next };
}

/** The thread that has this id or took in the one that had it; undefined if nothing is left of it. */
export async function findThread(db: ScopedConnection, id: ThreadId): Promise<ShownThread | undefined> {
  const [shown] = await showThreads(db, (await threadIdsOf(db, id)).slice(0, 1));
  return shown;
}

/** Under which ids the messages of a thread lie: its own, and for a moment those of huge threads that it took in. */
export async function threadIdsOf(db: ScopedConnection, id: ThreadId): Promise<readonly ThreadId[]> {
  const row = await db.selectFrom("threads").select("merged_into").where("id", "=", id).executeTakeFirst();
  const current = row?.merged_into ?? id;
  const moving = await db.selectFrom("threads").select("id").where("merged_into", "=", current).where("is_moved", "=", false).execute();
  return [current, ...moving.map((thread) => thread.id)];
}

/** All threads there are, from the index that has them in order. */
async function newestThreads(db: ScopedConnection, mailboxId: MailboxId | undefined, { limit, after }: PageRequest): Promise<Page<ThreadId>> {
  let query = db.selectFrom("threads as t").select(["t.id", pageInstant("t.last_at").as("page_at")]);
  query = query.where("t.merged_into", "is", null).where("t.last_at", "is not", null);
  if (mailboxId !== undefined) query = query.where("t.mailbox_id", "=", mailboxId);
  if (after !== undefined) query = query.where(isBehind("t.last_at", "t.id", after));
  const rows = await query
    .orderBy("t.last_at", "desc")
    .orderBy("t.id")
    .limit(limit + 1)
    .execute();
  const page = toPage(rows, limit);
  return { rows: page.rows.map((row) => row.id), next: page.next };
}

/** Reads matching messages newest first, and takes each one's thread unless a newer message stood for it already, in this page or before it. */
async function matchingThreads(db: ScopedConnection, scope: Scope, filter: ThreadFilter, { limit, after }: PageRequest): Promise<Page<ThreadId>> {
  const found = new Map<ThreadId, PageCursor>();
  const passed = new Set<ThreadId>();
  let position = after;
  for (let round = 0; round < roundsMax; round += 1) {
    const page = await findMessages(db, scope, filter, { limit: roundSize, after: position, order: "newest" });
    const threadOf = await threadsOf(
      db,
      page.rows.map((row) => row.id),
    );
    const candidates = new Set([...threadOf.values()].filter((thread) => !found.has(thread) && !passed.has(thread)));
    for (const thread of await shownBefore(db, scope, filter, after, [...candidates])) passed.add(thread);
    for (const { id, page_at: at } of page.rows) {
      const thread = threadOf.get(id);
      if (thread === undefined || found.has(thread) || passed.has(thread)) continue;
      // Behind the message that stood for the last thread of the page: what follows has not been shown.
      if (found.size === limit) return { rows: [...found.keys()], next: [...found.values()].at(-1) };
      found.set(thread, { at, id });
    }
    position = page.next;
    if (position === undefined) return { rows: [...found.keys()], next: undefined };
  }
  return { rows: [...found.keys()], next: position };
}

async function threadsOf(db: ScopedConnection, ids: readonly MessageId[]): Promise<ReadonlyMap<MessageId, ThreadId>> {
  if (ids.length === 0) return new Map();
  const rows = await db.selectFrom("messages").select(["id", "thread_id"]).where("id", "in", ids).execute();
  return new Map(rows.map((row) => [row.id, row.thread_id]));
}

/** Of these threads, those for which a matching message stood at or before the cursor. */
async function shownBefore(
  db: ScopedConnection,
  scope: Scope,
  filter: ThreadFilter,
  cursor: PageCursor | undefined,
  threads: readonly ThreadId[],
): Promise<readonly ThreadId[]> {
  if (cursor === undefined || threads.length === 0) return [];
  const { rows } = await sql<{ thread_id: ThreadId }>`
    select t.id as thread_id from unnest(${threads}::text[]) as t (id)
    where exists (
      select from messages m where m.thread_id = t.id and m.received_at >= ${cursor.at}::timestamptz
        and (m.received_at > ${cursor.at}::timestamptz or m.id <= ${cursor.id}) and ${isMatch(scope, filter)}
    )
  `.execute(db);
  return rows.map((row) => row.thread_id);
}

/** These threads, in this order; those without a message that still lies somewhere are left out. */
async function showThreads(db: ScopedConnection, ids: readonly ThreadId[]): Promise<readonly ShownThread[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom("messages as m")
    .innerJoin("mailboxes as b", "b.id", "m.mailbox_id")
    .select(["m.thread_id", "m.mailbox_id", "b.external_id"])
    .select((eb) => [
      eb.fn.countAll<number>().as("messages"),
      sql<number>`count(*) filter (where not ('seen' = any(m.flags)))`.as("unread"),
      sql<boolean>`bool_or('flagged' = any(m.flags))`.as("is_flagged"),
      sql<boolean>`bool_or(jsonb_path_exists(m.attachments, '$[*] ? (@.isInline == false)'))`.as("has_attachment"),
      sql<FolderRole[]>`array_agg(distinct m.special_use)`.as("roles"),
      eb.fn.min("m.received_at").as("first_at"),
      eb.fn.max("m.received_at").as("last_at"),
    ])
    .where("m.thread_id", "in", ids)
    .where("m.is_deleted", "=", false)
    .groupBy(["m.thread_id", "m.mailbox_id", "b.external_id"])
    .execute();
  const texts = await readTexts(
    db,
    rows.map((row) => row.thread_id),
  );
  const byId = new Map(rows.map((row) => [row.thread_id, row]));
  return ids.flatMap((id) => {
    const row = byId.get(id);
    if (row === undefined) return [];
    return {
      id,
      mailboxId: row.mailbox_id,
      account: row.external_id,
      ...(texts.get(id) ?? { subject: "", snippet: null, participants: [] }),
      messageCount: row.messages,
      unreadCount: row.unread,
      isFlagged: row.is_flagged,
      hasAttachment: row.has_attachment,
      roles: row.roles,
      firstMessageAt: row.first_at.toISOString(),
      lastMessageAt: row.last_at.toISOString(),
    };
  });
}

/** What the messages of these threads say: the first one's subject, the newest one's snippet, and who takes part. */
async function readTexts(db: ScopedConnection, ids: readonly ThreadId[]) {
  const { rows } = await sql<{ id: ThreadId; subject: string; newest: readonly { snippet: string | null; envelope: Envelope }[] }>`
    select t.id, f.subject, n.newest
    from unnest(${ids}::text[]) as t (id)
    cross join lateral (select subject from messages where thread_id = t.id and not is_deleted order by received_at limit 1) f
    cross join lateral (
      select json_agg(json_build_object('snippet', m.snippet, 'envelope', m.envelope) order by m.received_at desc) as newest
      from (select * from messages where thread_id = t.id and not is_deleted order by received_at desc limit ${readMax}) m
    ) n
  `.execute(db);
  return new Map(
    rows.map(({ id, subject, newest }) => [
      id,
      { subject, snippet: newest[0]?.snippet ?? null, participants: participantsOf(newest.map(({ envelope }) => envelope)) },
    ]),
  );
}

/** Everybody once, those first who wrote last; by the first name that is not empty. */
function participantsOf(envelopes: readonly Envelope[]): readonly Address[] {
  const people = new Map<string, Address>();
  const writers = envelopes.flatMap(({ from }) => from);
  const readers = envelopes.flatMap(({ to, cc }) => [...to, ...cc]);
  for (const person of [...writers, ...readers]) {
    const key = normaliseAddress(person.address);
    const known = people.get(key);
    if (key === "" || (known !== undefined && known.name !== "")) continue;
    if (known === undefined && people.size === participantsMax) continue;
    people.set(key, { name: person.name, address: known?.address ?? person.address });
  }
  return [...people.values()];
}
