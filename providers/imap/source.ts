import { Readable } from "node:stream";
import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { SyncScope } from "../../domain/sync.ts";
import { selectFolder } from "./folder.ts";
import type { Lane } from "./lane.ts";
import { isUid, pieceBytes, readPieces, reselect } from "./pieces.ts";

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
  if (!isUid(ref)) throw new MailError("not_found", { doing });
  const first = await lane.run({ doing, signal }, async (client) => {
    const folder = await selectFolder(client, scope.path);
    const row = await client.fetchOne(ref, { uid: true, size: true, source: { start: 0, maxLength: pieceBytes } }, { uid: true });
    if (!row || row.source === undefined) throw new MailError("not_found", { doing });
    return { folder, sizeBytes: row.size ?? row.source.length, piece: row.source };
  });
  const next = (start: number) =>
    lane.run({ doing, signal }, async (client) => {
      await reselect(client, scope, first.folder, doing);
      return readPiece(client, ref, start);
    });
  return { sizeBytes: first.sizeBytes, stream: Readable.from(readPieces(first.piece, next), { objectMode: false }) };
}

async function readPiece(client: ImapFlow, ref: string, start: number): Promise<Buffer> {
  const row = await client.fetchOne(ref, { uid: true, source: { start, maxLength: pieceBytes } }, { uid: true });
  if (!row || row.source === undefined) throw new MailError("not_found", { doing });
  return row.source;
}
