import { sql } from "kysely";
import { holdMs, isMassRemoval } from "../domain/brake.ts";
import { toProblem } from "../domain/errors.ts";
import type { FolderId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";
import type { Loss } from "./places.ts";

/**
 * Whether what a listing leaves out stays for now: most of the folder would go, and nobody has confirmed it. Says so on the folder. A hold that has
 * lasted long enough is over: the same listing is believed the second time.
 */
export async function isRemovalHeld(
  trx: Connection,
  folder: { readonly id: FolderId; readonly isHoldOver: boolean },
  { lost, known }: Loss,
): Promise<boolean> {
  if (folder.isHoldOver || !isMassRemoval(lost, known)) return false;
  await holdRemoval(trx, folder.id, lost);
  return true;
}

export async function holdRemoval(trx: Connection, id: FolderId, lost: number): Promise<void> {
  const problem = toProblem({ code: "mass_removal_held" }, new Date().toISOString());
  await trx
    .updateTable("folders")
    .set({ held_since: sql<Date>`coalesce(held_since, now())`, held_count: lost, problem: JSON.stringify(problem) })
    .where("id", "=", id)
    .execute();
}

/** A listing was believed: what was held is gone, or there again. */
export async function releaseRemoval(trx: Connection, id: FolderId): Promise<void> {
  await trx.updateTable("folders").set({ held_since: null, held_count: 0, problem: null }).where("id", "=", id).execute();
}

/** Ends all holds of a mailbox: somebody says that the next listing is to be believed. */
export async function confirmRemovals(trx: Connection, mailboxId: MailboxId): Promise<void> {
  await trx
    .updateTable("folders")
    .set({ held_since: sql<Date>`'epoch'::timestamptz` })
    .where("mailbox_id", "=", mailboxId)
    .where("held_since", "is not", null)
    .execute();
}

/** True where a removal has been held for so long that the next listing decides. */
export const isHoldOver = sql<boolean>`coalesce(held_since <= now() - ${holdMs}::float8 * interval '1 millisecond', false)`;
