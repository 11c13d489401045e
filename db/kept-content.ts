import { sql } from "kysely";
import {
  type ContentChange,
  type ContentPlan,
  type ContentTarget,
  contentChange,
  contentTarget,
  isSameTarget,
  keepsAnything,
  keepsNothing,
} from "../domain/content-plan.ts";
import type { CustomerId, MailboxId, MessageId } from "../domain/ids.ts";
import type { AttachmentInfo, Envelope, TextPart } from "../domain/message.ts";
import { defaultSyncSettings, type SyncSettings } from "../domain/sync-settings.ts";
import type { Trait } from "../domain/traits.ts";
import type { Connection, Database } from "./database.ts";
import { type MessageBlob, saveBlobs } from "./message-blobs.ts";
import { type MessageText, saveMessageTexts } from "./message-texts.ts";
import { writeTermsWithoutText } from "./missing-terms.ts";
import { isResting } from "./rests.ts";
import type { KeyRing } from "./secrets.ts";

interface Owner {
  readonly id: MailboxId;
  readonly customerId: CustomerId;
}

/** Whether somebody has to fetch, or drop, contents of this mailbox: asked after each look, and answered by an index that is empty when all is done. */
export async function hasContentWork(db: Connection, id: MailboxId): Promise<boolean> {
  const row = await db
    .selectFrom("mailboxes")
    .select((eb) => ["sync", "content_plan", eb.exists(pendingContent(db, id)).as("has_pending")])
    .where("id", "=", id)
    .where("deleted_at", "is", null)
    .where("is_paused", "=", false)
    .executeTakeFirst();
  if (row === undefined) return false;
  const plan = row.content_plan;
  const target = contentTarget({ ...defaultSyncSettings, ...row.sync });
  if (!isSameTarget(plan ?? keepsNothing, target) || plan?.change != null) return true;
  return Boolean(row.has_pending);
}

function pendingContent(db: Connection, id: MailboxId) {
  return db.selectFrom("messages").select("messages.id").where("messages.mailbox_id", "=", id).where("content_state", "=", "pending");
}

/** Whether a listing of the mailbox is under way: what is only for the eye stands back for it. */
export async function isListing(db: Connection, id: MailboxId): Promise<boolean> {
  const row = await db
    .selectFrom("folders")
    .select("id")
    .where("mailbox_id", "=", id)
    .where("is_synced", "=", true)
    .where("import_state", "=", "importing")
    .where((eb) => eb.not(isResting))
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** How many messages wait for the keeper, for operators. */
export async function countPendingContent(db: Connection, id: MailboxId): Promise<number> {
  const { count } = await db
    .selectFrom("messages")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("mailbox_id", "=", id)
    .where("content_state", "=", "pending")
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** Connected mailboxes whose contents wait: a keeper that was lost is started for them again. */
export async function listContentWork(db: Connection): Promise<readonly MailboxId[]> {
  const { rows } = await sql<{ id: MailboxId }>`
    select m.id from mailboxes m
    where m.deleted_at is null and not m.is_paused and m.status = 'connected' and (
      jsonb_typeof(m.content_plan -> 'change') = 'object'
      or exists (select from messages c where c.mailbox_id = m.id and c.content_state = 'pending'))
    limit 500
  `.execute(db);
  return rows.map((row) => row.id);
}

/** Messages of one step of a change of plan: short locks, and little to repeat. */
const stepSize = 2_000;
/** Texts that deliveries may still want, see sweepMessageTexts. */
const deliveryTime = sql`interval '4 days'`;

/**
 * One step of bringing what is kept of stored messages in line with the settings, newest first: marks what is to be fetched and drops what is not wanted any
 * more. Where it stands is stored with each step. Returns false once nothing is left to do.
 */
export async function stepContentPlan(db: Database, mailbox: Owner, sync: SyncSettings): Promise<boolean> {
  const target = contentTarget(sync);
  return db.transaction().execute(async (trx) => {
    const row = await trx.selectFrom("mailboxes").select("content_plan").where("id", "=", mailbox.id).executeTakeFirst();
    if (row === undefined) return false;
    const plan = planFor(row.content_plan, target);
    if (plan.change === null) return false;
    const step = await nextMessages(trx, mailbox.id, plan.after);
    await applyChange(trx, step.ids, plan.change, target);
    const next: ContentPlan = step.last === undefined ? { ...target, change: null, after: null } : { ...plan, after: step.last };
    await trx
      .updateTable("mailboxes")
      .set({ content_plan: JSON.stringify(next) })
      .where("id", "=", mailbox.id)
      .execute();
    return next.change !== null;
  });
}

/** The plan at work, or a new one where the settings have changed since. */
function planFor(current: ContentPlan | null, target: ContentTarget): ContentPlan {
  const known = current ?? { ...keepsNothing, change: null, after: null };
  if (isSameTarget(known, target)) return known;
  // Of a change that was cut short, some messages know the one side and some the other: what is not wanted goes, the rest is fetched anew.
  const change = known.change === null ? contentChange(known, target) : unsureChange(target);
  return { ...target, change, after: null };
}

function unsureChange(target: ContentTarget): ContentChange {
  return {
    fetches: keepsAnything(target),
    dropsTexts: target.content === "metadata",
    dropsSources: target.content !== "full",
    dropsAttachments: true,
  };
}

async function nextMessages(trx: Connection, id: MailboxId, after: ContentPlan["after"]) {
  const { rows } = await sql<{ id: MessageId; at: string }>`
    select id, received_at::text as at from messages where mailbox_id = ${id} ${isBehind(after)} order by received_at desc, id limit ${stepSize}
  `.execute(trx);
  const last = rows.at(-1);
  return { ids: rows.map((row) => row.id), last: last === undefined ? undefined : { at: last.at, id: last.id } };
}

/** Behind this message, newest first. */
function isBehind(after: { readonly at: string; readonly id: string } | null | undefined) {
  if (after == null) return sql``;
  return sql`and received_at <= ${after.at}::timestamptz and (received_at < ${after.at}::timestamptz or id > ${after.id})`;
}

async function applyChange(trx: Connection, ids: readonly MessageId[], change: ContentChange, target: ContentTarget): Promise<void> {
  if (ids.length === 0) return;
  if (change.dropsSources) await sql`delete from message_blobs where message_id = any(${ids}::text[]) and part = ''`.execute(trx);
  if (change.dropsAttachments) await sql`delete from message_blobs where message_id = any(${ids}::text[]) and part <> ''`.execute(trx);
  if (change.dropsTexts) {
    await sql`delete from message_texts where message_id = any(${ids}::text[]) and is_kept and created_at < now() - ${deliveryTime}`.execute(trx);
    await sql`update message_texts set is_kept = false where message_id = any(${ids}::text[]) and is_kept`.execute(trx);
    await writeTermsWithoutText(trx, ids);
  }
  if (!keepsAnything(target)) {
    // What has a text and no line of preview still waits for that.
    const state = sql`case when snippet is null and text_part is not null and not is_deleted then 'pending' end`;
    await sql`update messages set content_state = ${state} where id = any(${ids}::text[]) and content_state is distinct from ${state}`.execute(trx);
  } else if (change.fetches) {
    await sql`
      update messages set content_state = 'pending'
      where id = any(${ids}::text[]) and content_state is distinct from 'pending' and not is_deleted
    `.execute(trx);
  }
}

/** A message whose content waits, and where it lies; without a place, it cannot be had. */
export interface PendingContent {
  readonly id: MessageId;
  /** `receivedAt` as the database orders by it, to the microsecond. */
  readonly at: string;
  readonly path: string | null;
  readonly ref: string | null;
  readonly sizeBytes: number;
  readonly receivedAt: Date;
  readonly envelope: Envelope;
  readonly attachments: readonly AttachmentInfo[];
  readonly traits: readonly Trait[];
  readonly textPart: TextPart | null;
  readonly snippet: string | null;
}

/** Where a listing of what waits goes on. */
export type PendingPosition = Pick<PendingContent, "id" | "at">;

/** Messages whose content waits, newest first. */
export async function listPendingContent(
  db: Connection,
  id: MailboxId,
  { after, limit }: { readonly after: PendingPosition | undefined; readonly limit: number },
): Promise<readonly PendingContent[]> {
  const { rows } = await sql<PendingContent>`
    select m.id, m.received_at::text as at, p.path, p.ref, m.size_bytes as "sizeBytes", m.received_at as "receivedAt", m.envelope, m.attachments, m.traits,
      m.text_part as "textPart", m.snippet
    from (
      select id, size_bytes, received_at, envelope, attachments, traits, text_part, snippet, main_folder_id from messages
      where mailbox_id = ${id} and content_state = 'pending' ${isBehind(after)} order by received_at desc, id limit ${limit}
    ) m
    left join lateral (
      select f.path, l.ref from message_locations l join folders f on f.id = l.folder_id
      where l.message_id = m.id order by (f.id = m.main_folder_id) desc nulls last limit 1
    ) p on true
    order by m.received_at desc, m.id
  `.execute(db);
  return rows;
}

/** What was fetched of some messages. Those that are named in neither list are left waiting. */
export interface FetchedContent {
  readonly kept: readonly MessageId[];
  /** What is written of the kept ones' texts into their rows. */
  readonly previews: readonly Preview[];
  readonly failed: readonly MessageId[];
  readonly texts: readonly MessageText[];
  readonly blobs: readonly MessageBlob[];
}

/** A message's line of preview, null where its text is empty, and the words by which it is found from now on. */
export interface Preview {
  readonly id: MessageId;
  readonly snippet: string | null;
  readonly terms: string;
}

/**
 * Commits previews, texts, blobs and the messages' states together. A message that was forgotten, or is not wanted any more, while its content was fetched keeps none:
 * its blobs stay announced for removal.
 */
export async function saveFetchedContent(db: Database, ring: KeyRing, mailbox: Owner, target: ContentTarget, fetched: FetchedContent): Promise<void> {
  const ids = [...fetched.kept, ...fetched.failed].sort();
  if (ids.length === 0) return;
  await db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ id: MessageId }>`
      with waiting as (select id from messages where id = any(${ids}::text[]) and content_state = 'pending' order by id for update)
      update messages m set
        content_state = case when m.id = any(${fetched.failed}::text[]) then 'failed' when ${keepsAnything(target)} then 'kept' end,
        snippet = coalesce(m.snippet, p.snippet),
        terms = coalesce(p.terms, m.terms)
      from waiting w left join jsonb_to_recordset(${JSON.stringify(fetched.previews)}::jsonb) as p (id text, snippet text, terms tsvector) using (id)
      where m.id = w.id returning m.id
    `.execute(trx);
    const wanted = new Set(rows.map((row) => row.id));
    const owner = { customerId: mailbox.customerId, mailboxId: mailbox.id };
    await saveMessageTexts(
      trx,
      owner,
      fetched.texts.filter(({ messageId }) => wanted.has(messageId)).map((text) => ({ ...text, isKept: true })),
    );
    await saveBlobs(
      trx,
      ring,
      owner,
      fetched.blobs.filter(({ messageId }) => wanted.has(messageId)),
    );
  });
}
