import { sql } from "kysely";
import { type Problem, toProblem } from "../domain/errors.ts";
import type { FolderId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** So often a server may begin a folder anew within a day. Each time the whole folder is listed: more is no sync any more. */
const resetsMax = 5;

/** True for a folder that is left alone for now. */
export const isResting = sql<boolean>`coalesce(rests_until > now(), false)`;

/**
 * Counts a reset that the server caused. False if there have been too many: the folder keeps what it has, says why, and is left alone until a day after
 * the first of them.
 */
export async function allowReset(trx: Connection, id: FolderId): Promise<boolean> {
  const { resets } = await trx
    .updateTable("folders")
    .set({
      resets: sql<number>`case when resets_since > now() - interval '1 day' then resets + 1 else 1 end`,
      resets_since: sql<Date>`case when resets_since > now() - interval '1 day' then resets_since else now() end`,
    })
    .where("id", "=", id)
    .returning("resets")
    .executeTakeFirstOrThrow();
  if (resets <= resetsMax) return true;
  const problem = toProblem({ code: "folder_unstable" }, new Date().toISOString());
  await restFolder(trx, id, problem, sql<Date>`resets_since + interval '1 day'`);
  return false;
}

/** Leaves a folder alone that cannot be listed, while the others are. */
export async function restAfterFailure(db: Connection, id: FolderId, problem: Problem): Promise<void> {
  await restFolder(db, id, problem, sql<Date>`now() + interval '15 minutes'`);
}

async function restFolder(db: Connection, id: FolderId, problem: Problem, until: ReturnType<typeof sql<Date>>): Promise<void> {
  await db
    .updateTable("folders")
    .set({ problem: JSON.stringify(problem), rests_until: until })
    .where("id", "=", id)
    .execute();
}
