import { z } from "zod";
import { MailError } from "../../domain/errors.ts";
import type { SyncCursor } from "../../domain/sync.ts";

/** Where a folder stands. Everything below `uidNext` has been listed, by pullHistory or by pullChanges. */
const folderCursor = z.object({
  uidValidity: z.string(),
  uidNext: z.number().int(),
  /** A mod-sequence (RFC 7162) up to which flags are known; 64 bits, so text. Null where the folder keeps none. */
  modseq: z.string().nullable(),
  /** Messages below `uidNext` when last counted; -1 makes the next look list them all. */
  exists: z.number().int(),
  /** A round of reading flags that is not through: from which UID it goes on, and what it will have reached at its end. */
  flagRound: z.object({ from: z.number().int(), modseq: z.string().nullable() }).optional(),
  /** The folder's counter proved worthless: flags are read as if there were none. */
  ignoresModseq: z.literal(true).optional(),
  /** How often the counter went back. */
  setBacks: z.number().int().optional(),
});

const historyCursor = z.object({ uidValidity: z.string(), below: z.number().int() });

export type FolderCursor = z.infer<typeof folderCursor>;
export type HistoryCursor = z.infer<typeof historyCursor>;

export function readFolderCursor(cursor: SyncCursor): FolderCursor {
  return read(folderCursor, cursor);
}

export function readHistoryCursor(cursor: SyncCursor): HistoryCursor {
  return read(historyCursor, cursor);
}

/** A cursor comes back as this folder wrote it; anything else is another provider's, or damaged. */
function read<T>(schema: z.ZodType<T>, cursor: SyncCursor): T {
  const parsed = schema.safeParse(cursor);
  if (!parsed.success)
    throw new MailError("invalid_response", { doing: "reading a stored cursor that is not an IMAP folder's", cause: parsed.error });
  return parsed.data;
}
