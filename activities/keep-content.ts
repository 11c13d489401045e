import { Context } from "@temporalio/activity";
import type { BlobStore } from "../blobs/store.ts";
import { ContentTooLarge, putContent } from "../blobs/vault.ts";
import type { Database } from "../db/database.ts";
import { newId } from "../db/ids.ts";
import { hasContentWork, listPendingContent, type PendingContent, saveFetchedContent, stepContentPlan } from "../db/kept-content.ts";
import { findWorkMailbox, type WorkMailbox } from "../db/mailbox-state.ts";
import { announceBlobs, type MessageBlob, sourcePart } from "../db/message-blobs.ts";
import type { MessageText } from "../db/message-texts.ts";
import type { KeyRing } from "../db/secrets.ts";
import { type ContentTarget, contentTarget, keepsAnything } from "../domain/content-plan.ts";
import { MailError } from "../domain/errors.ts";
import type { BlobKey, MailboxId, MessageId } from "../domain/ids.ts";
import { extractReply } from "../domain/reply-text.ts";
import { parseSource } from "../mime/parse-source.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { mapAtMost } from "./map-at-most.ts";

export interface KeepContentResult {
  readonly kept: number;
  /** Messages whose content could not be had. */
  readonly failed: number;
  /** More waits; this call ended to be seen. */
  readonly more: boolean;
}

export interface KeepDependencies {
  readonly db: Database;
  readonly keyRing: KeyRing;
  readonly sessions: Sessions;
  readonly blobs: BlobStore;
  readonly draining: AbortSignal;
}

/** One activity runs for so long, so that operators see how far it is. */
const sliceMs = 60_000;
/** Messages looked up at once. */
const batchMax = 500;
/** Sources, or texts, that one FETCH asks for together: memory, and what is lost when the connection breaks. */
const groupBytesMax = 8 * 1024 * 1024;
const groupMax = 100;
/** A larger source is not held in memory: it is streamed into the store, and its text read from the server. */
const sourceBytesMax = 2 * 1024 * 1024;
/** Of a text, more than any person wrote. */
const textBytesMax = 256 * 1024;
/** Puts at once: a store's answer, or a disk's sync, is what they wait for. */
const putsMax = 16;

/**
 * Fetches what the settings want kept, newest first, until nothing waits or the slice ends. What waits is in the store, marked message by message, so an
 * attempt that died is gone on with where its last commit was.
 */
export async function keepContent(deps: KeepDependencies, input: { readonly mailboxId: MailboxId }): Promise<KeepContentResult> {
  const mailbox = await findWorkMailbox(deps.db, input.mailboxId);
  const done = { kept: 0, failed: 0 };
  if (mailbox === undefined || mailbox.isPaused || mailbox.sealedCredentials === null) return { ...done, more: false };
  const endsAt = Date.now() + sliceMs;
  const isOver = () => Date.now() > endsAt || deps.draining.aborted;
  while (!isOver() && (await stepContentPlan(deps.db, mailbox, mailbox.sync)));
  const target = contentTarget(mailbox.sync);
  if (keepsAnything(target)) {
    await deps.sessions.use(mailbox, async (provider) => {
      const keeper = { ...deps, mailbox, provider, target, signal: Context.current().cancellationSignal };
      while (!isOver()) {
        const counts = await keepBatch(keeper, isOver);
        done.kept += counts.kept;
        done.failed += counts.failed;
        if (counts.kept + counts.failed === 0) return;
      }
    });
  }
  return { ...done, more: await hasContentWork(deps.db, mailbox.id) };
}

interface Keeper extends KeepDependencies {
  readonly mailbox: WorkMailbox;
  readonly provider: MailProvider;
  readonly target: ContentTarget;
  readonly signal: AbortSignal;
}

type Placed = PendingContent & { readonly path: string; readonly ref: string };

async function keepBatch(keeper: Keeper, isOver: () => boolean): Promise<{ readonly kept: number; readonly failed: number }> {
  const pending = await listPendingContent(keeper.db, keeper.mailbox.id, batchMax);
  const homeless = pending.filter((message) => message.path === null).map(({ id }) => id);
  await saveFetchedContent(keeper.db, keeper.keyRing, keeper.mailbox, { kept: [], failed: homeless, texts: [], blobs: [] });
  const counts = { kept: 0, failed: homeless.length };
  // One group is stored while the next one is fetched: server, threads and database work at the same time.
  let storing: Promise<void> = Promise.resolve();
  for (const group of groupsOf(pending.filter((message): message is Placed => message.path !== null && message.ref !== null))) {
    const sources = keeper.target.content === "full" && !isLarge(group) ? await fetchSources(keeper, group) : undefined;
    await storing;
    storing = storeGroup(keeper, group, sources).then(({ kept, failed }) => {
      counts.kept += kept;
      counts.failed += failed;
    });
    // Awaited in the next round; until then a failure of it must not count as unhandled.
    storing.catch(() => {});
    if (isOver()) break;
  }
  await storing;
  return counts;
}

type Group = readonly [Placed, ...Placed[]];

/** Messages of one folder that are asked for together; a large one stands alone. */
function groupsOf(messages: readonly Placed[]): readonly Group[] {
  const groups: [Placed, ...Placed[]][] = [];
  const open = new Map<string, { group: [Placed, ...Placed[]]; bytes: number }>();
  for (const message of messages) {
    if (message.sizeBytes > sourceBytesMax) {
      groups.push([message]);
      continue;
    }
    const last = open.get(message.path);
    if (last !== undefined && last.group.length < groupMax && last.bytes + message.sizeBytes <= groupBytesMax) {
      last.group.push(message);
      last.bytes += message.sizeBytes;
      continue;
    }
    const group: [Placed, ...Placed[]] = [message];
    groups.push(group);
    open.set(message.path, { group, bytes: message.sizeBytes });
  }
  return groups;
}

function isLarge([first]: Group): boolean {
  return first.sizeBytes > sourceBytesMax;
}

function fetchSources({ provider, signal }: Keeper, group: Group): Promise<ReadonlyMap<string, Buffer>> {
  return provider.fetchSources(
    { path: group[0].path },
    group.map(({ ref }) => ref),
    signal,
  );
}

/** What one message is kept of; undefined where its content could not be had. */
interface Kept {
  readonly text: MessageText | undefined;
  readonly blobs: readonly MessageBlob[];
}

async function storeGroup(keeper: Keeper, group: Group, sources: ReadonlyMap<string, Buffer> | undefined) {
  const { target, db } = keeper;
  const keys = new KeyPool();
  await announceBlobs(db, keys.reserve(group.reduce((count, message) => count + blobCount(message, target), 0)));
  const texts = target.content === "metadata" || sources !== undefined ? undefined : await fetchTexts(keeper, group);
  const results = await mapAtMost(putsMax, group, async (message) => {
    try {
      return await keepMessage(keeper, message, keys, sources, texts?.get(message.ref));
    } catch (error) {
      if (isMessagesOwn(error, keeper.provider)) return undefined;
      throw error;
    }
  });
  const kept: MessageId[] = [];
  const failed: MessageId[] = [];
  for (const [index, result] of results.entries()) (result === undefined ? failed : kept).push((group[index] as Placed).id);
  const had = results.filter((result) => result !== undefined);
  await saveFetchedContent(db, keeper.keyRing, keeper.mailbox, {
    kept,
    failed,
    texts: had.flatMap(({ text }) => text ?? []),
    blobs: had.flatMap(({ blobs }) => blobs),
  });
  return { kept: kept.length, failed: failed.length };
}

/** One message that is gone, or that the server cannot give, does not keep the others from being kept, as long as the connection lives. */
function isMessagesOwn(error: unknown, provider: MailProvider): boolean {
  if (!(error instanceof MailError) || !provider.isUsable()) return false;
  return error.code === "not_found" || error.code === "rejected" || error.code === "invalid_response";
}

async function keepMessage(
  keeper: Keeper,
  message: Placed,
  keys: KeyPool,
  sources: ReadonlyMap<string, Buffer> | undefined,
  text: string | undefined,
): Promise<Kept | undefined> {
  const { target, provider, blobs: store, signal } = keeper;
  const scope = { path: message.path };
  const blobs: MessageBlob[] = [];
  const keep = async (part: string, contentType: string, content: AsyncIterable<Buffer>, sizeBytesMax?: number) => {
    const entry = await putContent(store, keys.take(), content, { signal, ...(sizeBytesMax === undefined ? {} : { sizeBytesMax }) });
    blobs.push({ ...entry, messageId: message.id, part, contentType });
  };
  const source = sources?.get(message.ref);
  if (sources !== undefined && source === undefined) return undefined;
  if (target.content === "full") {
    await keep(sourcePart, "message/rfc822", source === undefined ? (await provider.openSource(scope, message.ref, signal)).stream : once(source));
  }
  for (const attachment of wantedAttachments(message, target)) {
    const { stream } = await provider.openPart(scope, message.ref, attachment.part, signal);
    try {
      await keep(attachment.part, attachment.contentType, stream, target.attachmentBytesMax);
    } catch (error) {
      // The server told a smaller size than there is.
      if (!(error instanceof ContentTooLarge)) throw error;
    }
  }
  const isText = target.content !== "metadata";
  return { text: isText ? await textOf(message.id, source, text, signal) : undefined, blobs };
}

async function textOf(messageId: MessageId, source: Buffer | undefined, text = "", signal: AbortSignal): Promise<MessageText> {
  if (source === undefined) return { messageId, text, isTruncated: Buffer.byteLength(text) >= textBytesMax - 3, reply: extractReply(text).reply };
  const parsed = await parseSource(source, { charactersMax: textBytesMax, signal });
  return { messageId, text: parsed.text, isTruncated: parsed.isTruncated, reply: parsed.reply.reply };
}

/** Read from the server's text parts, which are a fraction of the sources. */
async function fetchTexts({ provider, signal }: Keeper, group: Group): Promise<ReadonlyMap<string, string>> {
  return provider.fetchTexts({ path: group[0].path }, group, { bytesMax: textBytesMax, signal });
}

function wantedAttachments({ attachments }: PendingContent, { attachmentBytesMax }: ContentTarget) {
  return attachments.filter(({ encodedSizeBytes }) => encodedSizeBytes <= attachmentBytesMax && attachmentBytesMax > 0);
}

function blobCount(message: PendingContent, target: ContentTarget): number {
  return (target.content === "full" ? 1 : 0) + wantedAttachments(message, target).length;
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Keys that were announced together, for one group's puts. What is not saved stays announced, and is removed in a day. */
class KeyPool {
  readonly #keys: BlobKey[] = [];

  reserve(count: number): readonly BlobKey[] {
    for (let index = 0; index < count; index += 1) this.#keys.push(newId("blob"));
    return [...this.#keys];
  }

  take(): BlobKey {
    const key = this.#keys.pop();
    if (key === undefined) throw new Error("more blobs than were announced");
    return key;
  }
}
