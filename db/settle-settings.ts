import { sql } from "kysely";
import { directionOf, isSameSelf, isSelf, rolesJudgedBySender, type Self } from "../domain/direction.ts";
import { roleOrder } from "../domain/folder.ts";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import type { Direction } from "../domain/message.ts";
import { comparePlaces, type Location } from "../domain/settle.ts";
import { isDirectionWanted, keptFrom, type SyncSettings, unwantedDirections } from "../domain/sync-settings.ts";
import type { Connection, Database } from "./database.ts";
import { forgetMessages } from "./forget-messages.ts";
import { toSettledSelf, type WorkMailbox } from "./mailbox-state.ts";
import { listLocations } from "./message-places.ts";

/** Messages a transaction: few enough to keep their locks short, enough to be worth a commit. */
const sliceSize = 1_000;

/** Whether a step is through, or stopped because its time was up. */
type Step = "done" | "more";

/**
 * Makes what is stored agree with the mailbox's settings, slice by slice until `endsAt`; "more" if something is left. Each slice is found by what is
 * stored, not by what an earlier one remembered: whoever comes after a crash goes on where it was.
 */
export async function settleSettings(db: Database, mailbox: WorkMailbox, endsAt: number): Promise<Step> {
  await closeFolders(db, mailbox.id);
  const steps = [
    () => slices(endsAt, () => purgeUnreadFolders(db, mailbox.id)),
    () => slices(endsAt, () => judgeRolesAnew(db, mailbox)),
    () => judgeSendersAnew(db, mailbox, endsAt),
    () => slices(endsAt, (after) => forgetDirections(db, mailbox, after)),
    () => forgetOld(db, mailbox.id, mailbox.sync, endsAt),
    () => (mailbox.sync.notifyFrom === mailbox.settledSync?.notifyFrom ? "done" : slices(endsAt, () => askToTell(db, mailbox))),
  ];
  for (const step of steps) if ((await step()) === "more") return "more";
  return (await recordSettled(db, mailbox)) ? "done" : "more";
}

/** What is too old for the mailbox's settings, oldest first. */
export async function forgetOld(db: Database, id: MailboxId, settings: SyncSettings, endsAt: number): Promise<Step> {
  const before = keptFrom(settings, Date.now());
  if (before === undefined) return "done";
  return slices(endsAt, () =>
    db.transaction().execute(async (trx) => {
      const rows = await trx
        .selectFrom("messages")
        .select("id")
        .where("mailbox_id", "=", id)
        .where("received_at", "<", before)
        .where("is_forgotten", "=", false)
        .orderBy("received_at")
        .limit(sliceSize)
        .execute();
      await forgetMessages(trx, idsOf(rows));
      return rows.length < sliceSize ? undefined : "";
    }),
  );
}

/** Repeats `slice` until it says that nothing is left (undefined) or the time is up. Each gets what the one before it returned. */
async function slices(endsAt: number, slice: (after: string) => Promise<string | undefined>): Promise<Step> {
  let after: string | undefined = "";
  while (after !== undefined) {
    after = await slice(after);
    if (after !== undefined && Date.now() > endsAt) return "more";
  }
  return "done";
}

/** Folders that are not read any more lose their cursors first: what is still being read of them is then dropped, and what comes later is a new start. */
async function closeFolders(db: Connection, id: MailboxId): Promise<void> {
  await sql`delete from skipped_messages where folder_id in (select f.id from folders f where f.mailbox_id = ${id} and not f.is_synced)`.execute(db);
  await sql`
    update folders set cursor = null, history_cursor = null, import_state = 'pending', was_complete = false, import_total = 0, import_done = 0,
      generation = generation + 1, quiet_before = null, problem = null
    where mailbox_id = ${id} and not is_synced and (cursor is not null or history_cursor is not null or import_state <> 'pending')
  `.execute(db);
}

/** Takes messages out of folders that are not read: what lies nowhere else is forgotten, the rest shows where else it lies. */
async function purgeUnreadFolders(db: Database, id: MailboxId): Promise<string | undefined> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ message_id: MessageId }>`
      delete from message_locations where ctid = any(array(
        select l.ctid from message_locations l
        where l.folder_id = any(array(select f.id from folders f where f.mailbox_id = ${id} and not f.is_synced)) limit ${sliceSize}
      )) returning message_id
    `.execute(trx);
    if (rows.length === 0) return undefined;
    const ids = rows.map((row) => row.message_id);
    const elsewhere = await trx.selectFrom("message_locations").select("message_id").distinct().where("message_id", "in", ids).execute();
    const kept = new Set(elsewhere.map((row) => row.message_id));
    await forgetMessages(
      trx,
      ids.filter((message) => !kept.has(message)),
    );
    await sql`
      update messages m set state = 'changed'
      where m.id = any(${[...kept]}::text[]) and m.state = 'settled'
        and not exists (select from message_locations l where l.message_id = m.id and l.folder_id = m.main_folder_id)
    `.execute(trx);
    return "";
  });
}

/** Forgets what goes the other way, newest first. The direction as it is stored says so, except in the trash, where the sender does. */
async function forgetDirections(db: Database, mailbox: WorkMailbox, after: string): Promise<string | undefined> {
  const suspects = unwantedDirections(mailbox.sync);
  if (suspects.length === 0) return undefined;
  return db.transaction().execute(async (trx) => {
    const rows = await trx
      .selectFrom("messages")
      .select(["id", "direction", sql<string | null>`envelope->'from'->0->>'address'`.as("sender")])
      .where("mailbox_id", "=", mailbox.id)
      .where("is_forgotten", "=", false)
      .where("is_deleted", "=", false)
      .where("direction", "in", suspects)
      .where("id", ">", after as MessageId)
      .orderBy("id")
      .limit(sliceSize)
      .execute();
    const unwanted = rows.filter((row) => !isDirectionWanted(row.direction, row.sender ?? undefined, mailbox.self, mailbox.sync));
    await forgetMessages(trx, idsOf(unwanted));
    return rows.length < sliceSize ? undefined : rows.at(-1)?.id;
  });
}

/**
 * Messages whose folder has another role than the one they were judged by, or that lie in a folder which counts for more now: main role and direction
 * are written anew. Nothing is told: the mail did not change, its meaning did.
 */
async function judgeRolesAnew(db: Database, mailbox: WorkMailbox): Promise<string | undefined> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ id: MessageId; from: { readonly name: string; readonly address: string }[] }>`
      select m.id, m.envelope->'from' as "from" from messages m
      where m.mailbox_id = ${mailbox.id} and m.state = 'settled' and not m.is_deleted and exists (
        select from message_locations l join folders f on f.id = l.folder_id
        where l.message_id = m.id and (
          (f.id = m.main_folder_id and f.role <> m.special_use)
          or array_position(${[...roleOrder]}::text[], f.role) < array_position(${[...roleOrder]}::text[], m.special_use)
        )
      )
      order by m.id limit ${sliceSize} for update of m
    `.execute(trx);
    if (rows.length === 0) return undefined;
    const places = await listLocations(trx, idsOf(rows));
    const verdicts = rows.flatMap((row) => {
      const main = (places.get(row.id) ?? []).toSorted(comparePlaces)[0];
      return main === undefined ? [] : [verdictOf(row, main, mailbox.self)];
    });
    await sql`
      update messages m set direction = v.direction, special_use = v.special_use, main_folder_id = v.main_folder_id, main_ref = v.main_ref
      from jsonb_to_recordset(${JSON.stringify(verdicts)}::jsonb) as v (id text, direction text, special_use text, main_folder_id text, main_ref text)
      where m.id = v.id
    `.execute(trx);
    return rows.length < sliceSize ? undefined : "";
  });
}

function verdictOf(
  row: { readonly id: MessageId; readonly from: readonly { readonly name: string; readonly address: string }[] },
  main: Location,
  self: Self,
) {
  const direction: Direction = directionOf({ envelope: { from: row.from }, flags: main.flags }, main.role, self);
  return { id: row.id, direction, special_use: main.role, main_folder_id: main.folderId, main_ref: main.ref };
}

/**
 * With other aliases or own domains, other senders are the mailbox itself: where the sender decides, directions are written anew, and nothing is told.
 * Each sender is judged once, however much it sent.
 */
async function judgeSendersAnew(db: Database, { id, self, settledSelf }: WorkMailbox, endsAt: number): Promise<Step> {
  if (settledSelf !== null && isSameSelf(self, settledSelf)) return "done";
  const judgedBySender = sql`m.mailbox_id = ${id} and m.state = 'settled' and not m.is_deleted and not m.is_forgotten
    and m.direction in ('incoming', 'outgoing') and m.special_use = any(${[...rolesJudgedBySender]}::text[])`;
  const sender = sql`coalesce(m.envelope->'from'->0->>'address', '')`;
  const { rows } = await sql<{ sender: string }>`select distinct ${sender} as sender from messages m where ${judgedBySender}`.execute(db);
  const own = rows.map((row) => row.sender).filter((address) => isSelf(self, address));
  return slices(endsAt, async () => {
    const { numAffectedRows = 0n } = await sql`
      update messages set direction = case direction when 'incoming' then 'outgoing' else 'incoming' end where id = any(array(
        select m.id from messages m where ${judgedBySender} and (m.direction = 'outgoing') <> (${sender} = any(${own}::text[]))
        order by m.id limit ${sliceSize} for update
      ))
    `.execute(db);
    return numAffectedRows < BigInt(sliceSize) ? undefined : "";
  });
}

/** History that is to be told after all, because `notifyFrom` reaches further back than before: it waits for classifyMessages like new mail. */
async function askToTell(db: Database, { id, sync }: WorkMailbox): Promise<string | undefined> {
  if (sync.notifyFrom === null) return undefined;
  const { numAffectedRows = 0n } = await sql`
    update messages set state = 'fetched' where id = any(array(
      select id from messages
      where mailbox_id = ${id} and received_at >= ${sync.notifyFrom} and told_at is null and state = 'settled' and not is_deleted and direction <> 'draft'
      order by id limit ${sliceSize} for update
    ))
  `.execute(db);
  return numAffectedRows < BigInt(sliceSize) ? undefined : "";
}

/** Says that what is stored agrees with these settings; false if they were changed meanwhile, and all begins again. */
async function recordSettled(db: Connection, mailbox: WorkMailbox): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable("mailboxes")
    .set({ settled_sync: JSON.stringify(mailbox.sync), settled_self: toSettledSelf(mailbox.self) })
    .where("id", "=", mailbox.id)
    .where(sql<boolean>`date_trunc('milliseconds', updated_at) = ${mailbox.settingsAt}`)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

function idsOf(rows: readonly { readonly id: MessageId }[]): readonly MessageId[] {
  return rows.map((row) => row.id);
}
