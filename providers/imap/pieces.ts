import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { SyncScope } from "../../domain/sync.ts";
import { type SelectedFolder, selectFolder } from "./folder.ts";

/** One piece of a source or a part: large enough that round trips do not count, small enough that others get their turn on the connection. */
export const pieceBytes = 512 * 1024;

/** Whether a ref is one of ours: a UID, and nothing that IMAP would read as a set. */
export function isUid(ref: string): boolean {
  return /^[1-9]\d{0,9}$/.test(ref);
}

/** All that `first` begins, the rest fetched as the reader takes it. A short piece is the end, whatever sizes the server has told before. */
export async function* readPieces(first: Buffer, next: (start: number) => Promise<Buffer>): AsyncGenerator<Buffer> {
  let piece = first;
  let read = 0;
  while (piece.length > 0) {
    yield piece;
    read += piece.length;
    if (piece.length < pieceBytes) return;
    piece = await next(read);
  }
}

/** Makes sure that the folder is selected, and still the one in which the first piece was read: under another UIDVALIDITY the UID means another message. */
export async function reselect(
  client: ImapFlow,
  scope: SyncScope,
  { uidValidity }: Pick<SelectedFolder, "uidValidity">,
  doing: string,
): Promise<void> {
  const selected = client.mailbox;
  if (selected !== false && selected.path === scope.path && selected.uidValidity?.toString() === uidValidity) return;
  const folder = await selectFolder(client, scope.path);
  if (folder.uidValidity !== uidValidity) throw new MailError("not_found", { doing });
}
