import { Kysely, PostgresDialect, type Transaction } from "kysely";
import { Pool, types } from "pg";
import type { Tables } from "./schema.ts";

export type Database = Kysely<Tables>;
/** Either the database or an open transaction: repositories take both, the caller decides what is atomic. */
export type Connection = Kysely<Tables> | Transaction<Tables>;

/** int8 as a number: our counters stay far below 2^53, and a MODSEQ, which may not, lives inside a provider's cursor as text. */
types.setTypeParser(20, (text) => Number(text));

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** Told about connections that break while nobody uses them; without a listener, Node ends the process (pg's own advice). */
  readonly onIdleError?: (error: Error) => void;
}

export function openDatabase(options: DatabaseOptions): Database {
  const pool = new Pool({
    connectionString: options.url,
    max: options.poolMax,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    application_name: "everpost",
    // A transaction whose client hangs would hold its locks, and the event stream behind it, for ever.
    idle_in_transaction_session_timeout: 60_000,
  });
  pool.on("error", options.onIdleError ?? (() => {}));
  // The pool listens to idle clients only. One that breaks between two statements of a transaction would end the process; its next statement fails.
  pool.on("connect", (client) => client.on("error", () => {}));
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
}
