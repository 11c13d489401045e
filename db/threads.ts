import { hash } from "node:crypto";
import { sql } from "kysely";
import type { Self } from "../domain/direction.ts";
import type { EventData } from "../domain/events.ts";
import type { CustomerId, MailboxId, MessageId, ThreadId } from "../domain/ids.ts";
import type { Envelope, RemoteMessage } from "../domain/message.ts";
import {
  foundingOf,
  groupByThread,
  isTiedBySubject,
  type KnownKey,
  linksOf,
  type SubjectTie,
  subjectLinkOf,
  subjectWindowMs,
  type ThreadGroup,
  type ThreadLinks,
} from "../domain/threads.ts";
import { toArray } from "./arrays.ts";
import type { Connection, Database } from "./database.ts";
import { derivedId } from "./ids.ts";

/** Whose messages are threaded. */
export interface ThreadOwner {
  readonly mailboxId: MailboxId;
  readonly customerId: CustomerId;
  readonly self: Self;
}

/** A message of a page under the id that it gets, with what ties it: all that threading computes without the store. */
export interface ThreadedMessage {
  readonly id: MessageId;
  readonly message: RemoteMessage;
  readonly links: ThreadLinks;
  /** Hashes of the links' keys, in their order. */
  readonly keys: readonly string[];
  /** The hash of the subject by which the message may be found; null where it may not. */
  readonly subjectKey: string | null;
}

export function prepareThreading(id: MessageId, message: RemoteMessage): ThreadedMessage {
  const links = linksOf(message, id);
  return { id, message, links, keys: links.keys.map(hashOf), subjectKey: links.isFoundBySubject ? hashOf(`subject ${links.subject}`) : null };
}

/** How the message is found by its subject: what its row holds. */
export function subjectColumnsOf({ links, subjectKey }: ThreadedMessage) {
  return { subject_key: subjectKey, is_bare_reply: links.isBareReply };
}

/** Where the messages of a page belong. */
export interface Threading {
  readonly threadOf: (id: MessageId) => ThreadId;
  /** Keys that are new. */
  readonly addedKeys: readonly { readonly key: string; readonly thread: ThreadId; readonly subjects: readonly number[] }[];
  /** Keys on record that gathered subjects. */
  readonly grownKeys: readonly { readonly key: string; readonly subjects: readonly number[] }[];
  /** Threads that begin, or may become younger. */
  readonly grown: readonly ThreadId[];
  /** To be told at the end of the transaction: recording events locks the mailbox's row. */
  readonly merged: readonly EventData[];
}

/** Candidates by one subject: beyond this an equal subject says nothing. */
const candidatesMax = 200;
/** Messages that change their thread in one transaction; see `moveMergedMessages`. */
const movedMax = 2_000;
/** Above this, which of two threads is larger does not matter. */
const countedMax = 5_000;

/**
 * From here to the commit the mailbox's pages wait for each other, so that no tie is lost between two lanes that see halves of one thread at the same
 * moment.
 */
export function lockThreads(mailboxId: MailboxId) {
  return sql`pg_advisory_xact_lock(hashtextextended(${`threads ${mailboxId}`}, 0))`;
}

/**
 * Finds the thread of each message of a page, names new ones, and merges those that the page proves to be one. Call it with `lockThreads` held, and before
 * the messages are written and any other message is locked, with what `findKeys` found under that lock. Keys and threads are written with the messages:
 * `savingThreads`.
 */
export async function assignThreads(
  trx: Connection,
  owner: ThreadOwner,
  messages: readonly ThreadedMessage[],
  keys: ThreadKeys,
  record: KeyRecord,
): Promise<Threading> {
  const links = messages.map((message) => message.links);
  const ties = await tiesBySubject(trx, owner, messages, record);
  const groups = groupByThread(links, record.known, ties);
  const { survivors, events } = await mergeThreads(trx, owner, groups);

  const threads = groups.map((group) => {
    const [first] = group.threads;
    const id = first === undefined ? derivedId("thread", owner.mailboxId, foundingOf(group)) : (survivors.get(first) ?? first);
    return { id, group };
  });
  const threadOf = new Map(threads.flatMap(({ id, group }) => group.messages.map((message) => [message.id, id])));
  return {
    threadOf: (id) => {
      const thread = threadOf.get(id);
      if (thread === undefined) throw new Error(`${id} was given no thread`);
      return thread;
    },
    ...keysOf(threads, record, keys.hashes),
    grown: threads.filter(({ id, group }) => isYounger(group, record.lastAt.get(id))).map(({ id }) => id),
    merged: events,
  };
}

/** Whether a message of the group is younger than all of its thread's on record. */
function isYounger({ messages }: ThreadGroup, lastAt: Date | null | undefined): boolean {
  const last = lastAt?.getTime() ?? Number.NEGATIVE_INFINITY;
  return messages.some(({ receivedAt }) => receivedAt > last);
}

/**
 * What a threading writes, as parts of the statement that inserts the messages: their keys, and, of what that statement calls `added`, the threads that
 * began or became younger.
 */
export function savingThreads({ mailboxId, customerId }: ThreadOwner, { addedKeys, grownKeys, grown }: Threading) {
  return sql`
    added_keys as (
      insert into thread_keys (mailbox_id, key, thread_id, subject, subjects)
      select ${mailboxId}, k.key, k.thread_id, k.subject, k.subjects::int[]
      from unnest(
        ${toArray(addedKeys.map((row) => row.key))}::bigint[], ${toArray(addedKeys.map((row) => row.thread))}::text[],
        ${toArray(addedKeys.map((row) => row.subjects[0] ?? 0))}::int[],
        ${addedKeys.map(({ subjects }) => (subjects.length > 1 ? `{${subjects.join(",")}}` : null))}::text[]
      ) as k (key, thread_id, subject, subjects)
      on conflict (mailbox_id, key) do nothing
    ), grown_keys as (
      update thread_keys r set subjects = g.subjects
      from jsonb_to_recordset(${JSON.stringify(grownKeys)}::jsonb) as g (key bigint, subjects int[])
      where r.mailbox_id = ${mailboxId} and r.key = g.key
    ), grown_threads as (
      insert into threads (id, customer_id, mailbox_id, last_at)
      select a.thread_id, ${customerId}, ${mailboxId}, max(a.received_at)
      from added a join unnest(${toArray(grown)}::text[]) as g (id) on g.id = a.thread_id group by a.thread_id
      on conflict (id) do update set last_at = greatest(threads.last_at, excluded.last_at)
    )`;
}

/** What is on record about the keys of a page. */
export interface KeyRecord {
  readonly known: ReadonlyMap<string, KnownKey>;
  readonly lastAt: ReadonlyMap<ThreadId, Date | null>;
  /** Of the page's subjects, those that an answer without references has. */
  readonly answeredSubjects: ReadonlySet<string>;
}

/** 64 bits that stand for a text within a mailbox, as the signed number that PostgreSQL's bigint is. The migration has the same in SQL. */
function hashOf(text: string): string {
  return hash("sha256", text, "buffer").readBigInt64BE(0).toString();
}

/** What is asked of the store about the messages of a page: the hashes of all keys, and of the subjects by which a message may be found, each under its text. */
export interface ThreadKeys {
  readonly hashes: ReadonlyMap<string, string>;
  readonly subjects: ReadonlyMap<string, string>;
}

export function keysAsked(messages: readonly ThreadedMessage[]): ThreadKeys {
  const hashes = new Map<string, string>();
  const subjects = new Map<string, string>();
  for (const { links, keys, subjectKey } of messages) {
    for (const [at, text] of links.keys.entries()) hashes.set(text, keys[at] ?? "");
    if (subjectKey !== null) subjects.set(links.subject, subjectKey);
  }
  return { hashes, subjects };
}

/** What is on record about keys, as a table of `KeyRow`s. Hashes do not fit a JavaScript number: rows say by position which key or subject they are about. */
export function keysOnRecord({ mailboxId }: Pick<ThreadOwner, "mailboxId">, { hashes, subjects }: ThreadKeys) {
  return sql`thread_keys_on_record(${mailboxId}, ${toArray([...hashes.values()])}::bigint[], ${toArray([...subjects.values()])}::bigint[])`;
}

/** Call it with `lockThreads` held. */
export async function findKeys(trx: Connection, owner: Pick<ThreadOwner, "mailboxId">, keys: ThreadKeys): Promise<KeyRecord> {
  const { rows } = await sql<KeyRow>`select * from ${keysOnRecord(owner, keys)}`.execute(trx);
  return toKeyRecord(keys, rows);
}

export function toKeyRecord(keys: ThreadKeys, rows: readonly KeyRow[]): KeyRecord {
  const texts = [...keys.hashes.keys()];
  const subjects = [...keys.subjects.keys()];
  const known = new Map<string, KnownKey>();
  const lastAt = new Map<ThreadId, Date | null>();
  const answeredSubjects = new Set<string>();
  for (const row of rows) {
    const text = (row.thread_id === null ? subjects : texts)[row.position - 1];
    if (text === undefined) continue;
    if (row.thread_id === null) {
      answeredSubjects.add(text);
    } else {
      known.set(text, { threadId: row.thread_id, subjects: row.subjects ?? [row.subject] });
      lastAt.set(row.thread_id, row.last_at);
    }
  }
  return { known, answeredSubjects, lastAt };
}

/** What is on record about a key; or, without a thread, a subject that an answer without references has. */
export type KeyRow =
  | {
      readonly position: number;
      /** What the key's thread is now. */
      readonly thread_id: ThreadId;
      readonly subject: number;
      readonly subjects: number[] | null;
      readonly last_at: Date | null;
    }
  | { readonly position: number; readonly thread_id: null };

/** Ties between messages of the page, and of them with the store, by subject and participants: looked for only where there is an answer to tie. */
async function tiesBySubject(
  trx: Connection,
  owner: ThreadOwner,
  messages: readonly ThreadedMessage[],
  { answeredSubjects }: KeyRecord,
): Promise<readonly SubjectTie[]> {
  const asked = new Set([...answeredSubjects, ...messages.flatMap(({ links }) => (links.isBareReply ? [links.subject] : []))]);
  if (asked.size === 0) return [];
  const bySubject = Map.groupBy(
    messages.flatMap(({ links, subjectKey, message }) => {
      if (subjectKey === null || !asked.has(links.subject)) return [];
      return [{ id: links.id, key: subjectKey, ...subjectLinkOf(links, message.envelope, owner.self) }];
    }),
    (link) => link.subject,
  );
  const stored = await findCandidates(trx, owner, [...bySubject.values()]);
  const ties: SubjectTie[] = [];
  for (const page of bySubject.values()) {
    for (const [index, one] of page.entries()) {
      for (const other of page.slice(index + 1)) if (isTiedBySubject(one, other)) ties.push([one.id, other.id]);
      for (const other of stored) if (isTiedBySubject(one, other)) ties.push([one.id, other.threadId]);
    }
  }
  return ties;
}

/** Messages in the store with these subjects, received not too far from those of the page. */
async function findCandidates(
  trx: Connection,
  owner: ThreadOwner,
  bySubject: readonly (readonly { readonly key: string; readonly receivedAt: number }[])[],
) {
  const wanted = bySubject.flatMap((links) => {
    const times = links.map((link) => link.receivedAt);
    const [first] = links;
    return first === undefined ? [] : [{ key: first.key, from: Math.min(...times) - subjectWindowMs, to: Math.max(...times) + subjectWindowMs }];
  });
  const { rows } = await sql<{ id: MessageId; thread_id: ThreadId; received_at: Date; envelope: Envelope }>`
    select m.id, coalesce(t.merged_into, m.thread_id) as thread_id, m.received_at, m.envelope
    from jsonb_to_recordset(${JSON.stringify(wanted)}::jsonb) as w (key bigint, "from" bigint, "to" bigint)
    cross join lateral (
      select * from messages where mailbox_id = ${owner.mailboxId} and subject_key = w.key
        and received_at between to_timestamp(w."from" / 1000.0) and to_timestamp(w."to" / 1000.0)
      order by received_at desc limit ${candidatesMax}
    ) m
    left join threads t on t.id = m.thread_id
  `.execute(trx);
  return rows.map((row) => {
    const envelope = row.envelope;
    const links = linksOf({ ...blank, envelope, receivedAt: row.received_at.toISOString() }, row.id);
    return { ...subjectLinkOf(links, envelope, owner.self), threadId: row.thread_id };
  });
}

/** What threading by subject does not look at. */
const blank = {
  ref: "",
  stableId: null,
  providerThreadId: null,
  flags: [],
  sizeBytes: 0,
  attachments: [],
  textPart: null,
  traits: [],
  defects: [],
  recipientsTotal: null,
} as const;

/** Keys that are new, and the subjects that known ones gathered. */
function keysOf(
  threads: readonly { readonly id: ThreadId; readonly group: ThreadGroup }[],
  { known }: KeyRecord,
  hashes: ReadonlyMap<string, string>,
): Pick<Threading, "addedKeys" | "grownKeys"> {
  const addedKeys: { key: string; thread: ThreadId; subjects: readonly number[] }[] = [];
  const grownKeys: { key: string; subjects: readonly number[] }[] = [];
  for (const { id, group } of threads) {
    for (const [text, subjects] of group.keys) {
      const before = known.get(text);
      if (before !== undefined && before.subjects.length === subjects.length) continue;
      const key = hashes.get(text);
      if (key === undefined) throw new Error("a group has a key that none of its messages has");
      if (before === undefined) addedKeys.push({ key, thread: id, subjects });
      else grownKeys.push({ key, subjects });
    }
  }
  return { addedKeys, grownKeys };
}

interface Merges {
  readonly survivors: ReadonlyMap<ThreadId, ThreadId>;
  readonly events: readonly EventData[];
}

/** Makes one thread of those that a group touches. The largest keeps its id: the fewest messages change theirs. */
async function mergeThreads(trx: Connection, owner: ThreadOwner, groups: readonly ThreadGroup[]): Promise<Merges> {
  const survivors = new Map<ThreadId, ThreadId>();
  const events: EventData[] = [];
  for (const { threads } of groups) {
    if (threads.length < 2) continue;
    const { survivor, toTell } = await chooseSurvivor(trx, owner, threads);
    const losers = threads.filter((id) => id !== survivor);
    await recordMerge(trx, owner, survivor, losers);
    for (const id of losers) survivors.set(id, survivor);
    for (const threadId of toTell) if (threadId !== survivor) events.push({ type: "thread.merged", threadId, mergedInto: survivor });
  }
  if (survivors.size > 0) await moveMergedMessages(trx, owner.mailboxId);
  return { survivors, events };
}

/** Once a mailbox is imported its threads may be known to anybody; before that, those that an event has named. */
async function chooseSurvivor(trx: Connection, owner: ThreadOwner, threads: readonly ThreadId[]) {
  const { rows } = await sql<{ id: ThreadId; is_known: boolean }>`
    select t.id, b.import_finished_at is not null or exists (select from messages m where m.thread_id = t.id and m.told_at is not null) as is_known
    from unnest(${threads}::text[]) as t (id) join mailboxes b on b.id = ${owner.mailboxId}
    order by (select count(*) from (select from messages m where m.thread_id = t.id limit ${countedMax}) as counted) desc, t.id
  `.execute(trx);
  const [first] = rows;
  if (first === undefined) throw new Error(`there is no mailbox ${owner.mailboxId} to thread`);
  return { survivor: first.id, toTell: rows.filter((row) => row.is_known).map((row) => row.id) };
}

async function recordMerge(trx: Connection, owner: ThreadOwner, survivor: ThreadId, losers: readonly ThreadId[]): Promise<void> {
  await sql`
    insert into threads (id, customer_id, mailbox_id, last_at)
    select t.id, ${owner.customerId}, ${owner.mailboxId}, null from unnest(${[survivor, ...losers]}::text[]) as t (id) on conflict (id) do nothing
  `.execute(trx);
  await sql`
    update threads set last_at = greatest(last_at, (select max(last_at) from threads where id = any(${losers}::text[]))) where id = ${survivor}
  `.execute(trx);
  // Those that were merged into a loser before follow it, so that one step leads from any id to the thread that has its messages.
  await sql`
    update threads set merged_into = ${survivor}, last_at = null where id = any(${losers}::text[]) or merged_into = any(${losers}::text[])
  `.execute(trx);
}

/**
 * Gives messages of merged threads the id of the thread that they belong to now, a bounded number of them; true if others are left. A page does so for
 * what it merged; what a huge thread leaves is moved by housekeeping, and until then readers see both ids as one.
 */
export async function moveMergedMessages(db: Connection, mailboxId: MailboxId): Promise<boolean> {
  // Locked in the order in which settleMessages locks, or the two could wait for each other.
  const { numAffectedRows } = await sql`
    with moving as (
      select m.id, t.merged_into from threads t join messages m on m.thread_id = t.id
      where t.mailbox_id = ${mailboxId} and t.merged_into is not null and not t.is_moved
      order by m.created_at, m.received_at, length(m.main_ref), m.main_ref limit ${movedMax} for update of m
    )
    update messages m set thread_id = moving.merged_into from moving where m.id = moving.id
  `.execute(db);
  if (Number(numAffectedRows ?? 0n) === movedMax) return true;
  await sql`
    update threads t set is_moved = true
    where t.mailbox_id = ${mailboxId} and t.merged_into is not null and not t.is_moved
      and not exists (select from messages m where m.thread_id = t.id)
  `.execute(db);
  return false;
}

/** Moves what huge merges left behind, in every mailbox. Returns how many mailboxes had any. */
export async function moveAllMergedMessages(db: Database): Promise<number> {
  const { rows } = await sql<{ mailbox_id: MailboxId }>`
    select distinct mailbox_id from threads where merged_into is not null and not is_moved
  `.execute(db);
  for (const { mailbox_id } of rows) while (await moveMergedMessages(db, mailbox_id));
  return rows.length;
}

/** Makes the order of threads right again after messages of theirs were deleted or came back. */
export async function refreshThreads(trx: Connection, messageIds: readonly MessageId[]): Promise<void> {
  if (messageIds.length === 0) return;
  await sql`
    update threads t
    set last_at = (select m.received_at from messages m where m.thread_id = t.id and not m.is_deleted order by m.received_at desc limit 1)
    where t.id in (select thread_id from messages where id = any(${messageIds}::text[])) and t.merged_into is null
  `.execute(trx);
}
