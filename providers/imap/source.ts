import { Readable } from "node:stream";
import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { SyncScope } from "../../domain/sync.ts";
import { selectFolder } from "./folder.ts";
import type { Lane } from "./lane.ts";

/** One piece of a source: large enough that round trips do not count, small enough that others get their turn on the connection. */
const pieceBytes = 512 * 1024;

const doing = "reading a message's source";

/**
 * The source of a message, read piece by piece (RFC 9051 §6.4.5, partial BODY.PEEK[]) as the reader takes it: a slow reader holds up nobody else on the
 * connection, and a source of any size costs one piece of memory.
 */
export async function openSource(
  lane: Lane,
  scope: SyncScope,
  ref: string,
  signal?: AbortSignal,
): Promise<{ readonly sizeBytes: number; readonly stream: Readable }> {
  if (!/^[1-9]\d{0,9}$/.test(ref)) throw new MailError("not_found", { doing });
  const first = await lane.run({ doing, signal }, async (client) => {
    const folder = await selectFolder(client, scope.path);
    const row = await client.fetchOne(ref, { uid: true, size: true, source: { start: 0, maxLength: pieceBytes } }, { uid: true });
    if (!row || row.source === undefined) throw new MailError("not_found", { doing });
    return { uidValidity: folder.uidValidity, sizeBytes: row.size ?? row.source.length, piece: row.source };
  });
  const next = (start: number) => lane.run({ doing, signal }, (client) => readPiece(client, scope, ref, first.uidValidity, start));
  return { sizeBytes: first.sizeBytes, stream: Readable.from(pieces(first.piece, next), { objectMode: false }) };
}

async function* pieces(first: Buffer, next: (start: number) => Promise<Buffer>): AsyncGenerator<Buffer> {
  let piece = first;
  let read = 0;
  while (piece.length > 0) {
    yield piece;
    read += piece.length;
    // RFC822.SIZE is wrong on some servers; a short piece is the end on all of them.
    if (piece.length < pieceBytes) return;
    piece = await next(read);
  }
}

async function readPiece(client: ImapFlow, scope: SyncScope, ref: string, uidValidity: string, start: number): Promise<Buffer> {
  const selected = client.mailbox;
  if (selected === false || selected.path !== scope.path || selected.uidValidity?.toString() !== uidValidity) {
    const folder = await selectFolder(client, scope.path);
    if (folder.uidValidity !== uidValidity) throw new MailError("not_found", { doing });
  }
  const row = await client.fetchOne(ref, { uid: true, source: { start, maxLength: pieceBytes } }, { uid: true });
  if (!row || row.source === undefined) throw new MailError("not_found", { doing });
  return row.source;
}
