import { sql } from "kysely";
import { directionOf, type Self } from "../domain/direction.ts";
import type { EventData } from "../domain/events.ts";
import type { FolderRole } from "../domain/folder.ts";
import { identityOf } from "../domain/identity.ts";
import type { CustomerId, MailboxId, MessageId } from "../domain/ids.ts";
import type { RemoteMessage } from "../domain/message.ts";
import type { ChangePage, FetchedMessages, FlagChange, HistoryPage, RefRanges, SkippedMessage, SyncCursor } from "../domain/sync.ts";
import { toArray } from "./arrays.ts";
import { isRemovalHeld, releaseRemoval } from "./brake.ts";
import type { Connection, Database } from "./database.ts";
import { recordEvents } from "./events.ts";
import type { SyncFolder } from "./folder-sync.ts";
import { forgetMessages } from "./forget-messages.ts";
import { derivedId } from "./ids.ts";
import { termsOf } from "./message-search.ts";
import { type MessageText, saveMessageTexts } from "./message-texts.ts";
import { countAbsent, countStale, markHomeless, removeAbsent, removePlaces, removeStale } from "./places.ts";
import { isRefusedRow, siftMessages } from "./refused-rows.ts";
import { allowReset } from "./rests.ts";
import { type DueSkipped, forgetAllSkipped, forgetSkipped, recordSkipped, recordSkippedAgain, type Skipped } from "./skipped.ts";
import {
  assignThreads,
  findKeys,
  type KeyRecord,
  type KeyRow,
  keysAsked,
  keysOnRecord,
  lockThreads,
  prepareThreading,
  savingThreads,
  subjectColumnsOf,
  type ThreadedMessage,
  type ThreadKeys,
  toKeyRecord,
} from "./threads.ts";

/** Whose page it is. */
export interface PageOwner {
  readonly mailboxId: MailboxId;
  readonly customerId: CustomerId;
  readonly self: Self;
  /** Listed messages received at or after this are told although they were there before; undefined tells none. */
  readonly tellListedFrom: Date | undefined;
  /** The settings keep more of a message than what a list shows: it is marked for that. Of history, the line of preview is fetched later in any case. */
  readonly keepsContent?: boolean;
  /** What the settings say of it; left out where everything is wanted and nothing changes, as in a benchmark. */
  readonly rules?: PageRules;
}

/** What settings say of a page that was read with them. */
export interface PageRules {
  /** From when on the customer asked to be told, in so many words: it holds for folders that settings added as well. */
  readonly notifyFrom: Date | undefined;
  /** Whether this message is wanted, in a folder with this role. */
  readonly isWanted: (message: RemoteMessage, role: FolderRole) => boolean;
  /** Messages received before this are not kept; undefined keeps all. */
  readonly keptFrom: Date | undefined;
  /** When the settings were written. */
  readonly settingsAt: Date;
}

/** The beginnings of new messages' texts, by ref. */
export interface PageTexts {
  readonly snippets: ReadonlyMap<string, string>;
  /** What is kept for endpoints that include texts, as far as it was read. */
  readonly kept: ReadonlyMap<string, { readonly text: string; readonly isTruncated: boolean }>;
}

/** Somebody else moved the cursor since it was read: the page is dropped, and read again from where the cursor stands now. */
export class CursorMoved extends Error {
  override readonly name = "CursorMoved";
}

/**
 * Commits a page of changes: rows and cursor together, or neither. Repeating a page after a crash changes nothing, because the cursor was compared
 * and every row is keyed by what it is. False for a reset too many: nothing is stored, and the folder is left alone for a while.
 */
export async function storeChanges(db: Database, owner: PageOwner, folder: SyncFolder, page: ChangePage, texts: PageTexts): Promise<boolean> {
  return sifting(db, owner, folder, page.added, (added, skipped) => storeChangePage(db, owner, folder, { ...page, added }, texts, skipped));
}

/** Stores messages; if the database refuses any of them, without those, which are noted as skipped: one bad message keeps no other back. */
async function sifting<Result>(
  db: Database,
  owner: PageOwner,
  folder: SyncFolder,
  messages: readonly RemoteMessage[],
  store: (messages: readonly RemoteMessage[], skipped: readonly Skipped[]) => Promise<Result>,
): Promise<Result> {
  try {
    return await store(messages, []);
  } catch (error) {
    if (!isRefusedRow(error) || messages.length === 0) throw error;
    const { kept, refused } = await siftMessages(db, messages, (trx, some) => storeMessages(trx, owner, folder, some, nobody));
    if (refused.length === 0) throw error;
    return store(kept, refused);
  }
}

function toSkipped({ ref, code, serverSaid }: SkippedMessage): Skipped {
  return { ref, code, reason: serverSaid };
}

async function storeChangePage(
  db: Database,
  owner: PageOwner,
  folder: SyncFolder,
  page: ChangePage,
  texts: PageTexts,
  skipped: readonly Skipped[],
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    if (page.reset && folder.cursor !== null && !(await allowReset(trx, folder.id))) return false;
    const isHeld =
      page.present !== undefined && (await isRemovalHeld(trx, folder, await countAbsent(trx, folder.id, page.present, folder.heldSince !== null)));
    await moveCursor(trx, owner, folder, page, isHeld);
    if (page.reset) {
      await forgetAllSkipped(trx, [folder.id]);
      if (folder.cursor !== null) await recordEvents(trx, owner, [{ type: "mailbox.sync_reset", path: folder.path }]);
      return true;
    }
    const added = await wantedOf(trx, owner, folder, page.added);
    const merged = await storeMessages(trx, owner, folder, added, everybody, texts.snippets);
    await saveMessageTexts(
      trx,
      owner,
      added.flatMap((message) => keptText(owner, message, texts)),
    );
    await storeFlags(trx, folder, page.flagChanges);
    await removePlaces(trx, folder.id, page.removed);
    if (page.present !== undefined && !isHeld) await removeUnlisted(trx, folder, page.present);
    await recordSkipped(trx, owner, folder.id, [...page.skipped.map(toSkipped), ...skipped], Number.NEGATIVE_INFINITY);
    await recordEvents(trx, owner, merged);
    return true;
  });
}

/** A complete listing is believed: what it does not name is gone, also what was held back before. */
async function removeUnlisted(trx: Connection, folder: SyncFolder, present: RefRanges): Promise<void> {
  await removeAbsent(trx, folder.id, present);
  if (folder.heldSince === null) return;
  await markHomeless(trx, folder.id);
  await releaseRemoval(trx, folder.id);
}

/** A page that was read with other settings than today's is dropped like one whose cursor moved: it may hold what is not wanted any more. */
function areSettingsOf({ mailboxId, rules }: PageOwner) {
  if (rules === undefined) return sql<boolean>`true`;
  return sql<boolean>`exists (
    select from mailboxes where id = ${mailboxId} and date_trunc('milliseconds', updated_at) = ${rules.settingsAt}
  )`;
}

/** A folder's first look: where its cursor and its listing begin. */
export interface FirstLook {
  readonly folder: SyncFolder;
  readonly page: Pick<ChangePage, "cursor" | "historyCursor" | "total">;
}

/**
 * Commits first looks, as many as there are in one transaction: nothing of the folders is on record that they could contradict. A folder that is empty,
 * and always was, is listed with that. False where any folder is not as it was when it was read: nothing is stored.
 */
export async function storeFirstLooks(db: Database, owner: PageOwner, looks: readonly FirstLook[]): Promise<boolean> {
  const rows = looks.map(({ folder, page }) => ({
    id: folder.id,
    writes: folder.writes,
    generation: folder.generation,
    cursor: page.cursor,
    history_cursor: page.historyCursor ?? {},
    total: page.total,
    is_listed: page.historyCursor === undefined || (page.total === 0 && folder.generation === 0),
  }));
  try {
    await db.transaction().execute(async (trx) => {
      const { numAffectedRows } = await sql`
        update folders f set cursor = l.cursor, total = l.total, checked_at = now(), problem = case when f.held_since is null then null else f.problem end,
          generation = l.generation + 1, import_total = l.total, import_done = 0,
          history_cursor = case when l.is_listed then null else l.history_cursor end,
          import_state = case when l.is_listed then 'complete' else 'importing' end,
          was_complete = f.was_complete or l.is_listed,
          quiet_before = case when l.is_listed then null else f.quiet_before end
        from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
          as l (id text, writes int, generation int, cursor jsonb, history_cursor jsonb, total int, is_listed boolean)
        where f.id = l.id and f.cursor is null and f.writes = l.writes and f.generation = l.generation and ${areSettingsOf(owner)}
      `.execute(trx);
      if (numAffectedRows !== BigInt(rows.length)) throw new CursorMoved("a folder's first look was taken by somebody else");
      await forgetAllSkipped(
        trx,
        rows.map(({ id }) => id),
      );
    });
    return true;
  } catch (error) {
    if (error instanceof CursorMoved) return false;
    throw error;
  }
}

/**
 * The new cursor over the one that the page was read with, unless we wrote to the folder meanwhile: the page may not know of it. A page whose
 * removals are held leaves it where it is: what it brought is stored, and the next look finds the folder as different as this one did.
 */
async function moveCursor(trx: Connection, owner: PageOwner, folder: SyncFolder, page: ChangePage, isHeld: boolean): Promise<void> {
  const next = JSON.stringify(isHeld ? folder.cursor : page.cursor);
  const listing = page.reset
    ? {
        generation: folder.generation + 1,
        history_cursor: JSON.stringify(page.historyCursor ?? {}),
        import_state: page.historyCursor === undefined ? ("complete" as const) : ("importing" as const),
        import_total: page.total,
        import_done: 0,
      }
    : {};
  const { numUpdatedRows } = await trx
    .updateTable("folders")
    .set({
      cursor: next,
      total: page.total,
      checked_at: sql<Date>`now()`,
      ...(isHeld || folder.heldSince !== null ? {} : { problem: null }),
      ...listing,
    })
    .where("id", "=", folder.id)
    .where("writes", "=", folder.writes)
    .where(sql<boolean>`cursor is not distinct from ${folder.cursor === null ? null : JSON.stringify(folder.cursor)}::jsonb`)
    .where(areSettingsOf(owner))
    .executeTakeFirst();
  if (numUpdatedRows === 0n) throw new CursorMoved(`the cursor of ${folder.id} was moved by somebody else`);
}

/**
 * Commits a page of history. History is judged on the way in: it is told to nobody, so nothing is left to do, and a first sync writes each row once.
 * The exceptions are told: what `notifyFrom` asks for, and, in a listing that repeats an earlier one, whatever the registry does not know, for it came
 * while nobody could see it.
 *
 * `onTurn` is called once the cursor is moved, and locked: whoever stores the next page from then on waits for this one in the database, and goes on there
 * as soon as it is committed.
 */
export async function storeHistory(
  db: Database,
  owner: PageOwner,
  folder: SyncFolder,
  previous: SyncCursor,
  page: HistoryPage,
  prepared: PreparedPage = preparePage(prepareMessages(owner, folder, page.messages)),
  onTurn: () => void = () => {},
): Promise<void> {
  await sifting(db, owner, folder, page.messages, (messages, skipped) =>
    storeHistoryPage(db, owner, folder, previous, { ...page, messages }, skipped, prepared, onTurn),
  );
}

async function storeHistoryPage(
  db: Database,
  owner: PageOwner,
  folder: SyncFolder,
  previous: SyncCursor,
  page: HistoryPage,
  skipped: readonly Skipped[],
  prepared: PreparedPage,
  onTurn: () => void,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    const record = await takeTurn(trx, owner, folder, previous, page, prepared.keys);
    onTurn();
    const messages = await wantedOf(trx, owner, folder, page.messages);
    const tellsFrom = listedToldFrom(owner, folder);
    // Both are of what was listed, and leave out of it what is not wanted or was refused: as many are the same ones.
    const wanted = messages.length === prepared.listed ? prepared : preparePage(prepareMessages(owner, folder, messages));
    const merged = await storeLocked(trx, owner, folder, wanted, tellsFrom, false, record);
    await recordSkipped(trx, owner, folder.id, [...page.skipped.map(toSkipped), ...skipped], tellsFrom);
    if (!page.more) await completeListing(trx, owner, folder);
    await recordEvents(trx, owner, merged);
  });
}

/**
 * The listing's next cursor over the one that the page was read with; and, in the same round trip, the lock that the page's threads need, and what is on
 * record about them. The row is locked before it is compared: behind the page before, the comparison must see what that page committed. So must the look-up,
 * which is why a function makes it: within one, each statement sees what was committed when it began.
 */
async function takeTurn(
  trx: Connection,
  owner: PageOwner,
  folder: SyncFolder,
  previous: SyncCursor,
  page: HistoryPage,
  keys: ThreadKeys,
): Promise<KeyRecord> {
  const { rows } = await sql<KeyRow | NothingOnRecord>`
    with locked as materialized (select id, generation, history_cursor from folders where id = ${folder.id} for update),
    moved as (
      update folders f set history_cursor = ${page.more ? JSON.stringify(page.cursor) : null}::jsonb, import_done = import_done + ${page.messages.length}::int
      from locked l
      where f.id = l.id and l.generation = ${folder.generation} and l.history_cursor = ${JSON.stringify(previous)}::jsonb and ${areSettingsOf(owner)}
      returning f.id
    ), turn as materialized (select ${lockThreads(owner.mailboxId)} from moved)
    select r.* from turn left join lateral ${keysOnRecord(owner, keys)} r on true
  `.execute(trx);
  if (rows.length === 0) throw new CursorMoved(`the listing of ${folder.id} was moved by somebody else`);
  return toKeyRecord(
    keys,
    rows.filter((row) => row.position !== null),
  );
}

interface NothingOnRecord {
  readonly position: null;
}

/** Since when a listed message must have been received to be told, in ms since 1970: -Infinity tells all of them, Infinity none. */
function listedToldFrom(owner: PageOwner, { wasComplete, quietBefore }: SyncFolder): number {
  const asNew = wasComplete ? Number.NEGATIVE_INFINITY : (owner.tellListedFrom?.getTime() ?? Number.POSITIVE_INFINITY);
  const asked = owner.rules?.notifyFrom?.getTime() ?? Number.POSITIVE_INFINITY;
  return Math.min(asked, Math.max(asNew, quietBefore?.getTime() ?? Number.NEGATIVE_INFINITY));
}

/** Since when a message must have been received to be told, where that is asked of none. */
const everybody = Number.NEGATIVE_INFINITY;
const nobody = Number.POSITIVE_INFINITY;

/**
 * Commits what became of a skipped message that was asked for again: stored as its page would have done, or noted once more, or gone. The folder's
 * cursor must be the one that it was asked with, for under another its name may mean another message, or none.
 */
export async function storeSkipped(
  db: Database,
  owner: PageOwner,
  folder: SyncFolder,
  due: DueSkipped,
  fetched: FetchedMessages,
  texts: PageTexts,
): Promise<void> {
  const refused = fetched.skipped.find(({ ref }) => ref === due.ref);
  const found = fetched.messages.filter(({ ref }) => ref === due.ref);
  try {
    await db.transaction().execute(async (trx) => {
      await lockAsRead(trx, owner, folder);
      if (refused !== undefined) return recordSkippedAgain(trx, folder.id, toSkipped(refused));
      const messages = await wantedOf(trx, owner, folder, found);
      const tellsFrom = Math.min(due.tellsFrom, owner.rules?.notifyFrom?.getTime() ?? Number.POSITIVE_INFINITY);
      const merged = await storeMessages(trx, owner, folder, messages, tellsFrom, texts.snippets);
      await saveMessageTexts(
        trx,
        owner,
        messages.flatMap((message) => keptText(owner, message, texts)),
      );
      await forgetSkipped(trx, folder.id, due.ref);
      await recordEvents(trx, owner, merged);
    });
  } catch (error) {
    if (!isRefusedRow(error)) throw error;
    await recordSkippedAgain(db, folder.id, { ref: due.ref, code: "message_not_stored", reason: `SQLSTATE ${error.code}` });
  }
}

async function lockAsRead(trx: Connection, owner: PageOwner, folder: SyncFolder): Promise<void> {
  const row = await trx
    .selectFrom("folders")
    .select("id")
    .where("id", "=", folder.id)
    .where("writes", "=", folder.writes)
    .where(sql<boolean>`cursor is not distinct from ${folder.cursor === null ? null : JSON.stringify(folder.cursor)}::jsonb`)
    .where(areSettingsOf(owner))
    .forUpdate()
    .executeTakeFirst();
  if (row === undefined) throw new CursorMoved(`the cursor of ${folder.id} was moved by somebody else`);
}

/** The listing named everything there is: places of an earlier generation are gone. */
async function completeListing(trx: Connection, owner: PageOwner, folder: SyncFolder): Promise<void> {
  await trx
    .updateTable("folders")
    .set((eb) => ({
      import_state: "complete" as const,
      was_complete: true,
      import_total: eb.ref("import_done"),
      quiet_before: null,
      ...(folder.heldSince === null ? { problem: null } : {}),
    }))
    .where("id", "=", folder.id)
    .execute();
  if (folder.wasComplete && owner.rules?.keptFrom !== undefined) await forgetUnnamed(trx, folder, owner.rules.keptFrom);
  if (!folder.wasComplete || (await isRemovalHeld(trx, folder, await countStale(trx, folder.id, folder.generation)))) return;
  await removeStale(trx, folder.id, folder.generation);
  if (folder.heldSince !== null) await releaseRemoval(trx, folder.id);
}

/** With an age limit a listing leaves out what is too old, although it is there: that is forgotten, and was not deleted. */
async function forgetUnnamed(trx: Connection, folder: SyncFolder, keptFrom: Date): Promise<void> {
  const rows = await trx
    .selectFrom("message_locations as l")
    .innerJoin("messages as m", "m.id", "l.message_id")
    .select("m.id")
    .where("l.folder_id", "=", folder.id)
    .where("l.generation", "<", folder.generation)
    .where("m.received_at", "<", keptFrom)
    .execute();
  await forgetMessages(
    trx,
    rows.map((row) => row.id),
  );
}

function keptText(owner: PageOwner, message: RemoteMessage, texts: PageTexts): readonly MessageText[] {
  const kept = texts.kept.get(message.ref);
  return kept === undefined ? [] : [{ messageId: messageIdOf(owner, message), ...kept }];
}

function messageIdOf(owner: PageOwner, message: RemoteMessage): MessageId {
  return derivedId("message", owner.mailboxId, identityOf(message));
}

/** A message with all of its row that does not depend on what is stored. */
export interface PreparedMessage extends ThreadedMessage {
  /** The row as JSON, but for its thread and its state. */
  readonly columns: string;
}

/** Messages of a page, worked out as far as that goes without the store. */
export interface PreparedPage {
  /** One a ref, sorted by id, so that two lanes that store the same messages lock them in one order. */
  readonly messages: readonly ThreadedMessage[];
  /** How many there were before those with one ref were made one. */
  readonly listed: number;
  /** The messages' rows as the statement takes them, in UTF-8. */
  readonly rows: Buffer;
  readonly keys: ThreadKeys;
}

/** Half of what storing a page computes in this process: a first sync has it done while the database is busy with the page before. */
export function prepareMessages(
  owner: PageOwner,
  folder: Pick<SyncFolder, "role">,
  messages: readonly RemoteMessage[],
  snippets?: ReadonlyMap<string, string>,
): readonly PreparedMessage[] {
  return messages.map((message) => prepareMessage(owner, folder, message, snippets?.get(message.ref) ?? null));
}

/**
 * One row a ref; of those with one id (a provider may name a message twice in a page), one is the message's row, for ON CONFLICT does not touch a row twice
 * in one statement.
 */
export function preparePage(prepared: readonly PreparedMessage[]): PreparedPage {
  const messages = [...new Map(prepared.map((row) => [row.message.ref, row])).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const rows = messages.map((row, index) => `{"is_row":${row.id !== messages[index + 1]?.id},${row.columns.slice(1)}`);
  return { messages, listed: prepared.length, rows: Buffer.from(`[${rows.join(",")}]`), keys: keysAsked(messages) };
}

function prepareMessage(owner: PageOwner, folder: Pick<SyncFolder, "role">, message: RemoteMessage, snippet: string | null): PreparedMessage {
  const id = messageIdOf(owner, message);
  const threaded = prepareThreading(id, message);
  const columns = JSON.stringify({
    id,
    ref: message.ref,
    ...subjectColumnsOf(threaded),
    message_id: message.envelope.messageId,
    envelope: message.envelope,
    subject: message.envelope.subject,
    flags: message.flags,
    size_bytes: message.sizeBytes,
    received_at: message.receivedAt,
    attachments: message.attachments,
    text_part: message.textPart,
    snippet,
    traits: message.traits,
    defects: message.defects,
    recipients_total: message.recipientsTotal,
    direction: directionOf(message, folder.role, owner.self),
    terms: termsOf(owner, message, snippet),
  });
  return { ...threaded, columns };
}

/** `storeLocked` for callers that do not hold the lock on the mailbox's threads. */
async function storeMessages(
  trx: Connection,
  owner: PageOwner,
  folder: SyncFolder,
  messages: readonly RemoteMessage[],
  toldFrom: number,
  snippets?: ReadonlyMap<string, string>,
): Promise<readonly EventData[]> {
  if (messages.length === 0) return [];
  const prepared = preparePage(prepareMessages(owner, folder, messages, snippets));
  await sql`select ${lockThreads(owner.mailboxId)}`.execute(trx);
  return storeLocked(trx, owner, folder, prepared, toldFrom, snippets !== undefined, await findKeys(trx, owner, prepared.keys));
}

/**
 * Inserts what is new, and the place of everything. What was received at or after `toldFrom` (ms since 1970) is told. A message that was forgotten and may be
 * kept again gets back what it said, and is told to nobody: to who heard of it, it was there all the time. Where nobody has looked at the texts yet, messages
 * that have one are marked for that. Gives what is to be told when the transaction has nothing else to do.
 */
async function storeLocked(
  trx: Connection,
  owner: PageOwner,
  folder: SyncFolder,
  { messages, rows, keys }: PreparedPage,
  toldFrom: number,
  hasSnippets: boolean,
  record: KeyRecord,
): Promise<readonly EventData[]> {
  if (messages.length === 0) return [];
  const threading = await assignThreads(trx, owner, messages, keys, record);
  const isWaiting = owner.keepsContent === true ? sql`true` : hasSnippets ? sql`false` : sql`jsonb_typeof(m.text_part) = 'object'`;
  const contentState = sql`case when ${isWaiting} then 'pending' end`;
  // All of a page is written by one statement: each round trip to the database waits for what else this process computes. Its parts see the tables as
  // they were before it, and of each other only what they return.
  const { rows: seenBefore } = await sql<{ id: MessageId }>`
    with m as materialized (
      select r.*, r.unnest as thread_id, case when r.received_at >= ${toInstant(toldFrom)}::timestamptz then 'fetched' else 'settled' end as state
      from rows from (
        json_to_recordset(${rows}::json) as (id text, ref text, is_row boolean, subject_key bigint, is_bare_reply boolean, message_id text,
          envelope jsonb, subject text, flags text[], size_bytes int, received_at timestamptz, attachments jsonb, text_part jsonb, snippet text,
          traits jsonb, defects text[], recipients_total int, direction text, terms tsvector),
        unnest(${toArray(messages.map(({ id }) => threading.threadOf(id)))}::text[])
      ) as r
    ), added as (
      insert into messages (id, customer_id, mailbox_id, thread_id, subject_key, is_bare_reply, message_id, envelope, subject, flags, size_bytes,
        received_at, attachments, text_part, snippet, traits, defects, recipients_total, direction, special_use, main_folder_id, main_ref, state, terms,
        content_state)
      select m.id, ${owner.customerId}, ${owner.mailboxId}, m.thread_id, m.subject_key, m.is_bare_reply, m.message_id, m.envelope, m.subject, m.flags,
        m.size_bytes, m.received_at, m.attachments, nullif(m.text_part, 'null'::jsonb), m.snippet, m.traits, m.defects, m.recipients_total, m.direction,
        ${folder.role}, ${folder.id}, m.ref, m.state, m.terms, ${contentState}
      from m where m.is_row
      on conflict (id) do update set
        thread_id = excluded.thread_id, subject_key = excluded.subject_key, is_bare_reply = excluded.is_bare_reply, message_id = excluded.message_id,
        envelope = excluded.envelope, subject = excluded.subject, flags = excluded.flags, size_bytes = excluded.size_bytes,
        received_at = excluded.received_at, attachments = excluded.attachments, text_part = excluded.text_part, snippet = excluded.snippet,
        traits = excluded.traits, defects = excluded.defects, recipients_total = excluded.recipients_total, direction = excluded.direction,
        special_use = excluded.special_use, main_folder_id = excluded.main_folder_id, main_ref = excluded.main_ref, state = 'settled',
        terms = excluded.terms, is_deleted = false, is_forgotten = false, content_state = excluded.content_state
      where messages.is_forgotten
      returning id, thread_id, received_at
    ), placed as (
      -- A message that was there before has an instant of its own: a trigger looks it up where none is given.
      insert into message_locations (folder_id, ref, message_id, customer_id, mailbox_id, flags, generation, received_at)
      select ${folder.id}, m.ref, m.id, ${owner.customerId}, ${owner.mailboxId}, m.flags, ${folder.generation}, a.received_at
      from m left join added a on a.id = m.id
      on conflict (folder_id, ref) do update
      set message_id = excluded.message_id, flags = excluded.flags, generation = excluded.generation, received_at = excluded.received_at
    ), ${savingThreads(owner, threading)}
    select m.id from m where m.is_row and not exists (select from added a where a.id = m.id)
  `.execute(trx);
  await markChanged(
    trx,
    seenBefore.map((row) => row.id),
    folder,
  );
  return threading.merged;
}

/** An instant in ms as PostgreSQL reads it, which knows both ends of time. */
function toInstant(ms: number): string {
  return ms === everybody ? "-infinity" : ms === nobody ? "infinity" : new Date(ms).toISOString();
}

/** What settings want of a page. What is stored already stays where it can be seen: a message is not gone because it was filed. */
async function wantedOf(trx: Connection, owner: PageOwner, folder: SyncFolder, listed: readonly RemoteMessage[]): Promise<readonly RemoteMessage[]> {
  const unwanted = new Map(
    listed.flatMap((message) => (owner.rules?.isWanted(message, folder.role) !== false ? [] : [[message, messageIdOf(owner, message)]])),
  );
  if (unwanted.size === 0) return listed;
  const stored = await trx
    .selectFrom("messages")
    .select("id")
    .where("id", "in", [...unwanted.values()])
    .where("is_forgotten", "=", false)
    .execute();
  const storedIds = new Set(stored.map((row) => row.id));
  return listed.filter((message) => {
    const id = unwanted.get(message);
    return id === undefined || storedIds.has(id);
  });
}

/** Messages of the registry that turned up in this folder: looked at again where that can matter. */
async function markChanged(trx: Connection, ids: readonly MessageId[], folder: SyncFolder): Promise<void> {
  if (ids.length === 0) return;
  await trx
    .updateTable("messages")
    .set({ state: "changed" })
    .where("id", "in", ids)
    .where("state", "in", ["settled", "missing"])
    .where((eb) => eb.or([eb("state", "=", "missing"), eb("is_deleted", "=", true), eb("main_folder_id", "is distinct from", folder.id)]))
    .execute();
}

/** Flags as the folder shows them now. */
async function storeFlags(trx: Connection, folder: SyncFolder, changes: readonly FlagChange[]): Promise<void> {
  if (changes.length === 0) return;
  await sql`
    with changed as (
      update message_locations l set flags = c.flags
      from jsonb_to_recordset(${JSON.stringify(changes)}::jsonb) as c (ref text, flags text[])
      where l.folder_id = ${folder.id} and l.ref = c.ref and l.flags <> c.flags
      returning l.message_id
    )
    update messages set state = 'changed' where id in (select message_id from changed) and state = 'settled'
  `.execute(trx);
}
