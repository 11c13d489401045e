import { Readable } from "node:stream";
import type { ImapFlow, MessageStructureObject } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { SyncScope } from "../../domain/sync.ts";
import { decodeTransferStream } from "../../mime/transfer-stream.ts";
import { selectFolder } from "./folder.ts";
import type { Lane } from "./lane.ts";
import { isUid, pieceBytes, readPieces, reselect } from "./pieces.ts";

const doing = "reading a message's part";

/**
 * One part of a message, decoded, read piece by piece as the reader takes it. How it is encoded is asked of the server each time: what was listed once
 * may be of a message that carries the same identity and another body.
 */
export async function openPart(
  lane: Lane,
  scope: SyncScope,
  ref: string,
  part: string,
  signal?: AbortSignal,
): Promise<{ readonly stream: Readable }> {
  if (!isUid(ref) || !/^\d{1,4}(\.\d{1,4}){0,30}$/.test(part)) throw new MailError("not_found", { doing });
  const first = await lane.run({ doing, signal }, async (client) => {
    const folder = await selectFolder(client, scope.path);
    const row = await client.fetchOne(ref, { uid: true, bodyStructure: true }, { uid: true });
    const node = row ? findNode(row.bodyStructure, part) : undefined;
    if (node === undefined) throw new MailError("not_found", { doing });
    return { folder, encoding: node.encoding ?? "7bit", piece: await readPiece(client, ref, part, 0) };
  });
  const next = (start: number) =>
    lane.run({ doing, signal }, async (client) => {
      await reselect(client, scope, first.folder, doing);
      return readPiece(client, ref, part, start);
    });
  return { stream: Readable.from(decodeTransferStream(readPieces(first.piece, next), first.encoding), { objectMode: false }) };
}

/** The leaf with this number. Inside an attached message the numbers go on, so its own parts can be asked for as well. */
function findNode(node: MessageStructureObject | undefined, part: string): MessageStructureObject | undefined {
  if (node === undefined) return undefined;
  if ((node.part ?? "1") === part && !node.type.startsWith("multipart/")) return node;
  for (const child of node.childNodes ?? []) {
    const found = findNode(child, part);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function readPiece(client: ImapFlow, ref: string, part: string, start: number): Promise<Buffer> {
  const row = await client.fetchOne(ref, { uid: true, bodyParts: [{ key: part, start, maxLength: pieceBytes }] }, { uid: true });
  const bytes = row ? row.bodyParts?.get(part) : undefined;
  // A server answers NIL or nothing behind the end of a part; that a part is empty from the start is no failure either.
  if (!row) throw new MailError("not_found", { doing });
  return bytes ?? Buffer.alloc(0);
}
