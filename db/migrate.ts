import { pathToFileURL } from "node:url";
import { sql } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import { loadConfigOrExit } from "../config.ts";
import { type Database, openDatabase } from "./database.ts";
import * as foundation from "./migrations/2026_11_21_foundation.ts";
import * as keptContent from "./migrations/2026_11_21_kept_content.ts";
import * as messageMeaning from "./migrations/2026_11_21_message_meaning.ts";
import * as reading from "./migrations/2026_11_21_reading.ts";
import * as readingChanges from "./migrations/2026_11_21_reading_changes.ts";
import * as readingDirections from "./migrations/2026_11_21_reading_directions.ts";
import * as settings from "./migrations/2026_11_21_settings.ts";
import * as sync from "./migrations/2026_11_21_sync.ts";
import * as threads from "./migrations/2026_11_21_threads.ts";
import * as writes from "./migrations/2026_11_21_writes.ts";
import * as skipped from "./migrations/2026_11_21_x_skipped.ts";
import * as settledSelf from "./migrations/2026_11_21_y_settled_self.ts";
import * as snippets from "./migrations/2026_11_21_z_snippets.ts";
import * as searchYears from "./migrations/2026_11_21_zz_search_years.ts";
import * as shortDrains from "./migrations/2026_11_21_zzz_short_drains.ts";
import * as eventPlaces from "./migrations/2026_11_21_zzzz_event_places.ts";
import * as quickTexts from "./migrations/2026_11_21_zzzzz_quick_texts.ts";
import * as pagesInTurn from "./migrations/2026_11_21_zzzzzz_pages_in_turn.ts";

/** Every migration in the order in which it runs. A list and not a folder: a bundler, a reader and a diff all see it. */
const migrations: Readonly<Record<string, Migration>> = {
  "2026_11_21_foundation": foundation,
  "2026_11_21_kept_content": keptContent,
  "2026_11_21_message_meaning": messageMeaning,
  "2026_11_21_reading": reading,
  "2026_11_21_reading_changes": readingChanges,
  "2026_11_21_reading_directions": readingDirections,
  "2026_11_21_settings": settings,
  "2026_11_21_sync": sync,
  "2026_11_21_threads": threads,
  "2026_11_21_writes": writes,
  "2026_11_21_x_skipped": skipped,
  "2026_11_21_y_settled_self": settledSelf,
  "2026_11_21_z_snippets": snippets,
  "2026_11_21_zz_search_years": searchYears,
  "2026_11_21_zzz_short_drains": shortDrains,
  "2026_11_21_zzzz_event_places": eventPlaces,
  "2026_11_21_zzzzz_quick_texts": quickTexts,
  "2026_11_21_zzzzzz_pages_in_turn": pagesInTurn,
};

/** Brings the schema up to date; returns the names that ran. Safe to call from several processes at once: kysely holds an advisory lock. */
export async function migrate(db: Database): Promise<readonly string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...migrations }) } });
  const { error, results = [] } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
  return results.map((result) => result.migrationName);
}

/** Whether the database answers and carries every migration that this code knows. */
export async function isMigrated(db: Database): Promise<boolean> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db);
  const done = new Set(rows.map((row) => row.name));
  return Object.keys(migrations).every((name) => done.has(name));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const db = openDatabase({ ...loadConfigOrExit(process.env).database, statementMaxMs: null });
  try {
    const names = await migrate(db);
    console.log(names.length === 0 ? "The database is up to date." : `Applied ${names.join(", ")}.`);
  } finally {
    await db.destroy();
  }
}
