import { sql } from "kysely";
import type { FolderId, MessageId } from "../domain/ids.ts";
import type { RefRanges } from "../domain/sync.ts";
import type { Connection } from "./database.ts";

/** Removes the places that a server named as gone. */
export async function removePlaces(trx: Connection, folder: FolderId, refs: readonly string[]): Promise<void> {
  if (refs.length === 0) return;
  const { rows } = await sql<LostPlace>`
    delete from message_locations where folder_id = ${folder} and ref = any(${refs}::text[]) returning message_id
  `.execute(trx);
  await afterRemoval(trx, rows);
}

/** How many of a folder's messages a removal would take, of how many. */
export interface Loss {
  readonly lost: number;
  readonly known: number;
}

/** What `removeAbsent` would take, and `markHomeless` with it where an earlier listing was not believed. */
export async function countAbsent(trx: Connection, folder: FolderId, present: RefRanges, withHomeless: boolean): Promise<Loss> {
  const { rows } = await sql<Loss>`
    with places as (
      select count(*) filter (where not (ref::bigint <@ ${toMultirange(present)}::int8multirange)) as lost, count(*) as known
      from message_locations where folder_id = ${folder}
    ), homeless as (select count(*) as lost ${withHomeless ? homeless(folder) : sql`where false`})
    select p.lost + h.lost as lost, p.known + h.lost as known from places p, homeless h
  `.execute(trx);
  return theOnly(rows);
}

/** What `removeStale` would take: messages, and not places, because a folder that was numbered anew names all of them by other refs. */
export async function countStale(trx: Connection, folder: FolderId, generation: number): Promise<Loss> {
  const { rows } = await sql<Loss>`
    with lost as (
      select l.message_id from message_locations l
      where l.folder_id = ${folder} and l.generation < ${generation}
        and not exists (select from message_locations r where r.message_id = l.message_id and r.folder_id = ${folder} and r.generation = ${generation})
      union
      select m.id ${homeless(folder)}
    ), kept as (select count(*) as places from message_locations where folder_id = ${folder} and generation = ${generation})
    select (select count(*) from lost) as lost, (select count(*) from lost) + places as known from kept
  `.execute(trx);
  return theOnly(rows);
}

/** Removes the places that a complete listing did not name. */
export async function removeAbsent(trx: Connection, folder: FolderId, present: RefRanges): Promise<void> {
  const { rows } = await sql<LostPlace>`
    delete from message_locations where folder_id = ${folder} and not (ref::bigint <@ ${toMultirange(present)}::int8multirange) returning message_id
  `.execute(trx);
  await afterRemoval(trx, rows);
}

/** Removes the places that a listing from the start did not renew. */
export async function removeStale(trx: Connection, folder: FolderId, generation: number): Promise<void> {
  const { rows } = await sql<LostPlace>`
    delete from message_locations where folder_id = ${folder} and generation < ${generation} returning message_id
  `.execute(trx);
  await afterRemoval(trx, rows);
  await markHomeless(trx, folder);
}

/** Removes all places in folders that are gone. */
export async function removeAllPlaces(trx: Connection, folders: readonly FolderId[]): Promise<void> {
  const { rows } = await sql<LostPlace>`
    delete from message_locations where folder_id = any(${folders}::text[]) returning message_id
  `.execute(trx);
  await afterRemoval(trx, rows);
}

/** Ranges as PostgreSQL writes them. */
export function toMultirange(ranges: RefRanges): string {
  return `{${ranges.map(([from, to]) => `[${from},${to}]`).join(",")}}`;
}

interface LostPlace {
  readonly message_id: MessageId;
}

/** A message that lost a place lies elsewhere, or is missing. One that nobody was told of yet stays as it is: it is judged anyway. */
async function afterRemoval(trx: Connection, removed: readonly LostPlace[]): Promise<void> {
  if (removed.length === 0) return;
  const ids = [...new Set(removed.map((row) => row.message_id))];
  await sql`
    update messages m
    set state = case when exists (select from message_locations l where l.message_id = m.id) then 'changed' else 'missing' end, missing_since = now()
    where m.id = any(${ids}::text[]) and m.state <> 'fetched' and not m.is_deleted
  `.execute(trx);
}

/** Messages whose only place was taken by another message: under a new UIDVALIDITY the same UID means something else. */
export async function markHomeless(trx: Connection, folder: FolderId): Promise<void> {
  await sql`
    update messages set state = 'missing', missing_since = now() where id in (select m.id ${homeless(folder)})
  `.execute(trx);
}

function homeless(folder: FolderId) {
  return sql`
    from messages m
    where m.main_folder_id = ${folder} and m.mailbox_id = (select mailbox_id from folders where id = ${folder})
      and m.state in ('settled', 'changed') and not m.is_deleted
      and not exists (select from message_locations l where l.message_id = m.id)
  `;
}

function theOnly<Row>(rows: readonly Row[]): Row {
  const [row] = rows;
  if (row === undefined) throw new Error("an aggregate answers with one row");
  return row;
}
