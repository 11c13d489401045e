import type { WorkMailbox } from "../db/mailbox-state.ts";
import type { PageOwner, PageRules, PageTexts } from "../db/store-page.ts";
import { contentTarget, keepsAnything } from "../domain/content-plan.ts";
import { MailError } from "../domain/errors.ts";
import type { RemoteMessage } from "../domain/message.ts";
import { isMessageWanted, keptFrom } from "../domain/sync-settings.ts";
import { makeSnippet } from "../mime/snippet.ts";
import type { MailProvider } from "../providers/provider.ts";

/** What is read of a text to make a line of preview. */
export const snippetBytes = 4_096;
/** What is told of a text at most: a webhook's body is no place for a book. */
const keptBytes = 64 * 1024;

/** Who the page belongs to. A listing's messages count as new from where the settings say, or from the second after the mailbox was connected. */
export function ownerOf(mailbox: WorkMailbox): PageOwner & { readonly rules: PageRules } {
  const { notifyFrom } = mailbox.sync;
  return {
    mailboxId: mailbox.id,
    customerId: mailbox.customerId,
    self: mailbox.self,
    keepsContent: keepsAnything(contentTarget(mailbox.sync)),
    tellListedFrom: notifyFrom === null ? afterSecond(mailbox.anchoredAt) : new Date(notifyFrom),
    rules: {
      notifyFrom: notifyFrom === null ? undefined : new Date(notifyFrom),
      isWanted: (message, role) => isMessageWanted(message, role, mailbox.self, mailbox.sync, Date.now()),
      keptFrom: keptFrom(mailbox.sync, Date.now()),
      settingsAt: mailbox.settingsAt,
    },
  };
}

/**
 * INTERNALDATE knows no fractions (RFC 9051 §2.3.3): what carries the very second of the connection may be from before it, and was not missed, because
 * the folder's cursor stood by then. Undefined while the mailbox is not connected yet: all that is there is history.
 */
function afterSecond(instant: Date | null): Date | undefined {
  return instant === null ? undefined : new Date(Math.ceil((instant.getTime() + 1) / 1000) * 1000);
}

/** The beginnings of new messages' texts: a line of preview, and more where an endpoint asks for it. */
export async function textsOf(
  provider: MailProvider,
  scope: { readonly path: string },
  messages: readonly RemoteMessage[],
  isKept: boolean,
  signal: AbortSignal,
): Promise<PageTexts> {
  if (messages.length === 0) return { snippets: new Map(), kept: new Map() };
  const bytesMax = isKept ? keptBytes : snippetBytes;
  const texts = await provider.fetchTexts(scope, messages, { bytesMax, signal });
  const kept = [...texts].flatMap(([ref, text]) =>
    text === "" ? [] : [[ref, { text, isTruncated: Buffer.byteLength(text) >= bytesMax - 3 }] as const],
  );
  return {
    snippets: new Map([...texts].flatMap(([ref, text]) => (text === "" ? [] : [[ref, makeSnippet(text)] as const]))),
    kept: new Map(isKept ? kept : []),
  };
}

/** Whether a failure is one folder's alone: the account and its other folders are as they were. */
export function isFoldersOwn(error: MailError): boolean {
  return error.code === "permission_denied" || error.code === "invalid_response" || error.code === "rejected";
}

/** A server that answers that it cannot just now, as for a folder whose files it cannot read: one folder's trouble, if others can be read. */
export function isRefusedForNow(error: unknown): error is MailError {
  return error instanceof MailError && error.code === "unavailable" && error.serverSaid !== undefined;
}
