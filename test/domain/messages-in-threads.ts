import type { MessageId } from "../../domain/ids.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import { groupByThread, isTiedBySubject, type KnownKey, linksOf, subjectLinkOf } from "../../domain/threads.ts";

/** A message as threading sees it, in a few words; the rest is the same for all. */
export interface Sketch {
  readonly n: number;
  readonly id?: string | null;
  readonly irt?: string;
  readonly refs?: readonly string[];
  readonly subject?: string;
  readonly from?: string;
  readonly to?: readonly string[];
  readonly day?: number;
  readonly provider?: string;
  readonly flags?: RemoteMessage["flags"];
  readonly traits?: RemoteMessage["traits"];
}

export const me = { email: "me@x.test", aliases: [], ownDomains: [] };

const address = (name: string) => ({ name: "", address: `${name}@x.test` });

export function sketched({
  n,
  id = `<${n}@x>`,
  irt,
  refs = [],
  subject = "Lunch",
  from = "ann",
  to = ["me"],
  day = n,
  ...more
}: Sketch): RemoteMessage {
  const at = new Date(Date.UTC(2026, 0, 1) + day * 86_400_000).toISOString();
  return {
    ref: String(n),
    stableId: null,
    providerThreadId: more.provider ?? null,
    envelope: {
      messageId: id,
      inReplyTo: irt ?? null,
      references: refs,
      subject,
      from: [address(from)],
      replyTo: [],
      to: to.map(address),
      cc: [],
      bcc: [],
      sentAt: at,
    },
    flags: more.flags ?? [],
    sizeBytes: 100 + n,
    receivedAt: at,
    attachments: [],
    textPart: null,
    traits: more.traits ?? [],
    defects: [],
    recipientsTotal: null,
  };
}

export function messageIdOf(n: number): MessageId {
  return `msg_${String(n).padStart(22, "A")}`;
}

/** The threads of messages that arrive together, each as its messages' numbers. */
export function threadsOf(sketches: readonly Sketch[], known: ReadonlyMap<string, KnownKey> = new Map()): number[][] {
  const links = sketches.map((sketch) => linksOf(sketched(sketch), messageIdOf(sketch.n)));
  const bySubject = sketches.map((sketch, at) => ({ link: links[at], envelope: sketched(sketch).envelope }));
  const ties = bySubject.flatMap((one, at) =>
    bySubject.slice(at + 1).flatMap((other) => {
      if (!one.link?.isFoundBySubject || !other.link?.isFoundBySubject) return [];
      const isTied = isTiedBySubject(subjectLinkOf(one.link, one.envelope, me), subjectLinkOf(other.link, other.envelope, me));
      return isTied ? [[one.link.id, other.link.id] as const] : [];
    }),
  );
  const number = new Map(sketches.map(({ n }) => [messageIdOf(n), n]));
  return groupByThread(links, known, ties)
    .map((group) => group.messages.map(({ id }) => number.get(id) ?? 0).sort((a, b) => a - b))
    .sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0));
}
