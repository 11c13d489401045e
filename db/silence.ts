import type { ClientBase, QueryResult, QueryResultRow } from "pg";

/** For every connection: how long opening one may take, and that the system finds out within half a minute when the other end is gone without a word. */
export const steadyLine = { connectionTimeoutMillis: 10_000, keepAlive: true, keepAliveInitialDelayMillis: 10_000 } as const;

/** The part of a client's socket that is used here; pg's types leave it out. */
interface Line {
  setTimeout(ms: number): unknown;
  on(event: "timeout", listener: () => void): unknown;
  destroy(error: Error): unknown;
}

/** A connection on which nothing came or went for too long. Its code is that of a network that does not answer, which it mostly is. */
export class SilentConnectionError extends Error {
  override readonly name = "SilentConnectionError";
  readonly code = "ETIMEDOUT";
}

/**
 * Breaks the connection when it is silent for longer than `limitSilence` says: what waits for its answer fails. A bound on each query (pg's
 * `query_timeout`) would not do: it lets the caller go and keeps the connection, on which the next one waits as long.
 */
export function breakWhenSilent(client: ClientBase): void {
  const line = lineOf(client);
  line.on("timeout", () => line.destroy(new SilentConnectionError("PostgreSQL has said nothing for too long")));
}

/** From now on, and after each byte, so many milliseconds; 0 for ever. */
export function limitSilence(client: ClientBase, ms: number): void {
  lineOf(client).setTimeout(ms);
}

/** Asks on a connection that may be silent otherwise, and breaks it if no answer comes. */
export async function askWithin<Row extends QueryResultRow>(
  client: ClientBase,
  answerMs: number,
  statement: string,
  values: readonly unknown[] = [],
): Promise<QueryResult<Row>> {
  limitSilence(client, answerMs);
  try {
    return await client.query<Row>(statement, [...values]);
  } finally {
    limitSilence(client, 0);
  }
}

function lineOf(client: ClientBase): Line {
  return (client as ClientBase & { readonly connection: { readonly stream: Line } }).connection.stream;
}
