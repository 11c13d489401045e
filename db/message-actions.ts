import { sql } from "kysely";
import type { Problem } from "../domain/errors.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { CustomerId, FolderId, MailboxId, MessageActionId, MessageId } from "../domain/ids.ts";
import type { Flags } from "../domain/message.ts";
import type { ActionTarget, BegunStep, ItemState, MessageAction } from "../domain/message-action.ts";
import { comparePlaces, type Location } from "../domain/settle.ts";
import type { SyncCursor } from "../domain/sync.ts";
import type { Connection, Database } from "./database.ts";
import type { ScopedConnection } from "./scope.ts";

/** What is done to a message waits this long for its mailbox, and is told about for as long again as it is kept. */
const waitsFor = sql`interval '7 days'`;
const keptFor = sql`interval '30 days'`;

export interface NewMessageAction {
  readonly id: MessageActionId;
  readonly customerId: CustomerId;
  readonly mailboxId: MailboxId | null;
  readonly action: MessageAction;
  readonly whenAway: "refuse" | "queue";
}

export interface NewItem {
  readonly messageId: MessageId;
  readonly mailboxId: MailboxId | null;
  readonly state: "queued" | "not_found" | "refused";
  readonly problem: Problem | null;
}

/** The mailboxes of those of these messages that are there, and the caller's. */
export async function mailboxesOf(db: ScopedConnection, ids: readonly MessageId[]): Promise<ReadonlyMap<MessageId, MailboxId>> {
  if (ids.length === 0) return new Map();
  const rows = await db.selectFrom("messages").select(["id", "mailbox_id"]).where("id", "in", ids).where("is_deleted", "=", false).execute();
  return new Map(rows.map((row) => [row.id, row.mailbox_id]));
}

/** Stores a request and its messages, in their order. Call it in a transaction. */
export async function insertMessageAction(trx: ScopedConnection, request: NewMessageAction, items: readonly NewItem[]): Promise<void> {
  await trx
    .insertInto("message_actions")
    .values({
      id: request.id,
      customer_id: request.customerId,
      mailbox_id: request.mailboxId,
      action: JSON.stringify(request.action),
      when_away: request.whenAway,
      expires_at: sql<Date>`now() + ${waitsFor}`,
    })
    .execute();
  await sql`
    insert into message_action_items (action_id, message_id, customer_id, mailbox_id, state, problem)
    select ${request.id}, i."messageId", ${request.customerId}, i."mailboxId", i.state, nullif(i.problem, 'null'::jsonb)
    from jsonb_to_recordset(${JSON.stringify(items.map((item, order) => ({ ...item, order })))}::jsonb)
      as i ("messageId" text, "mailboxId" text, state text, problem jsonb, "order" int)
    order by i."order"
  `.execute(trx);
}

export interface StoredAction {
  readonly id: MessageActionId;
  readonly action: MessageAction;
  readonly whenAway: "refuse" | "queue";
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly items: readonly {
    readonly messageId: MessageId;
    readonly mailboxId: MailboxId | null;
    readonly state: ItemState;
    readonly problem: Problem | null;
  }[];
}

export async function findMessageAction(db: ScopedConnection, id: MessageActionId): Promise<StoredAction | undefined> {
  const row = await db.selectFrom("message_actions").selectAll().where("id", "=", id).executeTakeFirst();
  if (row === undefined) return undefined;
  const items = await db
    .selectFrom("message_action_items")
    .select(["message_id as messageId", "mailbox_id as mailboxId", "state", "problem"])
    .where("action_id", "=", id)
    .orderBy("position")
    .execute();
  return { id, action: row.action, whenAway: row.when_away, createdAt: row.created_at, expiresAt: row.expires_at, items };
}

/** A message of the oldest request that has something left to do in a mailbox. */
export interface PendingItem {
  readonly messageId: MessageId;
  readonly state: "queued" | "begun";
  readonly stepsDone: number;
  readonly step: BegunStep | null;
}

export interface PendingAction {
  readonly id: MessageActionId;
  readonly action: MessageAction;
  readonly items: readonly PendingItem[];
}

/** Requests are carried out one after another, as they came: what was asked for later may rest on what was asked for before. */
export async function findPendingAction(db: Connection, mailboxId: MailboxId): Promise<PendingAction | undefined> {
  const oldest = await db
    .selectFrom("message_action_items as i")
    .innerJoin("message_actions as a", "a.id", "i.action_id")
    .select(["a.id", "a.action"])
    .where("i.mailbox_id", "=", mailboxId)
    .where("i.state", "in", ["queued", "begun"])
    .orderBy("i.position")
    .limit(1)
    .executeTakeFirst();
  if (oldest === undefined) return undefined;
  const rows = await db
    .selectFrom("message_action_items")
    .select(["message_id", "state", "steps_done", "step"])
    .where("action_id", "=", oldest.id)
    .where("mailbox_id", "=", mailboxId)
    .where("state", "in", ["queued", "begun"])
    .orderBy("position")
    .execute();
  const items = rows.map((row) => ({
    messageId: row.message_id,
    state: row.state === "begun" ? ("begun" as const) : ("queued" as const),
    stepsDone: row.steps_done,
    step: row.step,
  }));
  return { ...oldest, items };
}

/** Why a mailbox that is in error cannot be written to. */
export async function findProblem(db: Connection, mailboxId: MailboxId): Promise<Problem | null> {
  const row = await db.selectFrom("mailboxes").select("problem").where("id", "=", mailboxId).executeTakeFirst();
  return row?.problem ?? null;
}

export async function countPending(db: Connection, mailboxId: MailboxId): Promise<number> {
  const { count } = await db
    .selectFrom("message_action_items")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("mailbox_id", "=", mailboxId)
    .where("state", "in", ["queued", "begun"])
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** What is known of a message that is to be written to. */
export interface Target {
  readonly messageId: string | null;
  readonly sizeBytes: number;
  readonly receivedAt: Date;
  /** Where it lies under refs that hold now, where a person would look first coming first. */
  readonly places: readonly Location[];
  /** Nobody can say just now: its folders are being listed anew, or it left one and was not found in the next yet. */
  readonly isOnItsWay: boolean;
}

export async function findTargets(db: Connection, ids: readonly MessageId[]): Promise<ReadonlyMap<MessageId, Target>> {
  if (ids.length === 0) return new Map();
  const messages = await db
    .selectFrom("messages")
    .select(["id", "message_id", "size_bytes", "received_at", "state"])
    .where("id", "in", ids)
    .execute();
  const rows = await db
    .selectFrom("message_locations as l")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .select(["l.message_id", "l.folder_id as folderId", "l.ref", "l.flags", "f.path", "f.role"])
    .select((eb) => eb.and([eb("f.cursor", "is not", null), eb("l.generation", "=", eb.ref("f.generation"))]).as("isCurrent"))
    .where("l.message_id", "in", ids)
    .execute();
  const byMessage = Map.groupBy(rows, (row) => row.message_id);
  return new Map(
    messages.map((message) => {
      const places = byMessage.get(message.id) ?? [];
      const current = places.filter((place) => Boolean(place.isCurrent)).toSorted(comparePlaces);
      return [
        message.id,
        {
          messageId: message.message_id,
          sizeBytes: message.size_bytes,
          receivedAt: message.received_at,
          places: current,
          isOnItsWay: current.length === 0 && (places.length > 0 || message.state === "missing"),
        },
      ];
    }),
  );
}

export interface WritableFolder {
  readonly id: FolderId;
  readonly path: string;
  readonly role: FolderRole;
  readonly cursor: SyncCursor | null;
  readonly isSelectable: boolean;
}

export async function findFolders(db: Connection, mailboxId: MailboxId, ids: readonly FolderId[]): Promise<ReadonlyMap<FolderId, WritableFolder>> {
  if (ids.length === 0) return new Map();
  const rows = await selectFolders(db, mailboxId).where("id", "in", ids).execute();
  return new Map(rows.map((row) => [row.id, row]));
}

/** The folder that is meant; of several with one role, the first by path. */
export async function findTargetFolder(db: Connection, mailboxId: MailboxId, target: ActionTarget): Promise<WritableFolder | undefined> {
  let query = selectFolders(db, mailboxId).where("is_selectable", "=", true);
  if ("folderId" in target) query = query.where("id", "=", target.folderId);
  else if ("path" in target) query = query.where("path", "=", target.path);
  else query = query.where("role", "=", target.role);
  return query.orderBy("path").limit(1).executeTakeFirst();
}

/** Every folder's path: whom a change of one of them concerns. */
export async function findFolderPaths(db: Connection, mailboxId: MailboxId) {
  return db.selectFrom("folders").select(["id", "path", "delimiter"]).where("mailbox_id", "=", mailboxId).execute();
}

function selectFolders(db: Connection, mailboxId: MailboxId) {
  return db.selectFrom("folders").select(["id", "path", "role", "cursor", "is_selectable as isSelectable"]).where("mailbox_id", "=", mailboxId);
}

/** Notes what is about to be asked of the server, before it is. Returns those that may be: others were given up meanwhile. */
export async function beginSteps(
  db: Connection,
  actionId: MessageActionId,
  steps: readonly { readonly messageId: MessageId; readonly step: BegunStep }[],
): Promise<ReadonlySet<MessageId>> {
  const { rows } = await sql<{ message_id: MessageId }>`
    update message_action_items i set state = 'begun', step = s.step
    from jsonb_to_recordset(${JSON.stringify(steps)}::jsonb) as s ("messageId" text, step jsonb)
    where i.action_id = ${actionId} and i.message_id = s."messageId" and i.state in ('queued', 'begun')
    returning i.message_id
  `.execute(db);
  return new Set(rows.map((row) => row.message_id));
}

/** What became of a step, or of a message about which nothing is left to do. */
export interface ItemOutcome {
  readonly messageId: MessageId;
  readonly state: ItemState;
  readonly problem: Problem | null;
  /** One more place is done. */
  readonly isStep: boolean;
}

export async function recordOutcomes(db: Connection, actionId: MessageActionId, outcomes: readonly ItemOutcome[]): Promise<void> {
  if (outcomes.length === 0) return;
  await sql`
    update message_action_items i
    set state = o.state, problem = nullif(o.problem, 'null'::jsonb), step = null, steps_done = steps_done + o."isStep"::int
    from jsonb_to_recordset(${JSON.stringify(outcomes)}::jsonb) as o ("messageId" text, state text, problem jsonb, "isStep" boolean)
    where i.action_id = ${actionId} and i.message_id = o."messageId" and i.state in ('queued', 'begun')
  `.execute(db);
}

/** What a step changed at the server, as the store has to show it. */
export interface Written {
  readonly folderId: FolderId;
  readonly ref: string;
  readonly messageId: MessageId;
  /** The flags that the message has there now. */
  readonly flags?: Flags;
  /** It left this place. */
  readonly hasLeft?: boolean;
  /** Its place in the target, where the server named it. */
  readonly newRef?: string | null;
}

/**
 * Shows in the store what the server did, in the transaction that settles the items: flags, places gone and places new, and which messages have to be
 * judged again. That is all the change there is: the next sync finds the store as the server is, and tells nothing a second time. Pages of these folders
 * that were read before are dropped (`folders.writes`).
 */
export async function storeWritten(
  trx: Connection,
  owner: { readonly customerId: CustomerId; readonly mailboxId: MailboxId },
  written: readonly Written[],
  targetId: FolderId | null,
): Promise<void> {
  if (written.length === 0) return;
  const rows = JSON.stringify(written);
  await lockFolders(trx, [...new Set([...written.map(({ folderId }) => folderId), ...(targetId === null ? [] : [targetId])])]);
  await sql`
    with written as (
      select * from jsonb_to_recordset(${rows}::jsonb)
        as w ("folderId" text, ref text, "messageId" text, flags text[], "hasLeft" boolean, "newRef" text)
    ), flagged as (
      update message_locations l set flags = w.flags from written w
      where w.flags is not null and l.folder_id = w."folderId" and l.ref = w.ref and l.message_id = w."messageId" and l.flags <> w.flags
      returning l.message_id
    ), arrived as (
      insert into message_locations (folder_id, ref, message_id, customer_id, mailbox_id, flags, generation)
      select f.id, w."newRef", l.message_id, ${owner.customerId}, ${owner.mailboxId}, l.flags, f.generation
      from written w
      join message_locations l on l.folder_id = w."folderId" and l.ref = w.ref and l.message_id = w."messageId"
      join folders f on f.id = ${targetId} and f.is_synced and f.cursor is not null
      where w."newRef" is not null
      on conflict (folder_id, ref) do nothing
      returning message_id
    ), gone as (
      delete from message_locations l using written w
      where w."hasLeft" and l.folder_id = w."folderId" and l.ref = w.ref and l.message_id = w."messageId"
      returning l.message_id
    )
    update messages set state = 'changed'
    where id in (select message_id from flagged union select message_id from arrived union select message_id from gone)
      and state = 'settled' and not is_deleted
  `.execute(trx);
  // Apart, because a statement does not see what its own parts deleted.
  await sql`
    update messages m set state = 'missing', missing_since = now()
    where m.id = any(${written.filter(({ hasLeft }) => hasLeft).map(({ messageId }) => messageId)}::text[])
      and m.state in ('changed', 'settled') and not m.is_deleted
      and not exists (select from message_locations l where l.message_id = m.id)
  `.execute(trx);
}

async function lockFolders(trx: Connection, ids: readonly FolderId[]): Promise<void> {
  // In one order, so that two writers of the same folders wait for each other instead of forever.
  await trx.selectFrom("folders").select("id").where("id", "in", ids).orderBy("id").forUpdate().execute();
  await trx
    .updateTable("folders")
    .set((eb) => ({ writes: eb("writes", "+", 1) }))
    .where("id", "in", ids)
    .execute();
}

/** Whether a message waits to be found elsewhere, or to be called deleted. */
export async function hasMissing(db: Connection, ids: readonly MessageId[]): Promise<boolean> {
  if (ids.length === 0) return false;
  const row = await db.selectFrom("messages").select("id").where("id", "in", ids).where("state", "=", "missing").limit(1).executeTakeFirst();
  return row !== undefined;
}

/** Refuses what was not begun and whose caller wanted to know at once. What was begun stays until it is known what became of it. Returns how many. */
export async function refuseImpatient(db: Connection, mailboxId: MailboxId, problem: Problem): Promise<number> {
  const { numUpdatedRows } = await db
    .updateTable("message_action_items as i")
    .from("message_actions as a")
    .set({ state: "refused", problem: JSON.stringify(problem) })
    .whereRef("a.id", "=", "i.action_id")
    .where("a.when_away", "=", "refuse")
    .where("i.mailbox_id", "=", mailboxId)
    .where("i.state", "=", "queued")
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** The same for one request in whose mailboxes nothing has begun: nobody took it up. */
export async function refuseUntouched(db: Connection, id: MessageActionId, problem: Problem): Promise<void> {
  await sql`
    update message_action_items i set state = 'refused', problem = ${JSON.stringify(problem)}::jsonb
    from message_actions a
    where a.id = i.action_id and a.id = ${id} and a.when_away = 'refuse' and i.state = 'queued'
      and not exists (
        select from message_action_items o
        where o.action_id = i.action_id and o.mailbox_id = i.mailbox_id and (o.state = 'begun' or o.steps_done > 0)
      )
  `.execute(db);
}

/** Refuses everything that waits for a mailbox which will not come back. */
export async function refuseAll(db: Connection, mailboxId: MailboxId, problem: Problem): Promise<void> {
  await db
    .updateTable("message_action_items")
    .set({ state: "refused", problem: JSON.stringify(problem), step: null })
    .where("mailbox_id", "=", mailboxId)
    .where("state", "in", ["queued", "begun"])
    .execute();
}

/** In one round at most: the rest is found by the next one. */
const roundMax = 500;

/** Mailboxes that are there and in which something has waited for a minute: whoever should have been told was not. */
export async function listWaitingMailboxes(db: Connection): Promise<readonly MailboxId[]> {
  const { rows } = await sql<{ id: MailboxId }>`
    select distinct i.mailbox_id as id
    from message_action_items i
    join message_actions a on a.id = i.action_id
    join mailboxes m on m.id = i.mailbox_id
    where i.state in ('queued', 'begun') and a.created_at < now() - interval '1 minute'
      and (m.deleted_at is not null or (m.status = 'connected' and not m.is_paused))
    limit ${roundMax}
  `.execute(db);
  return rows.map((row) => row.id);
}

/** Gives up what waited too long for its mailbox. */
export async function expireMessageActions(db: Connection, problem: Problem): Promise<number> {
  const { numAffectedRows } = await sql`
    update message_action_items i set state = 'refused', problem = ${JSON.stringify(problem)}::jsonb, step = null
    from message_actions a
    where a.id = i.action_id and i.state in ('queued', 'begun') and a.expires_at < now()
  `.execute(db);
  return Number(numAffectedRows ?? 0n);
}

/** Forgets requests that have had their time. Returns how many. */
export async function sweepMessageActions(db: Database): Promise<number> {
  const { numAffectedRows } = await sql`delete from message_actions where created_at < now() - ${keptFor}`.execute(db);
  return Number(numAffectedRows ?? 0n);
}
