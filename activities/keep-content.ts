import { Context } from "@temporalio/activity";
import type { BlobStore } from "../blobs/store.ts";
import { ContentTooLarge, putContent, putContents, type VaultEntry } from "../blobs/vault.ts";
import type { Database } from "../db/database.ts";
import { newId } from "../db/ids.ts";
import {
  countPendingContent,
  type FetchedContent,
  hasContentWork,
  isListing,
  listPendingContent,
  type PendingContent,
  type PendingPosition,
  type Preview,
  saveFetchedContent,
  stepContentPlan,
} from "../db/kept-content.ts";
import { findWorkMailbox, type WorkMailbox } from "../db/mailbox-state.ts";
import { announceBlobs, type MessageBlob, sourcePart } from "../db/message-blobs.ts";
import type { MessageText } from "../db/message-texts.ts";
import type { KeyRing } from "../db/secrets.ts";
import { type ContentTarget, contentTarget, keepsAnything } from "../domain/content-plan.ts";
import { MailError } from "../domain/errors.ts";
import type { BlobKey, MailboxId, MessageId } from "../domain/ids.ts";
import { extractReply } from "../domain/reply-text.ts";
import { toTermVector } from "../domain/search-terms.ts";
import { type MessageToRead, type ReadText, readTexts } from "../mime/parse-source.ts";
import { makeSnippet } from "../mime/snippet.ts";
import type { MailProvider } from "../providers/provider.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { mapAtMost } from "./map-at-most.ts";
import { snippetBytes } from "./pages.ts";
import type { Precedence } from "./precedence.ts";

export interface KeepContentResult {
  readonly kept: number;
  /** Messages whose content could not be had. */
  readonly failed: number;
  /** More waits; this call ended to be seen. */
  readonly more: boolean;
  /** How many messages that is. */
  readonly waiting?: number;
}

export interface KeepDependencies {
  readonly db: Database;
  readonly keyRing: KeyRing;
  readonly sessions: Sessions;
  readonly blobs: BlobStore;
  readonly draining: AbortSignal;
  readonly precedence: Precedence;
}

/** One activity runs for so long, so that operators see how far it is. */
const sliceMs = 60_000;
/** In all, one activity stands back for mailboxes that are being connected this long: it has its share of a long rush as well. */
const standsBackMs = 15_000;
/** Messages looked up at once. */
const batchMax = 500;
/** Previews written while a listing is under way: what a person sees first. The rest waits until the listing, which has the same server and database, is done. */
const besideListingMax = 250;
/** Sources, or texts, that one FETCH asks for together: memory, and what is lost when the connection breaks. */
const groupBytesMax = 8 * 1024 * 1024;
const groupMax = 250;
/** A larger source is not held in memory: it is streamed into the store, and its text read from the server. */
const sourceBytesMax = 2 * 1024 * 1024;
/** Of a text, more than any person wrote. */
const textBytesMax = 256 * 1024;
/** What the text part of a page of HTML costs at most where only its beginning is asked for. */
const snippetPartBytesMax = 48 * 1024;
/** Sources that a thread reads in one task: few enough for both threads to have some of a group. */
const readMax = 20;
/** Sources that are sealed and put together: a few milliseconds of this thread, and a second copy in memory of so many. */
const putMax = 64;
/** From so many texts on, a group is committed in two transactions. */
const halvedMin = 50;
/** Messages whose attachments are on their way at once. */
const messagesMax = 16;

/**
 * Fetches what is to be had of messages besides what a listing says, newest first, until nothing waits or the slice ends: lines of preview in any case, and
 * what the settings want kept. What waits is in the store, marked message by message, so an attempt that died is gone on with where its last commit was.
 */
export async function keepContent(deps: KeepDependencies, input: { readonly mailboxId: MailboxId }): Promise<KeepContentResult> {
  const { cancellationSignal: signal } = Context.current();
  const waitsUntil = Date.now() + standsBackMs;
  const standBack = () => deps.precedence.standBack(waitsUntil - Date.now(), AbortSignal.any([signal, deps.draining]));
  await standBack();
  const mailbox = await findWorkMailbox(deps.db, input.mailboxId);
  const done = { kept: 0, failed: 0 };
  if (mailbox === undefined || mailbox.isPaused || mailbox.sealedCredentials === null) return { ...done, more: false };
  const endsAt = Date.now() + sliceMs;
  const isOver = () => Date.now() > endsAt || deps.draining.aborted;
  while (!isOver() && (await stepContentPlan(deps.db, mailbox, mailbox.sync)));
  const target = contentTarget(mailbox.sync);
  const standsBack = !keepsAnything(target) && (await isListing(deps.db, mailbox.id));
  await deps.sessions.use(mailbox, async (provider) => {
    const keeper = { ...deps, mailbox, provider, target, signal, standBack };
    let passed: number;
    do {
      const counts = await keepPass(keeper, isOver, standsBack ? besideListingMax : undefined);
      done.kept += counts.kept;
      done.failed += counts.failed;
      passed = counts.kept + counts.failed;
    } while (passed > 0 && !standsBack && !isOver());
  });
  // Whoever lists wakes the keeper again, page by page and at the end.
  if (standsBack) return { ...done, more: false };
  const more = await hasContentWork(deps.db, mailbox.id);
  return { ...done, more, ...(more ? { waiting: await countPendingContent(deps.db, mailbox.id) } : {}) };
}

interface Keeper extends KeepDependencies {
  readonly mailbox: WorkMailbox;
  readonly provider: MailProvider;
  readonly target: ContentTarget;
  readonly signal: AbortSignal;
  /** Lets go first whom somebody waits for. */
  readonly standBack: () => Promise<void>;
}

type Placed = PendingContent & { readonly path: string; readonly ref: string };

/** Once through what waits, newest first; what comes meanwhile is for the next pass. */
async function keepPass(keeper: Keeper, isOver: () => boolean, max?: number): Promise<{ readonly kept: number; readonly failed: number }> {
  const counts = { kept: 0, failed: 0 };
  // One group is committed while the next one is parsed and put and the one after it is fetched: database, threads, disk and server work at the same time,
  // and no more than two groups are in memory whole.
  let preparing: Promise<FetchedContent> | undefined;
  let committing: Promise<void> = Promise.resolve();
  const passOn = async () => {
    const prepared = await preparing;
    await committing;
    if (prepared !== undefined) committing = commit(keeper, prepared, counts);
    // Awaited in the next round; until then a failure of it must not count as unhandled.
    committing.catch(() => {});
  };
  try {
    for await (const group of pendingGroups(keeper, counts, max)) {
      await keeper.standBack();
      const fetched = await fetchGroup(keeper, group);
      await passOn();
      preparing = prepareGroup(keeper, group, fetched);
      preparing.catch(() => {});
      if (isOver()) break;
    }
    await passOn();
    await committing;
  } finally {
    // Whoever tries again finds nobody at work.
    await Promise.allSettled([preparing, committing]);
  }
  return counts;
}

async function commit({ db, keyRing, mailbox, target }: Keeper, prepared: FetchedContent, counts: { kept: number; failed: number }): Promise<void> {
  // In halves beside each other: indexing the words of whole texts is what takes longest of all, and one connection computes on one core.
  // Both are waited for if one fails: whoever tries again finds nobody at work.
  const halves = halvesOf(prepared);
  await mapAtMost(halves.length, halves, (half) => saveFetchedContent(db, keyRing, mailbox, target, half));
  counts.kept += prepared.kept.length;
  counts.failed += prepared.failed.length;
}

function halvesOf(whole: FetchedContent): readonly FetchedContent[] {
  if (whole.texts.length < halvedMin) return [whole];
  const ids = [...whole.kept, ...whole.failed];
  const first = new Set(ids.slice(0, Math.ceil(ids.length / 2)));
  return [true, false].map((isFirst) => {
    const isIn = (id: MessageId) => first.has(id) === isFirst;
    return {
      kept: whole.kept.filter(isIn),
      failed: whole.failed.filter(isIn),
      previews: whole.previews.filter(({ id }) => isIn(id)),
      texts: whole.texts.filter(({ messageId }) => isIn(messageId)),
      blobs: whole.blobs.filter(({ messageId }) => isIn(messageId)),
    };
  });
}

async function* pendingGroups(keeper: Keeper, counts: { failed: number }, max = Number.POSITIVE_INFINITY): AsyncGenerator<Group> {
  const { db, mailbox } = keeper;
  let after: PendingPosition | undefined;
  for (let seen = 0; seen < max; ) {
    const pending = await listPendingContent(db, mailbox.id, { after, limit: Math.min(batchMax, max - seen) });
    const last = pending.at(-1);
    if (last === undefined) return;
    after = last;
    seen += pending.length;
    const homeless = pending.filter((message) => message.path === null).map(({ id }) => id);
    await saveFetchedContent(db, keeper.keyRing, mailbox, keeper.target, { kept: [], failed: homeless, previews: [], texts: [], blobs: [] });
    counts.failed += homeless.length;
    yield* groupsOf(
      pending.filter((message): message is Placed => message.path !== null && message.ref !== null),
      keeper.target,
    );
  }
}

type Group = readonly [Placed, ...Placed[]];

/** Messages of one folder that are asked for together; a large source stands alone. */
function groupsOf(messages: readonly Placed[], target: ContentTarget): readonly Group[] {
  const groups: [Placed, ...Placed[]][] = [];
  const open = new Map<string, { group: [Placed, ...Placed[]]; bytes: number }>();
  for (const message of messages) {
    if (isStreamed(message, target)) {
      groups.push([message]);
      continue;
    }
    const bytes = fetchedBytes(message, target);
    const last = open.get(message.path);
    if (last !== undefined && last.group.length < groupMax && last.bytes + bytes <= groupBytesMax) {
      last.group.push(message);
      last.bytes += bytes;
      continue;
    }
    const group: [Placed, ...Placed[]] = [message];
    groups.push(group);
    open.set(message.path, { group, bytes });
  }
  return groups;
}

function isStreamed(message: PendingContent, { content }: ContentTarget): boolean {
  return content === "full" && message.sizeBytes > sourceBytesMax;
}

/** About what a message adds to the answer of a FETCH. */
function fetchedBytes({ sizeBytes, textPart }: PendingContent, { content }: ContentTarget): number {
  if (content === "full") return sizeBytes;
  return Math.min(textPart?.encodedSizeBytes ?? 0, content === "text" ? sourceBytesMax : snippetPartBytesMax);
}

/** What the server gave of a group: whole sources, or the beginnings of texts. What it no longer has, or does not give, is in neither. */
interface Fetched {
  readonly sources?: ReadonlyMap<string, Buffer>;
  readonly texts?: ReadonlyMap<string, string>;
}

async function fetchGroup(keeper: Keeper, group: Group): Promise<Fetched> {
  const { provider, target, signal } = keeper;
  const scope = { path: group[0].path };
  try {
    if (target.content === "full" && !isStreamed(group[0], target)) {
      const refs = group.map(({ ref }) => ref);
      return { sources: await provider.fetchSources(scope, refs, signal) };
    }
    const bytesMax = target.content === "metadata" ? snippetBytes : textBytesMax;
    const wanted = group.filter((message) => isTextWanted(message, target));
    return { texts: await provider.fetchTexts(scope, wanted, { bytesMax, isBackground: true, signal }) };
  } catch (error) {
    if (!isMessagesOwn(error, provider)) throw error;
    return group.length === 1 || isGone(error) ? {} : fetchHalves(keeper, group);
  }
}

/** What came live has its line of preview, and is here for its attachments. */
function isTextWanted({ textPart, snippet }: PendingContent, { content }: ContentTarget): boolean {
  return textPart !== null && (content !== "metadata" || snippet === null);
}

/** A set that is refused as a whole is halved until the message that cannot be given stands alone. */
async function fetchHalves(keeper: Keeper, group: Group): Promise<Fetched> {
  const middle = Math.ceil(group.length / 2);
  const halves: Fetched[] = [];
  for (const half of [group.slice(0, middle), group.slice(middle)]) halves.push(await fetchGroup(keeper, half as unknown as Group));
  return {
    sources: new Map(halves.flatMap(({ sources = [] }) => [...sources])),
    texts: new Map(halves.flatMap(({ texts = [] }) => [...texts])),
  };
}

function isGone(error: unknown): boolean {
  return error instanceof MailError && error.code === "not_found";
}

/** What one message is kept of; undefined where its content could not be had. */
interface Kept {
  readonly preview: Preview | undefined;
  readonly text: MessageText | undefined;
  readonly blobs: readonly MessageBlob[];
}

/** Parses what was fetched of a group, and puts what is kept of it into the store. */
async function prepareGroup(keeper: Keeper, group: Group, fetched: Fetched): Promise<FetchedContent> {
  const { target, db } = keeper;
  const keys = new KeyPool();
  await announceBlobs(db, keys.reserve(group.reduce((count, message) => count + blobCount(message, target), 0)));
  const sources = group.flatMap((message) => {
    const source = fetched.sources?.get(message.ref);
    return source === undefined ? [] : [{ message, source }];
  });
  // Read on other threads while they are put. Awaited after that; until then a failure must not count as unhandled.
  const reading = readSources(keeper, sources);
  reading.catch(() => {});
  const entries = await putSources(keeper, sources, keys);
  const texts = await reading;
  const done = new Map(sources.map(({ message }, index) => [message.id, { entry: entries[index], text: texts[index] } as KeptSource]));
  const results = await mapAtMost(messagesMax, group, async (message) => {
    try {
      return await keepMessage(keeper, message, keys, fetched.texts?.get(message.ref), done.get(message.id));
    } catch (error) {
      if (isMessagesOwn(error, keeper.provider)) return undefined;
      throw error;
    }
  });
  const kept: MessageId[] = [];
  const failed: MessageId[] = [];
  for (const [index, result] of results.entries()) (result === undefined ? failed : kept).push((group[index] as Placed).id);
  const had = results.filter((result) => result !== undefined);
  return {
    kept,
    failed,
    previews: had.flatMap(({ preview }) => preview ?? []),
    texts: had.flatMap(({ text }) => text ?? []),
    blobs: had.flatMap(({ blobs }) => blobs),
  };
}

/** One message that is gone, or that the server cannot give, does not keep the others from being kept, as long as the connection lives. */
function isMessagesOwn(error: unknown, provider: MailProvider): boolean {
  if (!(error instanceof MailError) || !provider.isUsable()) return false;
  return error.code === "not_found" || error.code === "rejected" || error.code === "invalid_response";
}

interface FetchedSource {
  readonly message: Placed;
  readonly source: Buffer;
}

/** A source that is put, and what was read of it. */
interface KeptSource {
  readonly entry: VaultEntry;
  readonly text: ReadText;
}

async function readSources({ mailbox, signal }: Keeper, sources: readonly FetchedSource[]): Promise<readonly ReadText[]> {
  const messages = sources.map(({ message, source }): MessageToRead => {
    const { envelope, traits, snippet } = message;
    const attachments = message.attachments.map(({ fileName, isInline }) => ({ fileName, isInline }));
    return { source, searchable: { mailboxId: mailbox.id, receivedAt: message.receivedAt.toISOString(), envelope, attachments, traits, snippet } };
  });
  const options = { customerId: mailbox.customerId, charactersMax: textBytesMax, signal };
  const read = await Promise.all(slices(messages, readMax).map((some) => readTexts({ ...options, messages: some })));
  return read.flat();
}

async function putSources({ blobs, signal }: Keeper, sources: readonly FetchedSource[], keys: KeyPool): Promise<readonly VaultEntry[]> {
  const entries: VaultEntry[] = [];
  for (const some of slices(sources, putMax)) {
    const contents = some.map(({ source }) => ({ key: keys.take(), content: source }));
    entries.push(...(await putContents(blobs, contents, { signal })));
  }
  return entries;
}

function slices<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) => items.slice(index * size, (index + 1) * size));
}

async function keepMessage(
  keeper: Keeper,
  message: Placed,
  keys: KeyPool,
  beginning: string | undefined,
  source: KeptSource | undefined,
): Promise<Kept | undefined> {
  const { target, provider, blobs: store, signal, mailbox } = keeper;
  const scope = { path: message.path };
  const isSourceWanted = target.content === "full" && !isStreamed(message, target);
  if (isSourceWanted ? source === undefined : beginning === undefined && isTextWanted(message, target)) return undefined;
  const blobs: MessageBlob[] = [];
  const keep = async (part: string, contentType: string, content: AsyncIterable<Buffer>, sizeBytesMax?: number) => {
    const entry = await putContent(store, keys.take(), content, { signal, ...(sizeBytesMax === undefined ? {} : { sizeBytesMax }) });
    blobs.push({ ...entry, messageId: message.id, part, contentType });
  };
  if (source !== undefined) blobs.push({ ...source.entry, messageId: message.id, part: sourcePart, contentType: sourceType });
  else if (target.content === "full") await keep(sourcePart, sourceType, (await provider.openSource(scope, message.ref, signal)).stream);
  for (const attachment of wantedAttachments(message, target)) {
    const { stream } = await provider.openPart(scope, message.ref, attachment.part, signal);
    try {
      await keep(attachment.part, attachment.contentType, stream, target.attachmentBytesMax);
    } catch (error) {
      // The server told a smaller size than there is.
      if (!(error instanceof ContentTooLarge)) throw error;
    }
  }
  if (source !== undefined) {
    const { snippet, terms, ...text } = source.text;
    return { preview: { id: message.id, snippet, terms }, text: { messageId: message.id, ...text }, blobs };
  }
  if (target.content === "metadata") return { preview: previewOf(mailbox, message, beginning, null), text: undefined, blobs };
  const text = beginning ?? "";
  const isTruncated = Buffer.byteLength(text) >= textBytesMax - 3;
  return {
    preview: previewOf(mailbox, message, text, text),
    text: { messageId: message.id, text, isTruncated, reply: extractReply(text).reply },
    blobs,
  };
}

const sourceType = "message/rfc822";

/** The line of preview of a message that has none, and its words anew, with those of the text that is kept. Undefined where nothing is new. */
function previewOf(mailbox: WorkMailbox, message: PendingContent, beginning: string | undefined, text: string | null): Preview | undefined {
  const snippet = message.snippet ?? (makeSnippet(beginning ?? "") || null);
  if (snippet === message.snippet && text === null) return undefined;
  const searchable = { ...message, mailboxId: mailbox.id, receivedAt: message.receivedAt.toISOString(), snippet, text };
  return { id: message.id, snippet, terms: toTermVector(mailbox.customerId, searchable) };
}

function wantedAttachments({ attachments }: PendingContent, { attachmentBytesMax }: ContentTarget) {
  return attachments.filter(({ encodedSizeBytes }) => encodedSizeBytes <= attachmentBytesMax && attachmentBytesMax > 0);
}

function blobCount(message: PendingContent, target: ContentTarget): number {
  return (target.content === "full" ? 1 : 0) + wantedAttachments(message, target).length;
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
