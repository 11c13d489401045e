import type { Readable } from "node:stream";
import { openContent } from "../blobs/vault.ts";
import { findWorkMailbox, type WorkMailbox } from "../db/mailbox-state.ts";
import { findBlob, type MessageBlob, sourcePart } from "../db/message-blobs.ts";
import { listPlaces } from "../db/message-places.ts";
import { MailError } from "../domain/errors.ts";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";
import type { Content } from "./send-content.ts";

/** The mailbox with what opens it; one that was disconnected is only what is kept of it. */
export async function connectedMailbox(deps: ApiDeps, id: MailboxId): Promise<WorkMailbox> {
  const mailbox = await findWorkMailbox(deps.db, id);
  if (mailbox !== undefined) return mailbox;
  throw new ApiError("conflict", { detail: "The mailbox is disconnected, and this was not kept: only its server had it." });
}

/**
 * Reads a message at its server, in the first of its places where it still lies: a place on record may be a moment old. `read` opens a stream there, `use`
 * takes it; the mailbox's connections stay open until it has.
 */
export async function readFromProvider(
  deps: ApiDeps,
  mailbox: WorkMailbox,
  messageId: MessageId,
  read: (provider: MailProvider, place: { readonly path: string; readonly ref: string }) => Promise<Readable>,
  use: (stream: Readable) => Promise<void>,
): Promise<void> {
  const places = await listPlaces(deps.db, messageId);
  await deps.sessions.use(mailbox, async (provider) => {
    for (const place of places) {
      const stream = await read(provider, place).catch((error: unknown) => {
        if (error instanceof MailError && error.code === "not_found") return undefined;
        throw error;
      });
      if (stream !== undefined) return use(stream);
    }
    throw new MailError("not_found", { doing: "looking for a message in the folders where it lay" });
  });
}

/**
 * One part of a message, or its whole source: from what is kept, or else from its server. A blob that the store has lost is no reason to fail while the
 * server still has the message.
 */
export async function messageContent(
  deps: ApiDeps,
  message: { readonly id: MessageId; readonly mailbox_id: MailboxId },
  part: string,
  named: Pick<Content, "contentType" | "fileName">,
): Promise<Content> {
  const kept = await findKept(deps, message.id, part);
  if (kept !== undefined) {
    const etag = kept.sha256.toString("base64url");
    return { ...named, sizeBytes: kept.sizeBytes, etag, read: async (range, _signal, take) => take(await openContent(deps.blobs, kept, range)) };
  }
  return {
    ...named,
    async read(_range, signal, take) {
      const mailbox = await connectedMailbox(deps, message.mailbox_id);
      await readFromProvider(deps, mailbox, message.id, async (provider, { path, ref }) => (await open(provider, path, ref, signal)).stream, take);
    },
  };

  function open(provider: MailProvider, path: string, ref: string, signal: AbortSignal) {
    return part === sourcePart ? provider.openSource({ path }, ref, signal) : provider.openPart({ path }, ref, part, signal);
  }
}

/** The kept content of one part, if the store still has it. */
export async function findKept(deps: ApiDeps, id: MessageId, part: string): Promise<MessageBlob | undefined> {
  const blob = await findBlob(deps.db, deps.config.keyRing, id, part);
  if (blob === undefined) return undefined;
  if ((await deps.blobs.head(blob.key)) !== undefined) return blob;
  deps.log.warn({ messageId: id, key: blob.key }, "the blob store has lost a content that was kept");
  return undefined;
}
