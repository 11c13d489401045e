import { Tinypool } from "tinypool";
import type { ParsedSource } from "./parse-source-worker.ts";

/**
 * Sources are parsed on threads of their own: mailparser takes about a millisecond per message and seconds for a large one, in which a worker could not
 * send a heartbeat. Threads start with the first source and end when none came for a minute.
 */
const threads = new Tinypool({
  filename: new URL("./parse-source-worker.ts", import.meta.url).href,
  runtime: "worker_threads",
  minThreads: 0,
  maxThreads: 2,
  idleTimeout: 60_000,
  resourceLimits: { maxOldGenerationSizeMb: 512 },
});

/** The readable text of a source (RFC 5322): its plain parts, or the HTML ones as text. `charactersMax` cuts it. */
export async function parseSource(source: Buffer, options: { readonly charactersMax: number; readonly signal?: AbortSignal }): Promise<ParsedSource> {
  const { signal, charactersMax } = options;
  return threads.run({ source, charactersMax }, signal === undefined ? {} : { signal });
}
