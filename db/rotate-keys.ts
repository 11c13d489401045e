import { pathToFileURL } from "node:url";
import { type RawBuilder, sql } from "kysely";
import { loadConfigOrExit } from "../config.ts";
import { type Connection, openDatabase } from "./database.ts";
import { blobKeyContext } from "./message-blobs.ts";
import { type KeyRing, reseal, type Sealed } from "./secrets.ts";
import { endpointSecretsContext } from "./webhook-endpoints.ts";

export interface Rotation {
  readonly resealed: number;
  /** Rows sealed by a key that the ring lacks, or tampered with, as `table id`. */
  readonly unreadable: readonly string[];
}

/** A column, or a part of one, that holds sealed values, and what they are sealed for. */
interface Place {
  readonly table: string;
  readonly id: RawBuilder<unknown>;
  readonly value: RawBuilder<unknown>;
  readonly set: (json: string) => RawBuilder<unknown>;
  readonly context: (id: string) => string;
}

const sealedPlaces: readonly Place[] = [
  column("credentials", "mailbox_id", "sealed", (id) => id),
  column("webhook_endpoints", "id", "sealed_secrets", endpointSecretsContext as (id: string) => string),
  column("message_blobs", "key", "sealed_key", blobKeyContext),
  column("connection_tests", "id", "sealed_request", (id) => id),
  {
    table: "idempotency_keys",
    id: sql`customer_id || '/' || key`,
    value: sql`(response -> 'body')`,
    set: (json) => sql`response = jsonb_set(response, '{body}', ${json}::jsonb)`,
    context: (id) => `idempotency/${id}`,
  },
];

function column(table: string, id: string, name: string, context: (id: string) => string): Place {
  return { table, id: sql.ref(id), value: sql.ref(name), set: (json) => sql`${sql.ref(name)} = ${json}::jsonb`, context };
}

const batchSize = 500;

/**
 * Puts every sealed value under the ring's first key, row by row and safe to repeat, while everything runs. Afterwards the other keys can leave the
 * ring, unless something was unreadable or a process still runs whose ring begins with another key.
 */
export async function rotateKeys(db: Connection, ring: KeyRing): Promise<Rotation> {
  const unreadable: string[] = [];
  let resealed = 0;
  for (const place of sealedPlaces) {
    let after = "";
    for (;;) {
      const rows = await nextRows(db, place, after, ring[0]?.name ?? "");
      for (const row of rows) {
        const fresh = tryReseal(ring, place.context(row.id), row.sealed);
        if (fresh === undefined) unreadable.push(`${place.table} ${row.id}`);
        else if (await replace(db, place, row, fresh)) resealed += 1;
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < batchSize) break;
      after = last.id;
    }
  }
  return { resealed, unreadable };
}

interface SealedRow {
  readonly id: string;
  readonly sealed: Sealed;
}

async function nextRows(db: Connection, { table, id, value }: Place, after: string, currentKey: string): Promise<readonly SealedRow[]> {
  const { rows } = await sql<SealedRow>`
    select ${id} as id, ${value} as sealed from ${sql.table(table)}
    where ${id} > ${after} and ${value} ->> 'key' <> ${currentKey}
    order by 1 limit ${batchSize}
  `.execute(db);
  return rows;
}

function tryReseal(ring: KeyRing, context: string, sealed: Sealed): Sealed | undefined {
  try {
    return reseal(ring, context, sealed);
  } catch {
    return undefined;
  }
}

/** Only over the value that was read: a reconnect may have put new credentials there meanwhile, under the first key already. */
async function replace(db: Connection, { table, id, value, set }: Place, row: SealedRow, fresh: Sealed): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update ${sql.table(table)} set ${set(JSON.stringify(fresh))}
    where ${id} = ${row.id} and ${value} ->> 'wrapped' = ${row.sealed.wrapped}
  `.execute(db);
  return numAffectedRows === 1n;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const config = loadConfigOrExit(process.env);
  const db = openDatabase({ ...config.database, statementMaxMs: null });
  try {
    const { resealed, unreadable } = await rotateKeys(db, config.keyRing);
    console.log(`${resealed} secrets are now under key "${config.keyRing[0]?.name}".`);
    if (unreadable.length > 0) {
      console.error(`${unreadable.length} could not be opened with the keys given; keep the old keys, or reconnect:\n  ${unreadable.join("\n  ")}`);
      process.exitCode = 1;
    }
  } finally {
    await db.destroy();
  }
}
