import type { FetchMessageObject, ImapFlow } from "imapflow";
import type { ImapStream } from "imapflow/lib/handler/imap-stream.js";
import { readFetchRow } from "./fetch-row.ts";

/** One answer of the server as ImapFlow's stream frames it: its lines without the literals, which lie beside them. */
interface Framed {
  readonly payload: Buffer;
  readonly literals: readonly Buffer[];
  /** Lets the stream go on. */
  readonly next: () => void;
}

/**
 * While `work` runs, FETCH answers are taken from the stream before ImapFlow makes trees of them, and read by `readFetchRow` (docs/adr/0033). Those that it
 * does not read go on to ImapFlow, like everything else; framing, and every bound on what a server may send, stay ImapFlow's.
 */
export async function tapRows<T>(client: ImapFlow, onRow: (row: FetchMessageObject) => void, work: () => Promise<T>): Promise<T> {
  // Not among ImapFlow's types, as little as `exec` is.
  const { streamer } = client as unknown as { readonly streamer: ImapStream };
  const passOn = streamer.push;
  const tap = (framed: Framed | null): boolean => {
    const row = framed === null ? undefined : readFetchRow(framed.payload, framed.literals);
    if (framed === null || row === undefined) return passOn.call(streamer, framed);
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
