import type { EventType } from "../domain/events.ts";
import type { EventId, MailboxId } from "../domain/ids.ts";

/** An event as the outbox keeps it. */
export interface OutgoingEvent {
  readonly id: EventId;
  readonly type: EventType;
  readonly createdAt: Date;
  readonly mailboxId: MailboxId | null;
  readonly account: string | null;
  readonly sequence: number | null;
  readonly data: Record<string, unknown>;
}

/** An event as customers are told it, pushed or pulled: the same members in the same order each time. */
export interface ToldEvent {
  readonly id: EventId;
  readonly type: EventType;
  readonly timestamp: string;
  readonly mailboxId: MailboxId | null;
  readonly account: string | null;
  readonly sequence: number | null;
  readonly data: Record<string, unknown>;
}

/** The body of a webhook and an item of the event stream. With `text`, the message in it carries its text as well. */
export function toldEvent(event: OutgoingEvent, text?: string): ToldEvent {
  const { id, type, createdAt, mailboxId, account, sequence } = event;
  return { id, type, timestamp: createdAt.toISOString(), mailboxId, account, sequence, data: withText(event.data, text) };
}

function withText(data: Record<string, unknown>, text: string | undefined): Record<string, unknown> {
  return text === undefined ? data : { ...data, message: { ...(data.message as object), text } };
}
