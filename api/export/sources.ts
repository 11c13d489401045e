import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openContent } from "../../blobs/vault.ts";
import { type ExportedMessage, type ExportStart, listExport } from "../../db/export.ts";
import { findSources, type MessageBlob } from "../../db/message-blobs.ts";
import { MailError } from "../../domain/errors.ts";
import type { FolderId, MailboxId, MessageId } from "../../domain/ids.ts";
import type { MailProvider } from "../../providers/provider.ts";
import type { ApiDeps } from "../deps.ts";

/** A message and its whole source, whose length is what it says. */
export interface ExportedSource {
  readonly message: ExportedMessage;
  readonly sizeBytes: number;
  readonly stream: AsyncIterable<Buffer>;
}

/** Messages looked up at once. */
const pageSize = 200;
/** Sources fetched together: what an export holds in memory. */
const groupBytesMax = 4 * 1024 * 1024;
const groupMax = 100;
/** A larger source goes by a file, because its length is to be known before its first byte. */
const heldBytesMax = 2 * 1024 * 1024;

/**
 * The sources of a mailbox, oldest first: from what is kept, else from the server, many in one request. Bounded in memory however large the mailbox is;
 * nothing is fetched before it is asked for. A message that is not to be had is left out and counted.
 */
export async function* exportSources(
  deps: ApiDeps,
  mailbox: { readonly id: MailboxId; readonly provider: MailProvider },
  options: { readonly folderId?: FolderId | undefined; readonly start: ExportStart | undefined; readonly signal: AbortSignal },
  onMissing: (id: MessageId) => void,
): AsyncGenerator<ExportedSource> {
  let start = options.start;
  for (;;) {
    const page = await listExport(deps.db, mailbox.id, { folderId: options.folderId, start, limit: pageSize });
    const kept = await findSources(
      deps.db,
      deps.config.keyRing,
      page.map(({ id }) => id),
    );
    for (const group of groupsOf(page, kept)) {
      options.signal.throwIfAborted();
      yield* exportGroup(deps, mailbox.provider, group, kept, options.signal, onMissing);
    }
    const last = page.at(-1);
    if (last === undefined || page.length < pageSize) return;
    start = { receivedAt: last.receivedAt, id: last.id, isIncluded: false };
  }
}

/** Neighbours that lie in one folder and fit into memory together; what is kept, and what is large, stands alone. */
function groupsOf(page: readonly ExportedMessage[], kept: ReadonlyMap<MessageId, MessageBlob>): readonly (readonly ExportedMessage[])[] {
  const groups: ExportedMessage[][] = [];
  let bytes = 0;
  const isAlone = (message: ExportedMessage) => kept.has(message.id) || message.sizeBytes > heldBytesMax;
  for (const message of page) {
    const group = groups.at(-1);
    const [first] = group ?? [];
    const fits =
      first !== undefined && !isAlone(first) && !isAlone(message) && first.path === message.path && bytes + message.sizeBytes <= groupBytesMax;
    if (group !== undefined && fits && group.length < groupMax) {
      group.push(message);
      bytes += message.sizeBytes;
    } else {
      groups.push([message]);
      bytes = message.sizeBytes;
    }
  }
  return groups;
}

async function* exportGroup(
  deps: ApiDeps,
  provider: MailProvider,
  group: readonly ExportedMessage[],
  kept: ReadonlyMap<MessageId, MessageBlob>,
  signal: AbortSignal,
  onMissing: (id: MessageId) => void,
): AsyncGenerator<ExportedSource> {
  const [first] = group;
  if (first === undefined) return;
  const blob = kept.get(first.id);
  if (blob !== undefined && (await deps.blobs.head(blob.key)) !== undefined) {
    yield { message: first, sizeBytes: blob.sizeBytes, stream: await openContent(deps.blobs, blob) };
    return;
  }
  if (group.length === 1 && first.sizeBytes > heldBytesMax) return yield* viaFile(provider, first, signal, onMissing);
  const refs = group.map(({ ref }) => ref);
  const sources = await provider.fetchSources({ path: first.path }, refs, signal).catch(emptyIfGone);
  for (const message of group) {
    const source = sources.get(message.ref);
    if (source === undefined) onMissing(message.id);
    else yield { message, sizeBytes: source.length, stream: once(source) };
  }
}

async function* viaFile(
  provider: MailProvider,
  message: ExportedMessage,
  signal: AbortSignal,
  onMissing: (id: MessageId) => void,
): AsyncGenerator<ExportedSource> {
  const opened = await provider.openSource({ path: message.path }, message.ref, signal).catch((error: unknown) => {
    if (error instanceof MailError && error.code === "not_found") return undefined;
    throw error;
  });
  if (opened === undefined) return onMissing(message.id);
  const file = join(tmpdir(), `everpost-export-${randomBytes(8).toString("hex")}`);
  const handle = await open(file, "wx+", 0o600);
  // Open, and without a name: it is gone when this process is, however that ends.
  await unlink(file);
  try {
    let sizeBytes = 0;
    for await (const piece of opened.stream) {
      await handle.write(piece, 0, piece.length, sizeBytes);
      sizeBytes += piece.length;
    }
    yield { message, sizeBytes, stream: createReadStream("", { fd: handle.fd, start: 0, autoClose: false }) as AsyncIterable<Buffer> };
  } finally {
    await handle.close();
  }
}

function emptyIfGone(error: unknown): ReadonlyMap<string, Buffer> {
  if (error instanceof MailError && error.code === "not_found") return new Map();
  throw error;
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
