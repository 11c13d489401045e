import type { MessageId } from "../domain/ids.ts";
import { providerActivities } from "./proxies.ts";

/** Fetches the text of one message for a request that waits; the text itself goes through the database. */
export async function messageText({ messageId }: { readonly messageId: MessageId }): Promise<void> {
  await providerActivities({ retry: { maximumAttempts: 2 }, startToCloseTimeout: "60 seconds", summary: "fetch a text" }).fetchText({ messageId });
}
