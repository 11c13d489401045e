import type { ScopedConnection } from "./scope.ts";

/** Runs `work` in one transaction with the same scope as `db`, or in the one that is open already. */
export async function inTransaction<T>(db: ScopedConnection, work: (trx: ScopedConnection) => Promise<T>): Promise<T> {
  if (db.isTransaction) return work(db);
  // kysely keeps the connection's plugins, the scope among them, for its transactions; only its types do not say so.
  return db.transaction().execute((trx) => work(trx as unknown as ScopedConnection));
}
