import { Readable } from "node:stream";
import { z } from "zod";
import { MailError } from "../../domain/errors.ts";
import type { RemoteFolder } from "../../domain/folder.ts";
import type { RemoteMessage } from "../../domain/message.ts";
import type { FlagsChange, WriteRef, WriteResult, WriteScope, WriteTarget } from "../../domain/message-action.ts";
import type { ChangePage, FetchedMessages, RefRanges, ScopeState, SyncCursor, SyncScope } from "../../domain/sync.ts";
import type { AccountReport, MailProvider, OpenOptions, PageOptions, ProviderDefinition, WatchOptions } from "../provider.ts";
import { type MemoryMailbox, memoryMailbox, type StoredFolder, type StoredMessage } from "./store.ts";

export interface MemorySettings {
  /** Which mailbox of this process; providers opened with one name share it. */
  readonly mailbox: string;
}

export interface MemoryCredentials {
  readonly password: string;
}

const connectSchema = z.strictObject({ mailbox: z.string().min(1), password: z.string().min(1, "the password must not be empty").default("memory") });
const changeSchema = z.strictObject({ mailbox: z.string().min(1).optional(), password: z.string().min(1).optional() });

/** A provider without a network: the contract's reference, small enough to be read beside it, and the tests' fastest mailbox. */
export const memory: ProviderDefinition<MemorySettings, MemoryCredentials> = {
  kind: "memory",
  connectSchema,
  split(parsed) {
    const { mailbox, password } = connectSchema.parse(parsed);
    return { settings: { mailbox }, credentials: { password } };
  },
  merge(stored, changes) {
    const { mailbox, password } = changeSchema.parse(changes);
    return {
      settings: { mailbox: mailbox ?? stored.settings.mailbox },
      credentials: { password: password ?? stored.credentials.password },
    };
  },
  open,
  async test(settings, credentials, options, signal) {
    const provider = open(settings, credentials, options);
    const receiving = await provider.verify(signal).catch((error: unknown) => {
      if (error instanceof MailError) return error;
      throw error;
    });
    return { receiving, sending: undefined };
  },
};

const folderCursor = z.object({ uidValidity: z.number(), uidNext: z.number(), modseq: z.number(), exists: z.number() });
const historyCursor = z.object({ uidValidity: z.number(), below: z.number() });

function open(settings: MemorySettings, credentials: MemoryCredentials, options: OpenOptions): MailProvider {
  const mailbox = memoryMailbox(settings.mailbox);
  let isClosed = false;
  // Like a network, every answer comes later than the question, and an aborted question is never answered.
  const ask = async <T>(doing: string, signal: AbortSignal | undefined, answer: () => T): Promise<T> => {
    signal?.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    if (isClosed) throw new MailError("unavailable", { doing: `${doing} on a closed connection` });
    mailbox.beforeAnswer?.(doing);
    if (mailbox.failure !== undefined) throw mailbox.failure;
    if (mailbox.password !== credentials.password) throw new MailError("authentication_failed", { doing });
    return answer();
  };
  return {
    capabilities: { push: true, stableIds: false, connectionsMax: 10 },
    verify: (signal) => ask("signing in", signal, () => report(mailbox, settings, options)),
    listFolders: (signal) => ask("listing folders", signal, () => listFolders(mailbox, options)),
    checkScopes: (cursors, signal) => ask("asking whether folders changed", signal, () => checkScopes(mailbox, cursors)),
    pullChanges: (scope, cursor, page) => ask("reading a folder's changes", page.signal, () => pullChanges(folderAt(mailbox, scope), cursor, page)),
    pullHistory: (scope, cursor, page) =>
      ask("importing a folder", page.signal, () => {
        const folder = folderAt(mailbox, scope);
        const { uidValidity, below } = historyCursor.parse(cursor);
        if (folder.uidValidity !== uidValidity) throw new MailError("unavailable", { doing: "importing a folder that was made anew meanwhile" });
        const older = [...folder.messages.values()].filter((message) => message.uid < below).toReversed();
        const listed = older.slice(0, page.limit);
        return { ...read(listed), cursor: { uidValidity, below: listed.at(-1)?.uid ?? 1 }, more: older.length > listed.length };
      }),
    countMessages: (scope, receivedFrom, signal) =>
      ask("counting a folder", signal, () => {
        const messages = [...folderAt(mailbox, scope).messages.values()];
        return messages.filter(({ receivedAt }) => receivedFrom === undefined || Date.parse(receivedAt) >= receivedFrom.getTime()).length;
      }),
    fetchMessages: (scope, cursor, refs, signal) =>
      ask("reading messages again", signal, () => {
        const folder = folderAt(mailbox, scope);
        if (folder.uidValidity !== folderCursor.parse(cursor).uidValidity) return { messages: [], skipped: [] };
        return read(refs.flatMap((ref) => folder.messages.get(Number(ref)) ?? []));
      }),
    fetchTexts: (scope, messages, { bytesMax, signal }) =>
      ask("reading texts", signal, () => {
        const folder = folderAt(mailbox, scope);
        const texts = messages.flatMap(({ ref, textPart }) => {
          const text = textPart === null ? undefined : folder.messages.get(Number(ref))?.text;
          return text === undefined ? [] : [[ref, cutBytes(text, bytesMax)] as const];
        });
        return new Map(texts);
      }),
    openSource: (scope, ref, signal) =>
      ask("reading a message's source", signal, () => {
        const message = folderAt(mailbox, scope).messages.get(Number(ref));
        if (message === undefined) throw new MailError("not_found", { doing: "reading a message's source" });
        const bytes = Buffer.from(message.source);
        return { sizeBytes: bytes.length, stream: Readable.from([bytes], { objectMode: false }) };
      }),
    fetchSources: (scope, refs, signal) =>
      ask("reading sources", signal, () => {
        const { messages } = folderAt(mailbox, scope);
        return new Map(
          refs.flatMap((ref) => {
            const source = messages.get(Number(ref))?.source;
            return source === undefined ? [] : [[ref, Buffer.from(source)] as const];
          }),
        );
      }),
    openPart: (scope, ref, part, signal) =>
      ask("reading a message's part", signal, () => {
        const bytes = folderAt(mailbox, scope).messages.get(Number(ref))?.parts.get(part);
        if (bytes === undefined) throw new MailError("not_found", { doing: "reading a message's part" });
        return { stream: Readable.from([bytes], { objectMode: false }) };
      }),
    markFolder: (path, signal) => ask("looking where a folder ends", signal, () => ({ uidNext: folderAt(mailbox, { path }).uidNext })),
    setFlags: (scope, refs, change, signal) => ask("setting flags", signal, () => setFlags(mailbox, scope, refs, change)),
    move: (scope, messages, target, signal) =>
      ask("moving messages", signal, () => transfer(mailbox, scope, messages, target, (uid) => mailbox.expunge(scope.path, [uid]))),
    copy: (scope, messages, target, signal) => ask("copying messages", signal, () => transfer(mailbox, scope, messages, target, () => {})),
    remove: (scope, refs, signal) =>
      ask("deleting messages", signal, () =>
        forEachThere(mailbox, scope, refs, ({ uid }) => {
          mailbox.expunge(scope.path, [uid]);
          return {};
        }),
      ),
    createFolder: (path, signal) =>
      ask("creating a folder", signal, () => {
        if (mailbox.folders.has(path)) throw new MailError("folder_exists", { doing: "creating a folder" });
        mailbox.createFolder(path);
      }),
    renameFolder: (path, to, signal) =>
      ask("renaming a folder", signal, () => {
        folderAt(mailbox, { path });
        if (mailbox.folders.has(to)) throw new MailError("folder_exists", { doing: "renaming a folder" });
        mailbox.renameFolder(path, to);
      }),
    deleteFolder: (path, { force }, signal) =>
      ask("deleting a folder", signal, () => {
        const folder = folderAt(mailbox, { path });
        if (!force && folder.messages.size > 0) throw new MailError("folder_not_empty", { doing: "deleting a folder" });
        mailbox.deleteFolder(path);
      }),
    async watch(watchOptions) {
      if (watchOptions.signal.aborted) return;
      await ask("waiting for new mail", undefined, () => undefined);
      return watch(mailbox, watchOptions);
    },
    async yieldConnections() {},
    isUsable: () => !isClosed && mailbox.failure === undefined,
    async close() {
      isClosed = true;
    },
  };
}

function setFlags(mailbox: MemoryMailbox, scope: WriteScope, refs: readonly string[], { add, remove }: FlagsChange) {
  return forEachThere(mailbox, scope, refs, (message) => {
    const flags = [...new Set([...message.flags, ...add])].filter((flag) => !remove.includes(flag)).toSorted();
    if (flags.join(" ") !== message.flags.join(" ")) mailbox.setFlags(scope.path, message.uid, flags);
    return { flags };
  });
}

/** Copies, unless an earlier attempt did, and lets what was copied go. */
function transfer(
  mailbox: MemoryMailbox,
  scope: WriteScope,
  messages: readonly WriteRef[],
  target: WriteTarget,
  letGo: (uid: number) => void,
): ReadonlyMap<string, WriteResult<{ readonly ref: string | null }>> {
  const arrived = [...folderAt(mailbox, target).messages.values()].filter(({ uid }) => uid >= z.number().parse(target.mark.uidNext));
  const landed = (ref: WriteRef) =>
    target.isRepeat ? arrived.find(({ envelope, sizeBytes }) => envelope.messageId === ref.messageId && sizeBytes === ref.sizeBytes) : undefined;
  const results = new Map<string, WriteResult<{ readonly ref: string | null }>>();
  for (const message of messages) {
    const before = landed(message);
    const done = forEachThere(mailbox, scope, [message.ref], ({ uid }) => {
      const newUid = before?.uid ?? mailbox.copy(scope.path, uid, target.path);
      letGo(uid);
      return { ref: String(newUid) };
    });
    for (const [ref, result] of done)
      results.set(ref, result.state === "not_found" && before !== undefined ? { state: "done", ref: String(before.uid) } : result);
  }
  return results;
}

function forEachThere<Done>(
  mailbox: MemoryMailbox,
  scope: WriteScope,
  refs: readonly string[],
  change: (message: StoredMessage) => Done,
): ReadonlyMap<string, WriteResult<Done>> {
  const folder = folderAt(mailbox, scope);
  if (folderCursor.parse(scope.cursor).uidValidity !== folder.uidValidity) {
    throw new MailError("unavailable", { doing: "changing messages in a folder that was made anew meanwhile" });
  }
  return new Map(
    refs.map((ref): [string, WriteResult<Done>] => {
      const message = folder.messages.get(Number(ref));
      return [ref, message === undefined ? { state: "not_found" } : { state: "done", ...change(message) }];
    }),
  );
}

function folderAt(mailbox: MemoryMailbox, scope: SyncScope): StoredFolder {
  const folder = mailbox.folders.get(scope.path);
  if (folder === undefined) throw new MailError("not_found", { doing: "selecting a folder" });
  if (folder.failure !== undefined) throw folder.failure;
  return folder;
}

function report(mailbox: MemoryMailbox, settings: MemorySettings, options: OpenOptions): AccountReport {
  const inbox = [...(mailbox.folders.get("INBOX")?.messages.values() ?? [])];
  return {
    address: settings.mailbox,
    inbox: { total: inbox.length, unseen: inbox.filter((message) => !message.flags.includes("seen")).length },
    folders: listFolders(mailbox, options),
    serverCapabilities: ["IDLE"],
    serverName: "memory",
  };
}

function listFolders(mailbox: MemoryMailbox, { roleOverrides }: OpenOptions): readonly RemoteFolder[] {
  return [...mailbox.folders.values()].map(({ path, role, stableId }) => {
    const override = Object.hasOwn(roleOverrides, path) ? roleOverrides[path] : undefined;
    return {
      path,
      name: path.split("/").at(-1) ?? path,
      delimiter: "/",
      role: override ?? role,
      roleSource: override !== undefined ? "override" : role === "none" ? "none" : "server",
      selectable: true,
      isShared: false,
      stableId: mailbox.tellsFolderIds ? stableId : null,
    };
  });
}

function checkScopes(mailbox: MemoryMailbox, cursors: ReadonlyMap<string, SyncCursor>): readonly ScopeState[] {
  return [...cursors].flatMap(([path, cursor]) => {
    const folder = mailbox.folders.get(path);
    if (folder === undefined) return [];
    const unseen = [...folder.messages.values()].filter((message) => !message.flags.includes("seen")).length;
    return [{ path, changed: differs(folder, cursor), total: folder.messages.size, unseen, countsFlags: true }];
  });
}

function differs(folder: StoredFolder, cursor: SyncCursor): boolean {
  const known = folderCursor.parse(cursor);
  return known.uidValidity !== folder.uidValidity || known.modseq !== folder.modseq || known.exists !== folder.messages.size;
}

function pullChanges(folder: StoredFolder, cursor: SyncCursor | undefined, { limit, isThorough }: PageOptions): ChangePage {
  const { uidValidity, uidNext, modseq } = folder;
  const empty = { added: [], flagChanges: [], removed: [], skipped: [], present: undefined, historyCursor: undefined, total: folder.messages.size };
  const now = { uidValidity, uidNext, modseq, exists: folder.messages.size };
  const known = cursor === undefined ? undefined : folderCursor.parse(cursor);
  if (known === undefined || known.uidValidity !== uidValidity) {
    return { ...empty, cursor: now, more: false, reset: true, historyCursor: { uidValidity, below: uidNext } };
  }
  const messages = [...folder.messages.values()];
  const arrived = messages.filter((message) => message.uid >= known.uidNext);
  const added = arrived.slice(0, limit);
  if (added.length < arrived.length) {
    const next = { ...known, uidNext: (added.at(-1)?.uid ?? 0) + 1, exists: known.exists + added.length };
    return { ...empty, ...asAdded(read(added)), cursor: next, more: true, reset: false };
  }
  const flagChanges = messages.filter((message) => message.uid < known.uidNext && message.modseq > known.modseq);
  const isCountRight = isThorough !== true && known.exists + added.length === messages.length;
  return {
    ...empty,
    ...asAdded(read(added)),
    flagChanges: flagChanges.map(({ uid, flags }) => ({ ref: String(uid), flags })),
    present: isCountRight ? undefined : toRanges(messages.map((message) => message.uid)),
    cursor: now,
    more: false,
    reset: false,
  };
}

async function watch(mailbox: MemoryMailbox, options: WatchOptions): Promise<void> {
  const { signal, onChange, onAlive, checkEveryMs } = options;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const check = async () => {
    if (mailbox.failure !== undefined) return reject(mailbox.failure);
    const changed = checkScopes(mailbox, await options.knownCursors()).filter((state) => state.changed);
    if (signal.aborted) return;
    if (changed.length > 0) onChange(changed.map((state) => state.path));
    onAlive();
  };
  const onEvent = (path: string) => {
    if (path === options.scope.path) onChange([path]);
  };
  const checkOrFail = () => void check().catch(reject);
  mailbox.listeners.add(onEvent);
  const timer = setInterval(checkOrFail, checkEveryMs);
  signal.addEventListener("abort", () => resolve(), { once: true });
  checkOrFail();
  try {
    await promise;
  } finally {
    clearInterval(timer);
    mailbox.listeners.delete(onEvent);
  }
}

/** Messages as far as they can be read. */
function read(messages: readonly StoredMessage[]): FetchedMessages {
  return {
    messages: messages.filter(({ isUnreadable }) => !isUnreadable).map(toRemote),
    skipped: messages.filter(({ isUnreadable }) => isUnreadable).map(({ uid }) => ({ ref: String(uid), code: "unavailable", serverSaid: null })),
  };
}

function asAdded({ messages, skipped }: FetchedMessages): Pick<ChangePage, "added" | "skipped"> {
  return { added: messages, skipped };
}

function toRemote(message: StoredMessage): RemoteMessage {
  const { uid, envelope, flags, sizeBytes, receivedAt, attachments, textPart } = message;
  const meaning = { traits: [], defects: [], recipientsTotal: null };
  return { ref: String(uid), stableId: null, providerThreadId: null, envelope, flags, sizeBytes, receivedAt, attachments, textPart, ...meaning };
}

function toRanges(uids: readonly number[]): RefRanges {
  const ranges: [number, number][] = [];
  for (const uid of uids) {
    const last = ranges.at(-1);
    if (last !== undefined && uid === last[1] + 1) last[1] = uid;
    else ranges.push([uid, uid]);
  }
  return ranges;
}

function cutBytes(text: string, bytesMax: number): string {
  return new TextDecoder().decode(Buffer.from(text).subarray(0, bytesMax), { stream: true });
}
