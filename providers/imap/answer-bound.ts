import type { ImapFlow } from "imapflow";
import type { ImapStream } from "imapflow/lib/handler/imap-stream.js";

/** One answer of the server as ImapFlow's stream frames it: its lines without the literals, which lie beside them. */
export interface FramedAnswer {
  readonly payload: Buffer;
  readonly literals: readonly Buffer[];
  /** Lets the stream go on. */
  readonly next: () => void;
}

/**
 * Answers that a server may give before it has finished with a command: the folders that we list, each with its STATUS, and some. Those about messages may be
 * as many again as the folder has, twice. ImapFlow bounds how large one answer is, and not how many come.
 */
const answersMax = 250_000;

const counts = new WeakMap<ImapStream, (framed: FramedAnswer) => void>();

/** What stands between ImapFlow's stream and its reader; not among ImapFlow's types, as little as `exec` is. */
export function streamerOf(client: ImapFlow): ImapStream {
  return (client as unknown as { readonly streamer: ImapStream }).streamer;
}

/** From here on a server that floods the connection with answers loses it, as one that sends too large an answer does: the call fails with `invalid_response`. */
export function boundAnswers(client: ImapFlow): void {
  const streamer = streamerOf(client);
  const passOn = streamer.push;
  let count = 0;
  const note = ({ payload }: FramedAnswer) => {
    const isUnasked = payload[0] === asterisk || payload[0] === plus;
    count = isUnasked ? count + 1 : 0;
    if (count <= answersMax) return;
    const exists = client.mailbox === false ? 0 : (client.mailbox.exists ?? 0);
    if (count > answersMax + 2 * exists) throw Object.assign(new Error("too many answers to one command"), { code: "TooManyResponses" });
  };
  counts.set(streamer, note);
  streamer.push = (framed: FramedAnswer | null) => {
    if (framed !== null) note(framed);
    return passOn.call(streamer, framed);
  };
}

/** Counts an answer that somebody takes from the stream before it gets there. */
export function noteAnswer(streamer: ImapStream, framed: FramedAnswer): void {
  counts.get(streamer)?.(framed);
}

const asterisk = 0x2a;
const plus = 0x2b;
