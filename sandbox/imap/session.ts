import type { Socket } from "node:net";
import { bad, CommandFailure, no } from "./failure.ts";
import { fromWire } from "./mailbox-name.ts";
import type { NumberRange } from "./parser.ts";
import type { Reader } from "./reader.ts";
import type { Account, Folder, Message } from "./store.ts";

/** One connection. */
export interface Session {
  readonly socket: Socket;
  readonly reader: Reader;
  /** Finds the account that a login opens. */
  readonly login: (user: string, password: string) => Account | undefined;
  account: Account | undefined;
  selected: Selected | undefined;
  /** CONDSTORE is on: each FETCH that tells flags tells MODSEQ. */
  isCondstore: boolean;
  failedLogins: number;
  isEnding: boolean;
}

/**
 * The selected folder as this client knows it. Sequence numbers are places in `view`; what the folder has become meanwhile is told by comparing,
 * at the moments the protocol allows, so that a client that does not listen costs no memory.
 */
export interface Selected {
  readonly folder: Folder;
  readonly isReadOnly: boolean;
  /** UIDs, ascending; index + 1 is the sequence number. */
  readonly view: number[];
  toldModseq: number;
  toldRemovals: number;
  /** Flags told ahead, by STORE and FETCH, with the MODSEQ they were told at. */
  readonly toldFlags: Map<number, number>;
}

/** A message in the selected folder, with its sequence number. */
export interface Found {
  readonly sequence: number;
  readonly uid: number;
  /** Undefined when another session has removed it and this one was not told yet. */
  readonly message: Message | undefined;
}

export function write(session: Session, text: string): void {
  if (session.socket.writable) session.socket.write(text, "latin1");
}

export function untagged(session: Session, text: string): void {
  write(session, `* ${text}\r\n`);
}

/** Waits until the client has taken most of what was written, or is gone. */
export async function drained(session: Session): Promise<void> {
  const { socket } = session;
  if (!socket.writableNeedDrain || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done);
    socket.on("close", done);
  });
}

export function account(session: Session): Account {
  if (session.account === undefined) throw bad("log in first");
  return session.account;
}

export function selected(session: Session): Selected {
  if (session.selected === undefined) throw bad("select a mailbox first");
  return session.selected;
}

export function writable(session: Session): Selected {
  const state = selected(session);
  if (state.isReadOnly) throw no("the mailbox is open for reading only", "READ-ONLY");
  return state;
}

/** The folder that a name from the wire stands for; without one NO, with the code that the command asks for. */
export function folderNamed(session: Session, wire: string, code: "NONEXISTENT" | "TRYCREATE" = "NONEXISTENT"): Folder {
  const folder = account(session).folders.get(fromWire(wire));
  if (folder === undefined) throw no("there is no such mailbox", code);
  return folder;
}

/** The messages that a set names, in order, each once. UIDs that do not exist are passed over; sequence numbers that do not are an error. */
export function find(state: Selected, ranges: readonly NumberRange[], byUid: boolean): Found[] {
  const { view, folder } = state;
  const chosen = new Set<number>();
  for (const [from, to] of ranges) {
    const [first, last] = byUid ? uidRange(view, from, to) : sequenceRange(view, from, to);
    for (let index = first; index <= last; index++) chosen.add(index);
  }
  return [...chosen]
    .sort((a, b) => a - b)
    .map((index) => {
      const uid = view[index] as number;
      return { sequence: index + 1, uid, message: folder.messages.get(uid) };
    });
}

/** Where a UID stands in the view, or would. */
export function indexOfUid(view: readonly number[], uid: number): number {
  let low = 0;
  let high = view.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((view[middle] as number) < uid) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Tells the client what has changed in its folder: flags, new messages and, where the protocol allows it (not while the client may be counting
 * by sequence number, RFC 9051 §7.5.1), removals.
 */
export function tellChanges(session: Session, allowsExpunge: boolean): void {
  const state = session.selected;
  if (state === undefined) return;
  const { folder, view } = state;
  if (allowsExpunge && state.toldRemovals !== folder.removals) {
    // From the end, so that each number is the one the client has at that moment.
    for (let index = view.length - 1; index >= 0; index--) {
      if (folder.messages.has(view[index] as number)) continue;
      view.splice(index, 1);
      untagged(session, `${index + 1} EXPUNGE`);
    }
    state.toldRemovals = folder.removals;
  }
  if (state.toldModseq === folder.modseq) return;
  const uidLast = view.at(-1) ?? 0;
  const sizeBefore = view.length;
  for (const message of folder.messages.values()) {
    if (message.uid > uidLast) view.push(message.uid);
    else if (message.modseq > state.toldModseq && (state.toldFlags.get(message.uid) ?? 0) < message.modseq) {
      untagged(session, `${indexOfUid(view, message.uid) + 1} FETCH (${flagsItems(session, message).join(" ")})`);
    }
  }
  if (view.length > sizeBefore) untagged(session, `${view.length} EXISTS`);
  state.toldModseq = folder.modseq;
  state.toldFlags.clear();
}

/**
 * Tells of new messages only, before a command looks at the folder, so that it sees them: nothing a client has counted moves by that. Their flags
 * are nothing to tell, as a client asks for those when it hears of a message.
 */
export function tellNew(session: Session): void {
  const state = session.selected;
  if (state === undefined || state.toldModseq === state.folder.modseq) return;
  const uidLast = state.view.at(-1) ?? 0;
  const added = [...state.folder.messages.values()].filter((message) => message.uid > uidLast);
  for (const message of added) {
    state.view.push(message.uid);
    state.toldFlags.set(message.uid, message.modseq);
  }
  if (added.length > 0) untagged(session, `${state.view.length} EXISTS`);
}

/** The items by which a change of flags is told. */
export function flagsItems(session: Session, message: Message): string[] {
  const items = [`UID ${message.uid}`, `FLAGS (${message.flags.join(" ")})`];
  return session.isCondstore ? [...items, `MODSEQ (${message.modseq})`] : items;
}

/** Turns what a handler threw into the tagged line's status; anything but a CommandFailure is a fault of ours and says so. */
export function failureLine(error: unknown): string {
  if (error instanceof CommandFailure) return `${error.status} ${error.code === undefined ? "" : `[${error.code}] `}${error.message}`;
  process.stderr.write(`sandbox: ${error instanceof Error ? error.stack : String(error)}\n`);
  return "NO [SERVERBUG] the sandbox failed at this command";
}

function uidRange(view: readonly number[], from: number, to: number): [number, number] {
  const uidLast = view.at(-1) ?? 0;
  const low = Math.min(from, to === Number.POSITIVE_INFINITY ? uidLast : from);
  const high = to === Number.POSITIVE_INFINITY ? uidLast : to;
  return [indexOfUid(view, low), indexOfUid(view, high + 1) - 1];
}

function sequenceRange(view: readonly number[], from: number, to: number): [number, number] {
  const low = from === Number.POSITIVE_INFINITY ? view.length : from;
  const isOpen = to === Number.POSITIVE_INFINITY;
  if (low > view.length && !isOpen) throw bad(`there are only ${view.length} messages`);
  return [Math.max(Math.min(low, view.length) - 1, 0), (isOpen ? view.length : Math.min(to, view.length)) - 1];
}
