import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export interface Message {
  readonly uid: number;
  readonly modseq: number;
  /** Name of the .eml file; copies share it. */
  readonly file: string;
  readonly size: number;
  /** INTERNALDATE, milliseconds. */
  readonly receivedAt: number;
  readonly flags: readonly string[];
}

export interface Folder {
  readonly id: string;
  path: string;
  readonly specialUse: string | undefined;
  readonly uidValidity: number;
  uidNext: number;
  /** HIGHESTMODSEQ: raised by every change, removals too. */
  modseq: number;
  /** Counts removals, so that a session sees at a glance whether it has any to tell. */
  removals: number;
  /** Ascending by UID, as Map keeps the order of insertion. */
  readonly messages: Map<number, Message>;
  /** Called after each change, by sessions in IDLE. */
  readonly listeners: Set<() => void>;
}

/** One person's mail: a directory with the sources as .eml files and a journal that says which folder holds which, under which UID and flags. */
export interface Account {
  readonly email: string;
  readonly directory: string;
  readonly folders: Map<string, Folder>;
  readonly subscriptions: Set<string>;
  readonly fileUses: Map<string, number>;
  uidValidityLast: number;
  journal: number;
}

export interface NewMessage {
  readonly source: Buffer;
  readonly flags: readonly string[];
  readonly receivedAt: number;
}

type StoredMessage = Omit<Message, "modseq">;

/** What the journal holds: each of its lines is an array of these, a transaction that happened as a whole or not at all. */
type Change =
  | { op: "folder"; id: string; path: string; specialUse?: string | undefined; uidValidity: number; uidNext: number; modseq: number }
  | { op: "rename"; id: string; path: string }
  | { op: "delete"; id: string }
  | { op: "subscribe"; path: string; on: boolean }
  | { op: "add"; id: string; modseq: number; messages: StoredMessage[] }
  | { op: "flags"; id: string; modseq: number; flags: [uid: number, flags: readonly string[]][] }
  | { op: "remove"; id: string; modseq: number; uids: number[] }
  | { op: "uidValidity"; last: number };

/** Opens or begins an account. Reading the journal also makes it short again, and drops a last line that a crash cut off. */
export function openAccount(directory: string, email: string): Account {
  mkdirSync(join(directory, "messages"), { recursive: true, mode: 0o700 });
  const account: Account = {
    email,
    directory,
    folders: new Map(),
    subscriptions: new Set(),
    fileUses: new Map(),
    uidValidityLast: 0,
    journal: -1,
  };
  const path = join(directory, "journal.jsonl");
  if (existsSync(path)) for (const transaction of readJournal(path)) for (const change of transaction) apply(account, change);
  writeFileSync(`${path}.new`, snapshot(account), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  account.journal = openSync(path, "a", 0o600);
  for (const file of readdirSync(join(directory, "messages"))) if (!account.fileUses.has(file)) rmSync(join(directory, "messages", file));
  return account;
}

export function closeAccount(account: Account): void {
  closeSync(account.journal);
}

/** Makes a folder, with its first messages in the same transaction: it is never seen half filled. */
export function createFolder(account: Account, path: string, specialUse?: string, first: readonly NewMessage[] = []): Folder {
  const uidValidity = Math.max(Math.floor(Date.now() / 1000), account.uidValidityLast + 1);
  const id = randomUUID();
  commit(account, [
    { op: "folder", id, path, specialUse, uidValidity, uidNext: 1, modseq: 1 },
    { op: "subscribe", path, on: true },
    ...(first.length === 0 ? [] : [{ op: "add" as const, id, modseq: 2, messages: storeSources(account, first, 1) }]),
  ]);
  return account.folders.get(path) as Folder;
}

export function deleteFolder(account: Account, folder: Folder): void {
  commit(account, [{ op: "delete", id: folder.id }]);
}

/** Renames each pair at once. */
export function renameFolders(account: Account, renames: readonly (readonly [Folder, string])[]): void {
  commit(
    account,
    renames.map(([folder, path]) => ({ op: "rename", id: folder.id, path })),
  );
}

export function setSubscribed(account: Account, path: string, on: boolean): void {
  commit(account, [{ op: "subscribe", path, on }]);
}

/** Files new messages and returns their UIDs. Once this returns, a killed process has them still. */
export function addMessages(account: Account, folder: Folder, added: readonly NewMessage[]): number[] {
  const messages = storeSources(account, added, folder.uidNext);
  commit(account, [{ op: "add", id: folder.id, modseq: folder.modseq + 1, messages }]);
  return messages.map((message) => message.uid);
}

/** Sets the flags of these messages; what is so already is no change and gets no new MODSEQ. */
export function setFlags(account: Account, folder: Folder, flags: readonly (readonly [Message, readonly string[]])[]): void {
  const changed = flags.filter(([message, next]) => message.flags.join(" ") !== next.join(" "));
  if (changed.length === 0) return;
  commit(account, [{ op: "flags", id: folder.id, modseq: folder.modseq + 1, flags: changed.map(([message, next]) => [message.uid, next]) }]);
}

export function removeMessages(account: Account, folder: Folder, uids: readonly number[]): void {
  if (uids.length > 0) commit(account, [{ op: "remove", id: folder.id, modseq: folder.modseq + 1, uids: [...uids] }]);
}

/** Copies, or with `isMove` moves, in one transaction: no crash leaves a message in both places or in none. Returns the new UIDs. */
export function copyMessages(account: Account, from: Folder, messages: readonly Message[], to: Folder, isMove: boolean): number[] {
  if (messages.length === 0) return [];
  const copies = messages.map(({ file, size, receivedAt, flags }, index) => ({ uid: to.uidNext + index, file, size, receivedAt, flags }));
  const changes: Change[] = [{ op: "add", id: to.id, modseq: to.modseq + 1, messages: copies }];
  // Moving within one folder is legal, and makes the removal the folder's second change.
  const removalModseq = from.modseq + (from === to ? 2 : 1);
  if (isMove) changes.push({ op: "remove", id: from.id, modseq: removalModseq, uids: messages.map((message) => message.uid) });
  commit(account, changes);
  return copies.map((copy) => copy.uid);
}

/** The source, one character per byte. A message that another session removes while this one reads it is empty. */
export function readSource(account: Account, message: Message): string {
  try {
    return readFileSync(sourcePath(account, message.file), "latin1");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** Whether the name is a folder or a level above one. */
export function hasFoldersBelow(account: Account, path: string): boolean {
  return [...account.folders.keys()].some((other) => other.startsWith(`${path}/`));
}

/** Writes the sources, which count for nothing until the journal speaks of them. */
function storeSources(account: Account, added: readonly NewMessage[], uidNext: number): StoredMessage[] {
  return added.map(({ source, flags, receivedAt }, index) => {
    const file = `${randomUUID()}.eml`;
    writeFileSync(sourcePath(account, file), source, { mode: 0o600 });
    return { uid: uidNext + index, file, size: source.length, receivedAt, flags };
  });
}

function commit(account: Account, changes: readonly Change[]): void {
  const line = Buffer.from(`${JSON.stringify(changes)}\n`);
  const sizeBefore = fstatSync(account.journal).size;
  try {
    for (let written = 0; written < line.length; ) written += writeSync(account.journal, line, written);
  } catch (error) {
    ftruncateSync(account.journal, sizeBefore); // a full disk must not leave half a line for others to be written behind
    throw error;
  }
  const touched = new Set<Folder>();
  const orphaned: string[] = [];
  for (const change of changes) {
    const { folder, files } = apply(account, change);
    if (folder !== undefined) touched.add(folder);
    orphaned.push(...files);
  }
  for (const file of orphaned) if (!account.fileUses.has(file)) rmSync(sourcePath(account, file), { force: true });
  for (const folder of touched) for (const listener of folder.listeners) listener();
}

/** The one place that changes an account, for what happens now and for what the journal tells. Names the files that lost a use. */
function apply(account: Account, change: Change): { folder?: Folder; files: string[] } {
  if (change.op === "folder") {
    const { id, path, specialUse, uidValidity, uidNext, modseq } = change;
    const folder: Folder = { id, path, specialUse, uidValidity, uidNext, modseq, removals: 0, messages: new Map(), listeners: new Set() };
    account.folders.set(path, folder);
    account.uidValidityLast = Math.max(account.uidValidityLast, uidValidity);
    return { files: [] };
  }
  if (change.op === "subscribe") {
    if (change.on) account.subscriptions.add(change.path);
    else account.subscriptions.delete(change.path);
    return { files: [] };
  }
  if (change.op === "uidValidity") {
    account.uidValidityLast = Math.max(account.uidValidityLast, change.last);
    return { files: [] };
  }
  const folder = [...account.folders.values()].find((candidate) => candidate.id === change.id);
  if (folder === undefined) throw new Error(`the journal of ${account.email} speaks of a folder ${change.id} that it never made`);
  switch (change.op) {
    case "rename":
      account.folders.delete(folder.path);
      folder.path = change.path;
      account.folders.set(change.path, folder);
      return { files: [] };
    case "delete": {
      account.folders.delete(folder.path);
      const files = [...folder.messages.values()].map((message) => release(account, message));
      folder.messages.clear();
      folder.removals += files.length;
      folder.modseq++;
      return { folder, files };
    }
    case "add":
      for (const message of change.messages) {
        folder.messages.set(message.uid, { ...message, modseq: change.modseq });
        folder.uidNext = Math.max(folder.uidNext, message.uid + 1);
        account.fileUses.set(message.file, (account.fileUses.get(message.file) ?? 0) + 1);
      }
      folder.modseq = change.modseq;
      return { folder, files: [] };
    case "flags":
      for (const [uid, flags] of change.flags) {
        const message = folder.messages.get(uid);
        if (message !== undefined) folder.messages.set(uid, { ...message, flags, modseq: change.modseq });
      }
      folder.modseq = change.modseq;
      return { folder, files: [] };
    case "remove": {
      const gone = change.uids.map((uid) => folder.messages.get(uid)).filter((message) => message !== undefined);
      for (const message of gone) folder.messages.delete(message.uid);
      folder.removals += gone.length;
      folder.modseq = change.modseq;
      return { folder, files: gone.map((message) => release(account, message)) };
    }
  }
}

function release(account: Account, message: Message): string {
  const uses = (account.fileUses.get(message.file) ?? 1) - 1;
  if (uses === 0) account.fileUses.delete(message.file);
  else account.fileUses.set(message.file, uses);
  return message.file;
}

function readJournal(path: string): Change[][] {
  const lines = readFileSync(path, "utf8").split("\n");
  lines.pop(); // after the last line end there is nothing, or what a crash cut off: it was never acknowledged
  return lines.map((line, index) => {
    try {
      return JSON.parse(line) as Change[];
    } catch (cause) {
      throw new Error(`line ${index + 1} of ${path} is damaged; move that directory away to begin with fresh sample mail`, { cause });
    }
  });
}

function snapshot(account: Account): string {
  const changes: Change[] = [{ op: "uidValidity", last: account.uidValidityLast }];
  for (const path of account.subscriptions) changes.push({ op: "subscribe", path, on: true });
  for (const folder of account.folders.values()) {
    const { id, path, specialUse, uidValidity, uidNext, modseq } = folder;
    changes.push({ op: "folder", id, path, specialUse, uidValidity, uidNext, modseq });
    for (const { modseq: messageModseq, ...message } of folder.messages.values())
      changes.push({ op: "add", id, modseq: messageModseq, messages: [message] });
    // "add" set the folder's MODSEQ to the message's; an empty removal sets it right again.
    changes.push({ op: "remove", id, modseq, uids: [] });
  }
  return changes.map((change) => `${JSON.stringify([change])}\n`).join("");
}

function sourcePath(account: Account, file: string): string {
  return join(account.directory, "messages", file);
}
