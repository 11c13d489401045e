import { sql } from "kysely";
import { findMessages, type MessageFilter } from "./message-search.ts";
import type { Scope, ScopedConnection } from "./scope.ts";

/** What was written with somebody, in figures. */
export interface ContactSummary {
  readonly messages: number;
  readonly incoming: number;
  readonly outgoing: number;
  readonly threads: number;
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
  /** False if there is more than was counted: the newest are. */
  readonly isComplete: boolean;
}

/** As many as are read in a few pages: who wrote more is known well. */
const countedMax = 1_000;

/** Counts what a contact's history holds, over the newest thousand messages at most: the own address is in every message there is. */
export async function summariseContact(
  db: ScopedConnection,
  scope: Scope,
  filter: MessageFilter & { readonly contact: string },
): Promise<ContactSummary> {
  const { rows, next } = await findMessages(db, scope, filter, { limit: countedMax, order: "newest" });
  const ids = rows.map((row) => row.id);
  const counted = await db
    .selectFrom("messages")
    .select((eb) => [
      eb.fn.countAll<number>().as("messages"),
      sql<number>`count(*) filter (where direction = 'incoming')`.as("incoming"),
      sql<number>`count(*) filter (where direction = 'outgoing')`.as("outgoing"),
      sql<number>`count(distinct thread_id)`.as("threads"),
      eb.fn.min("received_at").as("firstAt"),
      eb.fn.max("received_at").as("lastAt"),
    ])
    .where(sql<boolean>`id = any(${ids}::text[])`)
    .executeTakeFirstOrThrow();
  return { ...counted, isComplete: next === undefined };
}
