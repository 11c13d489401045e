import { Kysely, PostgresDialect, type Transaction } from "kysely";
import { Pool, types } from "pg";
import type { Tables } from "./schema.ts";
import { breakWhenSilent, limitSilence, steadyLine } from "./silence.ts";

export type Database = Kysely<Tables>;
/** Either the database or an open transaction: repositories take both, the caller decides what is atomic. */
export type Connection = Kysely<Tables> | Transaction<Tables>;

/** int8 as a number: our counters stay far below 2^53, and a MODSEQ, which may not, lives inside a provider's cursor as text. */
types.setTypeParser(20, (text) => Number(text));

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** How long a statement may take, in ms; null for migrations and others that take what they take. */
  readonly statementMaxMs?: number | null;
  /** Told about connections that break while nobody uses them; without a listener, Node ends the process (pg's own advice). */
  readonly onIdleError?: (error: Error) => void;
}

const statementMaxMsDefault = 60_000;
/** The server is to say first that a statement took too long. */
const answerMs = 5_000;

/**
 * A pool that no dead line can use up. The server ends what takes too long; where not even that is heard, the connection is dead or its other end hangs:
 * it is broken, what was under way on it fails, and its place in the pool is free.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const { statementMaxMs = statementMaxMsDefault } = options;
  const pool = new Pool({
    connectionString: options.url,
    max: options.poolMax,
    ...steadyLine,
    idleTimeoutMillis: 60_000,
    application_name: "everpost",
    // A transaction whose client hangs would hold its locks, and the event stream behind it, for ever.
    idle_in_transaction_session_timeout: 60_000,
    ...(statementMaxMs === null ? {} : { statement_timeout: statementMaxMs }),
  });
  pool.on("error", options.onIdleError ?? (() => {}));
  // The pool listens to idle clients only. One that breaks between two statements of a transaction would end the process; its next statement fails.
  pool.on("connect", (client) => client.on("error", () => {}));
  if (statementMaxMs !== null) {
    pool.on("connect", breakWhenSilent);
    pool.on("acquire", (client) => limitSilence(client, statementMaxMs + Math.min(answerMs, statementMaxMs)));
    // Nobody waits for one that lies in the pool.
    pool.on("release", (_error, client) => limitSilence(client, 0));
  }
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
}
