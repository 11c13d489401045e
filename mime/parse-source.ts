import { Tinypool } from "tinypool";
import type { ParsedSource, ParseTask, ReadText, ReadTextsTask, SanitiseTask, UnwrappedTnef, UnwrapTask } from "./parse-source-worker.ts";
import type { SafeHtml } from "./sanitise-html.ts";

export type { MessageToRead, ParsedAttachment, ParsedSource, ReadText, UnwrappedTnef } from "./parse-source-worker.ts";

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

interface Cancellable {
  readonly signal?: AbortSignal;
}

/** What a source (RFC 5322) says: text, HTML, the reply in it, attachments. `charactersMax` cuts text and HTML each. */
export async function parseSource(
  source: Buffer,
  { charactersMax, signal }: { readonly charactersMax: number } & Cancellable,
): Promise<ParsedSource> {
  const task: ParseTask = { source, charactersMax };
  return threads.run(task, signal === undefined ? {} : { signal });
}

/** What a winmail.dat holds, and the content of the attachment that `pick` names, counted from 0. */
export async function unwrapTnef(tnef: Buffer, { pick, signal }: { readonly pick?: number } & Cancellable): Promise<UnwrappedTnef> {
  const task: UnwrapTask = { tnef, pick };
  return threads.run(task, signal === undefined ? {} : { signal });
}

/**
 * What is kept of the texts of many messages, in their order, as one task: handing a source to a thread and its result back costs as much as reading a
 * short one, and what nobody keeps of it (mark-up, attachments) is left there.
 */
export async function readTexts({ signal, ...task }: ReadTextsTask & Cancellable): Promise<readonly ReadText[]> {
  return threads.run(task, signal === undefined ? {} : { signal });
}

/** `sanitiseHtml` beside the main thread, for mark-up of any size. */
export async function sanitiseOnThread(html: string, { signal, ...options }: Omit<SanitiseTask, "html"> & Cancellable): Promise<SafeHtml> {
  const task: SanitiseTask = { html, ...options };
  return threads.run(task, signal === undefined ? {} : { signal });
}
