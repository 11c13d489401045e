import { type RawBuilder, sql } from "kysely";
import type { FolderRole } from "../domain/folder.ts";
import type { CustomerId, FolderId, MailboxId, MessageId, ThreadId } from "../domain/ids.ts";
import type { Direction, RemoteMessage } from "../domain/message.ts";
import {
  attachmentTerm,
  factsQuery,
  mailboxTerm,
  monthTerm,
  personTerm,
  type SearchQuery,
  toTermVector,
  traitTerm,
  yearTerm,
} from "../domain/search-terms.ts";
import type { TraitKind } from "../domain/traits.ts";
import type { Page, PageCursor, PageRequest } from "./pages.ts";
import type { Scope, ScopedConnection } from "./scope.ts";
import { inTransaction } from "./transaction.ts";

export interface MessageFilter {
  readonly mailboxId?: MailboxId | undefined;
  readonly folderId?: FolderId | undefined;
  readonly role?: FolderRole | undefined;
  /** A thread by each id under which its messages lie. */
  readonly threadIds?: readonly ThreadId[] | undefined;
  readonly direction?: Direction | undefined;
  /** An address that the message names, as sender or recipient. */
  readonly contact?: string | undefined;
  /** At or after. */
  readonly receivedFrom?: string | undefined;
  /** Before. */
  readonly receivedBefore?: string | undefined;
  readonly isUnread?: boolean | undefined;
  readonly isFlagged?: boolean | undefined;
  /** An attachment that is no part of the text's own looks. */
  readonly hasAttachment?: boolean | undefined;
  readonly trait?: TraitKind | undefined;
  readonly search?: SearchQuery | undefined;
}

export const messageOrders = ["newest", "oldest"] as const;
export type MessageOrder = (typeof messageOrders)[number];

export interface FoundMessage {
  readonly id: MessageId;
  readonly page_at: string;
}

/** What one page may cost. */
export interface SearchBounds {
  /** Rows of a first walk. */
  readonly firstWalk: number;
  /** Rows of the second and last one, where no index of words can help. */
  readonly longWalk: number;
  /** So many rows of a walk cost as much as one that is reached by its place in a folder, or found by its words: those lie anywhere. */
  readonly scatter: number;
  /** Matches that are read in one slice, in no order. */
  readonly sliceMax: number;
  /** Matches that are read for one page, in all of its slices. */
  readonly matchesMax: number;
  /** How long one slice may take: the index counts through common words that never meet, which are no matches. */
  readonly sliceMs: number;
  /** Folders that are merged by time. A customer with more of one role has so many mailboxes that walking finds it. */
  readonly foldersMax: number;
}

/** A row of a walk costs about 2 µs in memory, a scattered one 10. A first walk fills a page with whatever one message in thirty has. */
export const usualBounds: SearchBounds = {
  firstWalk: 1_500,
  longWalk: 10_000,
  scatter: 4,
  sliceMax: 700,
  matchesMax: 3_000,
  sliceMs: 500,
  foldersMax: 60,
};

/**
 * The ids of one page, in the order of time, at a bounded price whatever is asked for. Two ways lead there. *Walking* reads an index in the order of
 * time and leaves out what does not match: quick where matches are common. *Looking up* asks the index of words, which knows no order: quick where
 * they are rare. What they are shows: the page is walked for, and if that does not fill it the rest is looked up, in slices of time that hold few
 * matches each. When all is spent before the page is full, it is short and `next` says where to go on.
 */
export async function findMessages(
  db: ScopedConnection,
  scope: Scope,
  asked: MessageFilter,
  { limit, after, order }: PageRequest & { readonly order: MessageOrder },
  bounds: SearchBounds = usualBounds,
): Promise<Page<FoundMessage>> {
  const folders = await foldersOf(db, asked, bounds.foldersMax + 1);
  if (folders?.length === 0) return { rows: [], next: undefined };
  // A folder is one mailbox's: that narrows what words find, and which index is walked.
  const filter = asked.folderId === undefined ? asked : { ...asked, mailboxId: folders?.[0]?.mailbox_id };
  const placed = folders !== undefined && folders.length <= bounds.foldersMax ? folders.map((folder) => folder.id) : undefined;
  const search: Search = { db, scope, filter, order, bounds, folders: placed };
  const narrow = narrowQuery(scope, filter);
  const found: FoundMessage[] = [];
  let position = after;
  let isRare = false;
  for (const stretch of walksOf(search, narrow)) {
    const walked = await walk(stretch.search, { position, budget: stretch.budget, limit: limit + 1 - found.length });
    found.push(...walked.rows);
    if (found.length > limit || walked.end === undefined) return cut(found, limit, undefined);
    position = walked.end;
    isRare = walked.rows.length < 3;
  }
  if (narrow === undefined || position === undefined) return cut(found, limit, position);
  const wanted = { position, limit: limit + 1 - found.length };
  const rest = await lookUp(search, narrow, { ...wanted, isRare }).catch((error) => {
    if (!isTimeout(error) || db.isTransaction) throw error;
    return undefined;
  });
  if (rest !== undefined) return cut([...found, ...rest.rows], limit, rest.next);
  const walked = await walk(search, {
    ...wanted,
    budget: search.folders === undefined ? bounds.longWalk : Math.ceil(bounds.longWalk / bounds.scatter),
  });
  return cut([...found, ...walked.rows], limit, walked.end);
}

/** PostgreSQL ended a statement that took too long: SQLSTATE query_canceled. */
function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error as { readonly code?: unknown }).code === "57014";
}

/** One short walk where an index of words helps when that finds little; two where none does. */
function walksOf(search: Search, narrow: string | undefined): readonly { readonly search: Search; readonly budget: number }[] {
  const { firstWalk, longWalk, scatter } = search.bounds;
  const byPlaces = search.folders !== undefined;
  if (narrow !== undefined) return [{ search, budget: byPlaces ? Math.ceil(firstWalk / scatter) : firstWalk }];
  const rest = { search, budget: byPlaces ? Math.ceil(longWalk / scatter) : longWalk };
  // What is unread or flagged has an index of its own: it is mostly short, and reaches the messages of a folder sooner than the folder does.
  const { isUnread, isFlagged } = search.filter;
  if (isUnread === true || isFlagged === true) return [{ search: { ...search, folders: undefined }, budget: firstWalk }, rest];
  return [{ search, budget: byPlaces ? Math.ceil(firstWalk / scatter) : firstWalk }, rest];
}

/** What is asked for, and by whom. */
interface Asked {
  readonly scope: Scope;
  readonly filter: MessageFilter;
}

interface Search extends Asked {
  readonly db: ScopedConnection;
  readonly order: MessageOrder;
  readonly bounds: SearchBounds;
  /** Read by their places, merged by time; undefined for all, or for too many to merge. */
  readonly folders: readonly FolderId[] | undefined;
}

/** Whether the message `m` is one of those that a search with this filter finds. */
export function isMatch(scope: Scope, filter: MessageFilter): RawBuilder<boolean> {
  const { receivedFrom, receivedBefore } = filter;
  const conditions = [...sourceConditions({ scope, filter }), ...otherConditions({ scope, filter }), ...inFolder(filter)];
  if (receivedFrom !== undefined) conditions.push(sql<boolean>`m.received_at >= ${receivedFrom}::timestamptz`);
  if (receivedBefore !== undefined) conditions.push(sql<boolean>`m.received_at < ${receivedBefore}::timestamptz`);
  return all(conditions);
}

/** Not EXISTS, of which the planner may make a set of everything in the folder. A role needs none: it is the message's own. */
function inFolder({ folderId }: MessageFilter): readonly RawBuilder<boolean>[] {
  if (folderId === undefined) return [];
  return [
    sql<boolean>`(m.main_folder_id = ${folderId}
      or (select true from message_locations l where l.message_id = m.id and l.folder_id = ${folderId} limit 1))`,
  ];
}

/** The page, and where to go on: behind its last row if more is known to follow, else where the search ended. */
function cut(found: readonly FoundMessage[], limit: number, end: PageCursor | undefined): Page<FoundMessage> {
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return { rows, next: found.length > limit && last !== undefined ? { at: last.page_at, id: last.id } : end };
}

/** The folders that hold what is asked for, where role or folder say so. */
async function foldersOf(
  db: ScopedConnection,
  { folderId, role, mailboxId }: MessageFilter,
  limit: number,
): Promise<readonly { readonly id: FolderId; readonly mailbox_id: MailboxId }[] | undefined> {
  if (folderId === undefined && role === undefined) return undefined;
  let query = db.selectFrom("folders").select(["id", "mailbox_id"]);
  if (folderId !== undefined) query = query.where("id", "=", folderId);
  else if (role !== undefined) query = query.where("role", "=", role);
  if (mailboxId !== undefined) query = query.where("mailbox_id", "=", mailboxId);
  return query.limit(limit).execute();
}

/** Terms by which the index of words narrows the search; undefined if there are none. */
function narrowQuery(
  { customerId, mailboxId: scopeMailbox }: Scope,
  { search, contact, hasAttachment, trait, mailboxId }: MessageFilter,
): string | undefined {
  const facts = [
    ...(contact === undefined ? [] : [personTerm(contact)]),
    ...(hasAttachment === true ? [attachmentTerm] : []),
    ...(trait === undefined ? [] : [traitTerm(trait)]),
  ];
  if (facts.length === 0 && search?.narrow === undefined) return undefined;
  const within = mailboxId ?? scopeMailbox;
  if (within !== null) facts.push(mailboxTerm(within));
  return [...(search?.narrow === undefined ? [] : [search.narrow]), ...(facts.length === 0 ? [] : [factsQuery(customerId, facts)])].join(" & ");
}

/** Whose `m` is. */
function ownerConditions({ scope, filter }: Asked): RawBuilder<boolean>[] {
  const conditions = [sql<boolean>`m.customer_id = ${scope.customerId}`];
  const mailboxes = new Set([scope.mailboxId ?? undefined, filter.mailboxId].filter((id) => id !== undefined));
  for (const id of mailboxes) conditions.push(sql<boolean>`m.mailbox_id = ${id}`);
  return conditions;
}

/** What an index in the order of time can tell of `m`: whose it is, and which of the indexes. */
function sourceConditions({ scope, filter }: Asked): RawBuilder<boolean>[] {
  const conditions = ownerConditions({ scope, filter });
  // Word for word as in the partial indexes.
  if (filter.isUnread === true) conditions.push(sql<boolean>`not ('seen' = any(m.flags))`);
  if (filter.isFlagged === true) conditions.push(sql<boolean>`'flagged' = any(m.flags)`);
  if (filter.direction !== undefined && filter.direction !== "incoming") {
    conditions.push(sql<boolean>`m.direction <> 'incoming' and m.direction = ${filter.direction}`);
  }
  return conditions;
}

/** Everything that is asked of `m` besides. */
function otherConditions({ scope, filter }: Asked): RawBuilder<boolean>[] {
  const { role, threadIds, direction, contact, isUnread, isFlagged, hasAttachment, trait, search } = filter;
  const conditions = [sql<boolean>`not m.is_deleted`, sql<boolean>`m.main_folder_id is not null`];
  if (role !== undefined) conditions.push(sql<boolean>`m.special_use = ${role}`);
  if (threadIds !== undefined) conditions.push(sql<boolean>`m.thread_id = any(${threadIds}::text[])`);
  if (direction !== undefined) conditions.push(sql<boolean>`m.direction = ${direction}`);
  if (isUnread === false) conditions.push(sql<boolean>`'seen' = any(m.flags)`);
  if (isFlagged === false) conditions.push(sql<boolean>`not ('flagged' = any(m.flags))`);
  if (hasAttachment !== undefined) {
    conditions.push(sql<boolean>`jsonb_path_exists(m.attachments, '$[*] ? (@.isInline == false)') = ${hasAttachment}`);
  }
  if (trait !== undefined) conditions.push(sql<boolean>`m.traits @> ${JSON.stringify([{ kind: trait }])}::jsonb`);
  if (contact !== undefined) conditions.push(sql<boolean>`m.terms @@ ${factsQuery(scope.customerId, [personTerm(contact)])}::tsquery`);
  if (search !== undefined) conditions.push(sql<boolean>`m.terms @@ ${search.all}::tsquery`);
  return conditions;
}

function all(conditions: readonly RawBuilder<boolean>[]): RawBuilder<boolean> {
  return sql<boolean>`${sql.join(conditions, sql` and `)}`;
}

/** What is asked of the time, for a row with these columns: the filter's bounds, and behind the position. */
function timeConditions({ filter, order }: Search, position: PageCursor | undefined, at: string, id: string): RawBuilder<boolean>[] {
  const [instant, key] = [sql.ref(at), sql.ref(id)];
  const conditions: RawBuilder<boolean>[] = [];
  if (filter.receivedFrom !== undefined) conditions.push(sql<boolean>`${instant} >= ${filter.receivedFrom}::timestamptz`);
  if (filter.receivedBefore !== undefined) conditions.push(sql<boolean>`${instant} < ${filter.receivedBefore}::timestamptz`);
  if (position === undefined) return conditions;
  const there = sql`${position.at}::timestamptz`;
  conditions.push(
    order === "newest"
      ? sql<boolean>`${instant} <= ${there} and (${instant} < ${there} or ${key} > ${position.id})`
      : sql<boolean>`${instant} >= ${there} and (${instant} > ${there} or ${key} < ${position.id})`,
  );
  return conditions;
}

/** The order of every listing, and of its indexes: newest first and equal instants by id, or exactly the other way round. */
function inOrder(order: MessageOrder, at: string, id: string): RawBuilder<unknown> {
  return order === "newest" ? sql`${sql.ref(at)} desc, ${sql.ref(id)}` : sql`${sql.ref(at)}, ${sql.ref(id)} desc`;
}

interface Stretch {
  readonly position: PageCursor | undefined;
  /** How many rows are looked at. */
  readonly budget: number;
  /** How many matches are enough. */
  readonly limit: number;
  /** Only up to this instant: a month's end. */
  readonly until?: string | undefined;
}

interface Walked {
  readonly rows: readonly FoundMessage[];
  /** The last row that was looked at, if the budget ended before the messages and the page did. */
  readonly end: PageCursor | undefined;
}

/** Reads messages in the order of time and keeps what matches: it stops as soon as there are enough. */
async function walk(search: Search, wanted: Stretch): Promise<Walked> {
  // Folders that are merged are each read as far as all of them may be.
  const share = Math.ceil(wanted.budget / (search.folders?.length ?? 1));
  const stretch = { ...wanted, budget: Math.max(share, Math.min(wanted.budget, 2 * wanted.limit)) };
  const rowsInOrder = search.folders === undefined ? messagesInOrder(search, stretch) : placesInOrder(search, search.folders, stretch);
  // A place leads to its message one by one, in order; a message that is read in order is there already. OFFSET 0 keeps the planner from any other way.
  const source =
    search.folders === undefined
      ? sql`${rowsInOrder} s cross join lateral (select s.*) m`
      : sql`${rowsInOrder} s cross join lateral (select * from messages where id = s.id offset 0) m`;
  const { rows } = await sql<FoundMessage>`
    select s.id, s.received_at::text as page_at from ${source}
    where ${all([...otherConditions(search), ...(search.folders === undefined ? inFolder(search.filter) : sourceConditions(search))])}
    order by ${inOrder(search.order, "s.received_at", "s.id")} limit ${stretch.limit}
  `.execute(search.db);
  if (rows.length === stretch.limit) return { rows, end: undefined };
  const { rows: last } = await sql<FoundMessage>`
    select s.id, s.received_at::text as page_at from ${rowsInOrder} s
    order by ${inOrder(search.order, "s.received_at", "s.id")} offset ${stretch.budget - 1} limit 1
  `.execute(search.db);
  return { rows, end: last[0] === undefined ? undefined : { at: last[0].page_at, id: last[0].id } };
}

function messagesInOrder(search: Search, { position, budget, until }: Stretch): RawBuilder<unknown> {
  const conditions = [
    ...sourceConditions(search),
    ...timeConditions(search, position, "m.received_at", "m.id"),
    ...untilCondition(search, until, "m"),
  ];
  const { threadIds } = search.filter;
  // A thread is small: it is read whole and sorted, whatever the planner thinks of it.
  const from = threadIds === undefined ? sql`messages m` : sql`(select * from messages where thread_id = any(${threadIds}::text[]) offset 0) m`;
  return sql`(select m.* from ${from} where ${all(conditions)} order by ${inOrder(search.order, "m.received_at", "m.id")} limit ${budget})`;
}

/** The places of these folders merged by time, each message once: one that lies twice in them stands beside itself. */
function placesInOrder(search: Search, folders: readonly FolderId[], { position, budget, until }: Stretch): RawBuilder<unknown> {
  const conditions = [...timeConditions(search, position, "l.received_at", "l.message_id"), ...untilCondition(search, until, "l")];
  const order = inOrder(search.order, "l.received_at", "l.message_id");
  return sql`(
    select distinct on (l.received_at, l.message_id) l.message_id as id, l.received_at
    from unnest(${folders}::text[]) as f (id)
    cross join lateral (
      select l.message_id, l.received_at from message_locations l
      where ${all([sql<boolean>`l.folder_id = f.id`, ...conditions])}
      order by ${order} limit ${budget}
    ) l
    order by ${order} limit ${budget}
  )`;
}

function untilCondition({ order }: Search, until: string | undefined, alias: string): RawBuilder<boolean>[] {
  if (until === undefined) return [];
  const at = sql.ref(`${alias}.received_at`);
  return [order === "newest" ? sql<boolean>`${at} >= ${until}::timestamptz` : sql<boolean>`${at} < ${until}::timestamptz`];
}

/**
 * What is behind the position and the index of words finds: at once if it is little, else in slices of months, each as wide as the one before says that
 * the page needs. What they read in all is bounded, whatever of it is wanted.
 */
async function lookUp(
  search: Search,
  narrow: string,
  { position, limit, isRare }: { readonly position: PageCursor; readonly limit: number; readonly isRare: boolean },
): Promise<Page<FoundMessage>> {
  const { sliceMax, matchesMax, longWalk, scatter } = search.bounds;
  return inTransaction(search.db, async (trx) => {
    const here: Search = { ...search, db: trx };
    // Nothing but the index of words is left to the planner, which knows little of how often terms occur together.
    await sql`select set_config('enable_seqscan', 'off', true), set_config('statement_timeout', ${String(search.bounds.sliceMs)}, true)`.execute(trx);
    const whole = isRare ? await readSlice(here, narrow, position) : undefined;
    if (whole !== undefined && whole.candidates <= sliceMax) return { rows: whole.found.slice(0, limit), next: undefined };
    const months = await monthsAhead(here, position);
    const found: FoundMessage[] = [];
    let spent = whole?.candidates ?? 0;
    let width = 1;
    for (let at = 0; at < months.length && found.length < limit; ) {
      const { slice, terms } = sliceOf(months, at, width);
      const [month = ""] = slice;
      const start = at === 0 ? position : beginningOf(here, month);
      if (at > 0 && spent > matchesMax) return { rows: found, next: start };
      const within = [...terms].map((term) => factsQuery(search.scope.customerId, [term])).join(" | ");
      const read = await readSlice(here, `${narrow} & (${within})`, start);
      spent += read.candidates;
      if (read.candidates > sliceMax && slice.length > 1) {
        width = Math.ceil(slice.length / 4);
        continue;
      }
      if (read.candidates > sliceMax) {
        // So many in one month: they are found by walking through it.
        const budget = search.folders === undefined ? longWalk : Math.ceil(longWalk / scatter);
        const walked = await walk(here, { position: start, budget, limit: limit - found.length, until: endOf(here, month) });
        found.push(...walked.rows);
        if (walked.end !== undefined) return { rows: found, next: walked.end };
        spent += Math.ceil(longWalk / scatter);
      } else found.push(...read.found);
      at += slice.length;
      width = nextWidth(slice.length, read, { needed: limit - found.length, sliceMax });
    }
    return { rows: found.slice(0, limit), next: undefined };
  });
}

/**
 * Some months, and the terms by which they are looked up: few by their own, more up to the end of a year by its. A year's term is read together with its
 * months that lie behind already.
 */
function sliceOf(months: readonly string[], at: number, width: number) {
  if (width <= 3) {
    const slice = months.slice(at, at + width);
    return { slice, terms: new Set(slice.map(monthTerm)) };
  }
  let end = at + Math.ceil(width / 2);
  while (end < months.length && yearTerm(months[end] ?? "") === yearTerm(months[end - 1] ?? "")) end++;
  const slice = months.slice(at, end);
  return { slice, terms: new Set(slice.map(yearTerm)) };
}

/** As many months as will fill the page if they are like those before, as long as that is no slice that holds too much; never many more than before. */
function nextWidth(width: number, read: Slice, { needed, sliceMax }: { readonly needed: number; readonly sliceMax: number }): number {
  const perMonth = Math.max(read.candidates, 1) / width;
  const foundPerMonth = Math.max(read.found.length, 0.5) / width;
  const wanted = Math.min((1.5 * needed) / foundPerMonth, (0.6 * sliceMax) / perMonth);
  return Math.max(1, Math.min(Math.ceil(wanted), 6 * width));
}

interface Slice {
  /** Matches of the index, as far as they were read: more than a slice may hold says that it was too wide. */
  readonly candidates: number;
  readonly found: readonly FoundMessage[];
}

/** The matches of a query for the index of words, in order. */
async function readSlice(search: Search, query: string, position: PageCursor): Promise<Slice> {
  const conditions = [
    ...sourceConditions(search),
    ...otherConditions(search),
    ...timeConditions(search, position, "m.received_at", "m.id"),
    ...inFolder(search.filter),
  ];
  const { rows } = await sql<Slice>`
    with candidates as materialized (
      select m.id, m.received_at, (${all(conditions)}) as is_wanted
      from (select * from messages where terms @@ ${query}::tsquery offset 0) m limit ${search.bounds.sliceMax + 1}
    )
    select (select count(*) from candidates) as candidates, coalesce((
      select json_agg(json_build_object('id', c.id, 'page_at', c.received_at::text) order by ${inOrder(search.order, "c.received_at", "c.id")})
      from candidates c where c.is_wanted
    ), '[]') as found
  `.execute(search.db);
  return rows[0] ?? { candidates: 0, found: [] };
}

/** The months from the position to the other end of what there is, as `2026-11`, nearest first. */
async function monthsAhead(search: Search, position: PageCursor): Promise<readonly string[]> {
  const away = search.order === "newest" ? sql`min` : sql`max`;
  const { rows } = await sql<{ readonly here: string; readonly there: string | null }>`
    select to_char(${position.at}::timestamptz at time zone 'UTC', 'YYYY-MM') as here,
      to_char(${away}(m.received_at) at time zone 'UTC', 'YYYY-MM') as there
    from messages m where ${all(ownerConditions(search))}
  `.execute(search.db);
  const [here, there] = [monthNumber(rows[0]?.here ?? ""), monthNumber(rows[0]?.there ?? rows[0]?.here ?? "")];
  const step = search.order === "newest" ? -1 : 1;
  const count = Math.max(0, (there - here) * step) + 1;
  return Array.from({ length: Math.min(count, monthsMax) }, (_, i) => monthName(here + i * step));
}

/** Two hundred years: instants that lie beyond are nobody's mail. */
const monthsMax = 2_400;

function monthNumber(month: string): number {
  const [year, inYear] = month.split("-").map(Number);
  return (year ?? 0) * 12 + (inYear ?? 1) - 1;
}

function monthName(number: number): string {
  return `${String(Math.floor(number / 12)).padStart(4, "0")}-${String((number % 12) + 1).padStart(2, "0")}`;
}

/** The instant at which a month ends for who reads on in this order, as PostgreSQL writes it. */
function endOf({ order }: Search, month: string): string {
  return `${order === "newest" ? month : monthName(monthNumber(month) + 1)}-01 00:00:00+00`;
}

/** The position before everything of a month, for who reads on in this order: both count an instant's ids from one end or the other of this one. */
function beginningOf({ order }: Search, month: string): PageCursor {
  const before = `${order === "newest" ? monthName(monthNumber(month) + 1) : month}-01 00:00:00+00`;
  return { at: before, id: lastId };
}

const lastId = `msg_${"z".repeat(22)}`;

/** What a new message is found by. */
export function termsOf(
  owner: { readonly customerId: CustomerId; readonly mailboxId: MailboxId },
  { receivedAt, envelope, attachments, traits }: RemoteMessage,
  snippet: string | null,
): string {
  return toTermVector(owner.customerId, { mailboxId: owner.mailboxId, receivedAt, envelope, attachments, traits, snippet, text: null });
}
