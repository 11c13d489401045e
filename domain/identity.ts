import type { RemoteMessage } from "./message.ts";

/**
 * What makes a message itself, wherever it lies: the text that the registry hashes into its id. Equal text in one mailbox is one message, told once.
 *
 * A provider's own stable id is authoritative. Otherwise it is the Message-ID with sender and date: copies in other folders agree on all three,
 * while senders that put one constant Message-ID on everything differ in the date (seen in the wild; the id alone would swallow real mail).
 * Without a Message-ID the whole of what a copy keeps stands in for it.
 */
export function identityOf(message: RemoteMessage): string {
  if (message.stableId !== null) return `provider ${message.stableId}`;
  const { envelope } = message;
  const sender = envelope.from[0]?.address.toLowerCase() ?? "";
  if (envelope.messageId !== null) return `message-id ${envelope.messageId} ${sender} ${envelope.sentAt ?? ""}`;
  const recipients = envelope.to.map((to) => to.address.toLowerCase()).join(" ");
  return `synthetic ${message.receivedAt} ${envelope.sentAt ?? ""} ${message.sizeBytes} ${sender} ${recipients} ${envelope.subject}`;
}
