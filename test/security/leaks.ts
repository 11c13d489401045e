import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { sql } from "kysely";
import type { Database } from "../../db/database.ts";
import { findTraces, type Trace } from "./traces.ts";

/** Where content belongs, column by column; anywhere else it is a leak. Addresses of senders and recipients lie in envelopes. */
const contentColumns: ReadonlySet<string> = new Set([
  "messages.envelope",
  "messages.subject",
  "messages.attachments",
  "messages.snippet",
  "messages.terms",
  "message_texts.text",
  "message_texts.reply",
  "events.data",
]);

export interface LeakSearch {
  readonly db: Database;
  /** A word that every message carries in its subject, text, sender, attachment and the attachment's name. */
  readonly mark: string;
  /** What may stand nowhere, by what it is. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Histories, logs, answers, metrics: neither secrets nor content belong there. */
  readonly elsewhere: readonly Trace[];
}

/** Everything that stands where it does not belong, in words; empty if nothing does. */
export async function findLeaks({ db, mark, secrets, elsewhere }: LeakSearch): Promise<readonly string[]> {
  const leaks: string[] = [];
  for (const name of await columnsOf(db)) {
    const column = await readColumn(db, name);
    leaks.push(...findTraces([column], contentColumns.has(name) ? secrets : { ...secrets, content: mark }));
  }
  return [...leaks, ...findTraces(elsewhere, { ...secrets, content: mark })];
}

/** `table.column` of every table of ours. */
async function columnsOf(db: Database): Promise<readonly string[]> {
  const { rows } = await sql<{ name: string }>`
    select c.table_name || '.' || c.column_name as name from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
    where table_schema = 'public' and t.table_type = 'BASE TABLE' order by 1
  `.execute(db);
  return rows.map((row) => row.name);
}

async function readColumn(db: Database, name: string): Promise<Trace> {
  const [table = "", column = ""] = name.split(".");
  const { rows } = await sql<{ text: string | null }>`
    select string_agg(${sql.ref(column)}::text, E'\n') as text from ${sql.table(table)}
  `.execute(db);
  return { where: `column ${name}`, text: rows[0]?.text ?? "" };
}

/**
 * A file, or all files below a directory, as bytes that read as text where they are text; nothing where there is none. Of a directory in which somebody is
 * at work all files are listed again where one has got another name meanwhile.
 */
export function fileTraces(where: string, path: string): readonly Trace[] {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [{ where, text: readFileSync(path, "latin1") }];
  for (let listings = 1; ; listings += 1) {
    const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    try {
      return files.map((file) => ({ where: `${where}, ${file.name}`, text: readFileSync(join(file.parentPath, file.name), "latin1") }));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || listings === 10) throw error;
    }
  }
}
