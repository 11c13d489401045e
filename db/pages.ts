import { type RawBuilder, sql } from "kysely";

/** Where a listing by (instant desc, id) goes on: behind this row. The instant is the database's own text, for microseconds count. */
export interface PageCursor {
  readonly at: string;
  readonly id: string;
}

export interface PageRequest {
  readonly limit: number;
  readonly after?: PageCursor | undefined;
}

export interface Page<Row> {
  readonly rows: readonly Row[];
  /** There only if another row follows. */
  readonly next: PageCursor | undefined;
}

/** The condition that a row comes behind `cursor`, in the order of the indexes: newest first, equal instants by id. */
export function isBehind(instant: string, id: string, cursor: PageCursor): RawBuilder<boolean> {
  const at = sql.ref(instant);
  return sql<boolean>`${at} <= ${cursor.at}::timestamptz and (${at} < ${cursor.at}::timestamptz or ${sql.ref(id)} > ${cursor.id})`;
}

/** The instant as text with all its digits; select it `as("page_at")` for `toPage`. */
export function pageInstant(instant: string): RawBuilder<string> {
  return sql<string>`${sql.ref(instant)}::text`;
}

/** Cuts the one row too many that a query with `limit + 1` asked for. */
export function toPage<Row extends { readonly id: string; readonly page_at: string }>(rows: readonly Row[], limit: number): Page<Row> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return { rows: shown, next: rows.length > limit && last !== undefined ? { at: last.page_at, id: last.id } : undefined };
}
