import { pathToFileURL } from "node:url";
import { sql } from "kysely";
import { loadConfig } from "../config.ts";
import { type Connection, openDatabase } from "./database.ts";
import { type KeyRing, reseal, type Sealed } from "./secrets.ts";
import { endpointSecretsContext } from "./webhook-endpoints.ts";

export interface Rotation {
  readonly resealed: number;
  /** Rows sealed by a key that the ring lacks, or tampered with, as `table id`. */
  readonly unreadable: readonly string[];
}

/** Every column that holds a sealed value for longer than a day, and what it is sealed for. */
const sealedColumns = [
  { table: "credentials", id: "mailbox_id", column: "sealed", context: (id: string) => id },
  { table: "webhook_endpoints", id: "id", column: "sealed_secrets", context: endpointSecretsContext as (id: string) => string },
  { table: "connection_tests", id: "id", column: "sealed_request", context: (id: string) => id },
] as const;

const batchSize = 500;

/**
 * Puts every sealed value under the ring's first key, row by row and safe to repeat, while everything runs. Afterwards the other keys can leave the
 * ring, unless something was unreadable. Kept answers of idempotency keys stay as they are: they are forgotten within a day.
 */
export async function rotateKeys(db: Connection, ring: KeyRing): Promise<Rotation> {
  const unreadable: string[] = [];
  let resealed = 0;
  for (const place of sealedColumns) {
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

type Place = (typeof sealedColumns)[number];

async function nextRows(db: Connection, { table, id, column }: Place, after: string, currentKey: string): Promise<readonly SealedRow[]> {
  const { rows } = await sql<SealedRow>`
    select ${sql.ref(id)} as id, ${sql.ref(column)} as sealed from ${sql.table(table)}
    where ${sql.ref(id)} > ${after} and ${sql.ref(column)} ->> 'key' <> ${currentKey}
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
async function replace(db: Connection, { table, id, column }: Place, row: SealedRow, fresh: Sealed): Promise<boolean> {
  const { numAffectedRows } = await sql`
    update ${sql.table(table)} set ${sql.ref(column)} = ${JSON.stringify(fresh)}::jsonb
    where ${sql.ref(id)} = ${row.id} and ${sql.ref(column)} ->> 'wrapped' = ${row.sealed.wrapped}
  `.execute(db);
  return numAffectedRows === 1n;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const config = loadConfig(process.env);
  const db = openDatabase(config.database);
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
