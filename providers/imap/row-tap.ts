import type { FetchMessageObject, ImapFlow } from "imapflow";
import { type FramedAnswer, noteAnswer, streamerOf } from "./answer-bound.ts";
import { readFetchRow } from "./fetch-row.ts";

/**
 * While `work` runs, FETCH answers are taken from the stream before ImapFlow makes trees of them, and read by `readFetchRow` (docs/adr/0033). Those that it
 * does not read go on to ImapFlow, like everything else; framing, and every bound on what a server may send, stay ImapFlow's.
 */
export async function tapRows<T>(client: ImapFlow, onRow: (row: FetchMessageObject) => void, work: () => Promise<T>): Promise<T> {
  const streamer = streamerOf(client);
  const passOn = streamer.push;
  const tap = (framed: FramedAnswer | null): boolean => {
    const row = framed === null ? undefined : readFetchRow(framed.payload, framed.literals);
    if (framed === null || row === undefined) return passOn.call(streamer, framed);
    noteAnswer(streamer, framed);
    onRow(row);
    framed.next();
    return true;
  };
  streamer.push = tap;
  try {
    return await work();
  } finally {
    streamer.push = passOn;
  }
}
