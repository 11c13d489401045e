import type { MailError } from "../../domain/errors.ts";
import type { FolderRole } from "../../domain/folder.ts";
import { type AttachmentInfo, type Envelope, emptyEnvelope, type Flags, type TextPart } from "../../domain/message.ts";
import { storable } from "../../mime/sanitise.ts";

/** What a test puts into a folder; everything else gets a plain value. */
export interface NewMessage {
  readonly envelope?: Partial<Envelope>;
  readonly flags?: Flags;
  readonly receivedAt?: string;
  readonly sizeBytes?: number;
  readonly text?: string;
  readonly source?: string;
  readonly attachments?: readonly AttachmentInfo[];
  /** The parts' content, decoded, by number. */
  readonly parts?: Readonly<Record<string, Buffer>>;
}

export interface StoredMessage {
  readonly uid: number;
  readonly envelope: Envelope;
  readonly receivedAt: string;
  readonly sizeBytes: number;
  readonly text: string;
  readonly source: string;
  readonly attachments: readonly AttachmentInfo[];
  readonly textPart: TextPart | null;
  readonly parts: ReadonlyMap<string, Buffer>;
  flags: Flags;
  /** Listed, and given to nobody. */
  isUnreadable: boolean;
  /** The mailbox's counter when the message last changed, as a MODSEQ. */
  modseq: number;
}

export interface StoredFolder {
  readonly path: string;
  /** Stays when the folder is renamed; told only by a mailbox that tells ids of folders. */
  readonly stableId: string;
  readonly role: FolderRole;
  uidValidity: number;
  uidNext: number;
  modseq: number;
  /** Reading this folder fails with this while it is set. */
  failure: MailError | undefined;
  readonly messages: Map<number, StoredMessage>;
}

/**
 * A mailbox in this process, with a server's semantics and a test's hand on it: what is done to it here is what a person or another mail program would do
 * at the server.
 */
export interface MemoryMailbox {
  readonly folders: Map<string, StoredFolder>;
  password: string;
  /** As a server with OBJECTID (RFC 8474): folders are listed with an id that stays. */
  tellsFolderIds: boolean;
  /** Every call fails with this while it is set: the server is gone, throttles, or has a new password. */
  failure: MailError | undefined;
  readonly listeners: Set<(path: string) => void>;
  /** Called before each question is answered: what another mail program does between two of them. */
  beforeAnswer: ((doing: string) => void) | undefined;
  append(path: string, message: NewMessage): number;
  setFlags(path: string, uid: number, flags: Flags): void;
  expunge(path: string, uids: readonly number[]): void;
  /** As COPY does it: everything of the message stays as it is, and it gets the target's next UID. */
  copy(path: string, uid: number, to: string): number;
  renameFolder(path: string, to: string): void;
  /** As MOVE does it; answers with the new UID. */
  move(path: string, uid: number, to: string): number;
  setUnreadable(path: string, uid: number, isUnreadable: boolean): void;
  createFolder(path: string, role?: FolderRole): void;
  /** What a server does that lost count: the same messages under new UIDs and a new UIDVALIDITY. */
  renumber(path: string): void;
  deleteFolder(path: string): void;
}

const mailboxes = new Map<string, MemoryMailbox>();

/** The mailbox of this name, made with an empty INBOX if it is not there yet. Every provider opened with the name sees the same one. */
export function memoryMailbox(name: string): MemoryMailbox {
  const found = mailboxes.get(name);
  if (found !== undefined) return found;
  const made = createMailbox();
  mailboxes.set(name, made);
  return made;
}

/** Forgets a mailbox: a test's clearing up. */
export function dropMemoryMailbox(name: string): void {
  mailboxes.delete(name);
}

/** As on a server, a folder made anew never gets the UIDVALIDITY of the one before. */
let lastUidValidity = 1_000;

function createMailbox(): MemoryMailbox {
  const folders = new Map<string, StoredFolder>();
  const listeners = new Set<(path: string) => void>();
  const announce = (path: string) => {
    for (const listener of listeners) listener(path);
  };
  const folderAt = (path: string): StoredFolder => {
    const folder = folders.get(path);
    if (folder === undefined) throw new Error(`the memory mailbox has no folder ${JSON.stringify(path)}`);
    return folder;
  };
  const mailbox: MemoryMailbox = {
    folders,
    listeners,
    password: "memory",
    tellsFolderIds: false,
    failure: undefined,
    beforeAnswer: undefined,
    append(path, message) {
      const folder = folderAt(path);
      const uid = folder.uidNext;
      folder.uidNext += 1;
      folder.modseq += 1;
      folder.messages.set(uid, toStored(uid, folder.modseq, message));
      announce(path);
      return uid;
    },
    setFlags(path, uid, flags) {
      const folder = folderAt(path);
      const message = folder.messages.get(uid);
      if (message === undefined) return;
      folder.modseq += 1;
      message.flags = flags.toSorted();
      message.modseq = folder.modseq;
      announce(path);
    },
    expunge(path, uids) {
      const folder = folderAt(path);
      folder.modseq += 1;
      for (const uid of uids) folder.messages.delete(uid);
      announce(path);
    },
    copy(path, uid, to) {
      const message = folderAt(path).messages.get(uid);
      if (message === undefined) throw new Error(`the memory mailbox has no message ${uid} in ${JSON.stringify(path)}`);
      const target = folderAt(to);
      const newUid = target.uidNext;
      target.uidNext += 1;
      target.modseq += 1;
      target.messages.set(newUid, { ...message, uid: newUid, modseq: target.modseq });
      announce(to);
      return newUid;
    },
    renameFolder(path, to) {
      const folder = folderAt(path);
      folders.delete(path);
      folders.set(to, { ...folder, path: to });
      for (const below of [...folders.keys()].filter((other) => other.startsWith(`${path}/`)))
        mailbox.renameFolder(below, `${to}${below.slice(path.length)}`);
      announce(path);
    },
    move(path, uid, to) {
      const newUid = mailbox.copy(path, uid, to);
      mailbox.expunge(path, [uid]);
      return newUid;
    },
    setUnreadable(path, uid, isUnreadable) {
      const message = folderAt(path).messages.get(uid);
      if (message !== undefined) message.isUnreadable = isUnreadable;
    },
    createFolder(path, role = "none") {
      if (folders.has(path)) return;
      lastUidValidity += 1;
      const stableId = `F${lastUidValidity}`;
      folders.set(path, { path, stableId, role, uidValidity: lastUidValidity, uidNext: 1, modseq: 1, failure: undefined, messages: new Map() });
    },
    renumber(path) {
      const folder = folderAt(path);
      lastUidValidity += 1;
      folder.uidValidity = lastUidValidity;
      const messages = [...folder.messages.values()];
      folder.messages.clear();
      for (const message of messages) {
        folder.messages.set(folder.uidNext, { ...message, uid: folder.uidNext });
        folder.uidNext += 1;
      }
      announce(path);
    },
    deleteFolder(path) {
      folders.delete(path);
      announce(path);
    },
  };
  mailbox.createFolder("INBOX", "inbox");
  return mailbox;
}

function toStored(uid: number, modseq: number, message: NewMessage): StoredMessage {
  const text = storable(message.text ?? "");
  const encodedSizeBytes = Buffer.byteLength(text);
  return {
    uid,
    modseq,
    text,
    isUnreadable: false,
    envelope: { ...emptyEnvelope, ...message.envelope },
    receivedAt: message.receivedAt ?? new Date().toISOString(),
    source: message.source ?? `Subject: ${message.envelope?.subject ?? ""}\r\n\r\n${text}`,
    sizeBytes: message.sizeBytes ?? encodedSizeBytes + 100,
    attachments: message.attachments ?? [],
    parts: new Map([...(text === "" ? [] : [["1", Buffer.from(text)] as const]), ...Object.entries(message.parts ?? {})]),
    textPart: text === "" ? null : { part: "1", contentType: "text/plain", charset: "utf-8", transferEncoding: "8bit", encodedSizeBytes },
    flags: message.flags?.toSorted() ?? [],
  };
}
