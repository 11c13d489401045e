import type { CustomerId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import { newId } from "./ids.ts";
import { isBehind, type Page, type PageRequest, pageInstant, toPage } from "./pages.ts";

export interface CustomerRow {
  readonly id: CustomerId;
  readonly name: string;
  readonly created_at: Date;
}

/** A new tenant. */
export async function createCustomer(db: Connection, customer: { readonly name: string }): Promise<CustomerRow> {
  return db
    .insertInto("customers")
    .values({ id: newId("customer"), name: customer.name })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export async function findCustomer(db: Connection, id: CustomerId): Promise<CustomerRow | undefined> {
  return db.selectFrom("customers").selectAll().where("id", "=", id).executeTakeFirst();
}

export async function listCustomers(db: Connection, { limit, after }: PageRequest): Promise<Page<CustomerRow>> {
  let query = db.selectFrom("customers").selectAll().select(pageInstant("created_at").as("page_at"));
  if (after !== undefined) query = query.where(isBehind("created_at", "id", after));
  const rows = await query
    .orderBy("created_at", "desc")
    .orderBy("id")
    .limit(limit + 1)
    .execute();
  return toPage(rows, limit);
}
