import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { RemoteMessage } from "../domain/message.ts";
import { toTermVector } from "../domain/search-terms.ts";

/** What a new message is found by: see `saveTerms` for what is kept of it later. */
export function termsOf(
  owner: { readonly customerId: CustomerId; readonly mailboxId: MailboxId },
  { receivedAt, envelope, attachments }: RemoteMessage,
  snippet: string | null,
): string {
  return toTermVector(owner.customerId, { mailboxId: owner.mailboxId, receivedAt, envelope, attachments, snippet, text: null });
}
