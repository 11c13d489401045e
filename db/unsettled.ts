import { sql } from "kysely";
import type { Defect } from "../domain/defects.ts";
import type { Self } from "../domain/direction.ts";
import { type EventData, type ToldMessage, toToldMessage } from "../domain/events.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { FolderId, MailboxId, MessageId, ThreadId } from "../domain/ids.ts";
import type { AttachmentInfo, Direction, Envelope, Flags } from "../domain/message.ts";
import { type Location, type Settlement, settle } from "../domain/settle.ts";
import type { Trait } from "../domain/traits.ts";
import type { Database } from "./database.ts";
import { type EventSource, recordEvents } from "./events.ts";
import { listLocations } from "./message-places.ts";
import { refreshThreads } from "./threads.ts";

/** How a mailbox is named in what is told about it. */
export interface Teller extends EventSource {
  readonly mailboxId: MailboxId;
  readonly account: string | null;
  readonly self: Self;
  /** The settings do not want attachments so much as listed. */
  readonly hidesAttachments?: boolean;
  /** The settings keep more of a message than what a list shows. */
  readonly keepsContent?: boolean;
}

export interface SettledBatch {
  /** Events that were recorded. */
  readonly told: number;
  /** True when more messages wait to be judged. */
  readonly more: boolean;
}

/** Messages judged in one transaction: enough to make it worth its commit, few enough to keep the mailbox row's lock short. */
const batchSize = 200;

/**
 * Judges messages that changed, tells what is to be told and writes the verdicts, all in one transaction: an event exists exactly if the state it
 * tells of does. A message without a place waits until a search has ended that says it is gone (`mailboxes.gone_before`).
 */
export async function settleMessages(db: Database, teller: Teller): Promise<SettledBatch> {
  return db.transaction().execute((trx) => settleBatch(trx, teller));
}

/** The same within the transaction that changed the messages. */
export async function settleBatch(trx: Database, teller: Teller): Promise<SettledBatch> {
  const rows = await trx
    .selectFrom("messages")
    .select([
      "id",
      "thread_id",
      "envelope",
      "flags",
      "size_bytes",
      "received_at",
      "attachments",
      "snippet",
      "traits",
      "defects",
      "recipients_total",
      "direction",
      "main_folder_id",
      "state",
      "is_deleted",
      "is_untold",
    ])
    .where("mailbox_id", "=", teller.mailboxId)
    .where("state", "<>", "settled")
    .where(sql<boolean>`(state <> 'missing' or missing_since <= (select b.gone_before from mailboxes b where b.id = ${teller.mailboxId}))`)
    .orderBy("created_at")
    .orderBy("received_at")
    .orderBy(sql`length(main_ref), main_ref`)
    .limit(batchSize)
    .forUpdate()
    .execute();
  if (rows.length === 0) return { told: 0, more: false };

  const places = await listLocations(
    trx,
    rows.map((row) => row.id),
  );
  const events: EventData[] = [];
  const verdicts: Verdict[] = [];
  for (const row of rows) {
    const known = {
      envelope: row.envelope,
      flags: row.flags,
      direction: row.direction,
      mainFolderId: row.main_folder_id,
      isDeleted: row.is_deleted,
      isNew: row.state === "fetched" || row.is_untold,
    };
    const verdict = settle(known, places.get(row.id) ?? [], teller.self, row.state === "missing");
    const event = eventOf(teller, row, verdict);
    if (event !== undefined) events.push(event);
    verdicts.push(toVerdict(row.id, known.isNew, verdict, event));
  }
  await writeVerdicts(trx, verdicts, teller.keepsContent === true);
  const wasDeleted = new Map(rows.map((row) => [row.id, row.is_deleted]));
  await refreshThreads(
    trx,
    verdicts.filter((verdict) => verdict.is_deleted !== wasDeleted.get(verdict.id)).map((verdict) => verdict.id),
  );
  await recordEvents(trx, teller, events);
  return { told: events.length, more: rows.length === batchSize };
}

interface MessageRow {
  readonly id: MessageId;
  readonly thread_id: ThreadId;
  readonly envelope: Envelope;
  readonly size_bytes: number;
  readonly received_at: Date;
  readonly attachments: readonly AttachmentInfo[];
  readonly snippet: string | null;
  readonly traits: readonly Trait[];
  readonly defects: readonly Defect[];
  readonly recipients_total: number | null;
}

function eventOf(teller: Teller, row: MessageRow, verdict: Settlement): EventData | undefined {
  if (verdict.kind === "deleted" && verdict.isTold) {
    const { id, thread_id: threadId, envelope } = row;
    return {
      type: "message.deleted",
      message: { id, threadId, mailboxId: teller.mailboxId, account: teller.account, messageId: envelope.messageId },
    };
  }
  if (verdict.kind !== "present" || verdict.tell === "nothing") return undefined;
  const message = toldMessage(teller, row, verdict.main, verdict.direction);
  return verdict.tell === "created" ? { type: "message.created", message } : { type: "message.updated", message, changes: verdict.changes };
}

function toldMessage(teller: Teller, row: MessageRow, main: Location, direction: Direction): ToldMessage {
  return toToldMessage({
    id: row.id,
    threadId: row.thread_id,
    mailboxId: teller.mailboxId,
    account: teller.account,
    direction,
    main,
    envelope: row.envelope,
    flags: main.flags,
    sizeBytes: row.size_bytes,
    receivedAt: row.received_at,
    attachments: teller.hidesAttachments === true ? [] : row.attachments,
    snippet: row.snippet,
    traits: row.traits,
    defects: row.defects,
    recipientsTotal: row.recipients_total,
  });
}

interface Verdict {
  readonly id: MessageId;
  readonly state: "settled" | "missing" | "changed";
  readonly is_deleted: boolean;
  readonly direction?: Direction;
  readonly special_use?: FolderRole;
  readonly main_folder_id?: FolderId;
  readonly main_ref?: string;
  readonly flags?: Flags;
  readonly is_told: boolean;
  readonly is_untold: boolean;
}

function toVerdict(id: MessageId, isNew: boolean, verdict: Settlement, event: EventData | undefined): Verdict {
  switch (verdict.kind) {
    // It lay somewhere when it was marked and lies nowhere now: whether it is gone is known only after every folder was read.
    case "wait":
      return { id, state: "missing", is_deleted: false, is_told: false, is_untold: isNew };
    case "deleted":
      return { id, state: "settled", is_deleted: true, is_told: false, is_untold: isNew };
    case "present":
      return {
        id,
        state: "settled",
        is_deleted: false,
        direction: verdict.direction,
        special_use: verdict.main.role,
        main_folder_id: verdict.main.folderId,
        main_ref: verdict.main.ref,
        flags: verdict.main.flags,
        is_told: event?.type === "message.created",
        is_untold: false,
      };
  }
}

async function writeVerdicts(trx: Database, verdicts: readonly Verdict[], keepsContent: boolean): Promise<void> {
  await sql`
    update messages m set
      state = v.state,
      is_deleted = v.is_deleted,
      direction = coalesce(v.direction, m.direction),
      special_use = coalesce(v.special_use, m.special_use),
      main_folder_id = case when v.is_deleted then null else coalesce(v.main_folder_id, m.main_folder_id) end,
      main_ref = case when v.is_deleted then null else coalesce(v.main_ref, m.main_ref) end,
      flags = coalesce(v.flags, m.flags),
      told_at = case when v.is_told then now() else m.told_at end,
      is_untold = v.is_untold,
      content_state = case
        when v.is_deleted then null
        when m.is_deleted and (${keepsContent} or (m.snippet is null and m.text_part is not null)) then 'pending'
        -- It could not be had where it lay before.
        when m.content_state = 'failed' and (v.main_folder_id, v.main_ref) is distinct from (m.main_folder_id, m.main_ref) then 'pending'
        else m.content_state end,
      -- The words of its text go with the text. If it comes back, its other words are written again.
      terms = case when v.is_deleted and m.content_state = 'kept' then null else m.terms end,
      missing_since = case when v.state = 'missing' then now() end
    from jsonb_to_recordset(${JSON.stringify(verdicts)}::jsonb) as v (id text, state text, is_deleted boolean, direction text, special_use text,
      main_folder_id text, main_ref text, flags text[], is_told boolean, is_untold boolean)
    where m.id = v.id
  `.execute(trx);
  await dropContent(
    trx,
    verdicts.filter(({ is_deleted }) => is_deleted).map(({ id }) => id),
  );
}

/** What was kept of a message goes with it; its text after the days in which a delivery may want it. */
async function dropContent(trx: Database, ids: readonly MessageId[]): Promise<void> {
  if (ids.length === 0) return;
  await trx.deleteFrom("message_blobs").where("message_id", "in", ids).execute();
  await sql`update message_texts set is_kept = false, created_at = now() where message_id = any(${ids}::text[]) and is_kept`.execute(trx);
}
