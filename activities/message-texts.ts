import { Context } from "@temporalio/activity";
import { findWorkMailbox } from "../db/mailbox-state.ts";
import { listPlaces } from "../db/message-places.ts";
import { saveRequestedText } from "../db/message-texts.ts";
import { MailError } from "../domain/errors.ts";
import type { MessageId } from "../domain/ids.ts";
import { parseSource } from "../mime/parse-source.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { ActivityDependencies } from "./dependencies.ts";

/** A source is held in memory while it is parsed; larger ones are cut, text comes before attachments. */
const sourceBytesMax = 50 * 1024 * 1024;
const charactersMax = 1_000_000;

/** Fetches a message's text for a request that waits for it. The text goes into the database; Temporal sees the id. */
export function messageTextActivities({ db }: ActivityDependencies, sessions: Sessions) {
  return {
    async fetchText({ messageId }: { readonly messageId: MessageId }): Promise<void> {
      const signal = Context.current().cancellationSignal;
      const [source] = await listPlaces(db, messageId);
      const mailbox = source === undefined ? undefined : await findWorkMailbox(db, source.mailboxId);
      if (source === undefined || mailbox === undefined) throw new MailError("not_found", { doing: `reading ${messageId}` });
      const bytes = await sessions.use(mailbox, async (provider) => {
        const { stream } = await provider.openSource({ path: source.path }, source.ref, signal);
        return readAtMost(stream, sourceBytesMax);
      });
      const { text, isTruncated } = await parseSource(bytes, { charactersMax, signal });
      const isSaved = await saveRequestedText(db, { customerId: mailbox.customerId, mailboxId: mailbox.id }, { messageId, text, isTruncated });
      if (!isSaved) throw new MailError("not_found", { doing: `reading ${messageId}` });
    },
  };
}

async function readAtMost(stream: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Read to its end even when enough is there: the connection that it comes on is used again.
  for await (const chunk of stream) {
    if (bytes < bytesMax) chunks.push(chunk);
    bytes += chunk.length;
  }
  return Buffer.concat(chunks).subarray(0, bytesMax);
}
