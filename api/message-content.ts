import type { Readable } from "node:stream";
import { findWorkMailbox, type WorkMailbox } from "../db/mailbox-state.ts";
import { listPlaces } from "../db/message-places.ts";
import { MailError } from "../domain/errors.ts";
import type { MailboxId, MessageId } from "../domain/ids.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { ApiDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";

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
