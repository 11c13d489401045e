import { messageBytesMax } from "../capabilities.ts";
import { bad, no } from "../failure.ts";
import { checkNewName, delimiter, fromWire, toWire } from "../mailbox-name.ts";
import { astring, atom, type Cursor, end, list as parenthesised, space } from "../parser.ts";
import { account, folderNamed, type Session, untagged } from "../session.ts";
import { copyMessages, createFolder, deleteFolder, type Folder, hasFoldersBelow, renameFolders, setSubscribed } from "../store.ts";

export function namespace(session: Session, cursor: Cursor): string {
  end(cursor);
  untagged(session, `NAMESPACE (("" "${delimiter}")) NIL NIL`);
  return "NAMESPACE completed";
}

export function status(session: Session, cursor: Cursor): string {
  space(cursor);
  const wire = astring(cursor);
  space(cursor);
  const items = statusItems(cursor);
  end(cursor);
  untagged(session, statusResponse(session, folderNamed(session, wire), items));
  return "STATUS completed";
}

export function createCommand(session: Session, cursor: Cursor): string {
  const path = checkNewName(fromWire(onlyName(cursor)));
  if (account(session).folders.has(path)) throw no("there is such a mailbox already", "ALREADYEXISTS");
  createFolder(account(session), path);
  return "CREATE completed";
}

/** A folder with others below it stays as a level without mail: LIST shows it as such because of them. */
export function deleteCommand(session: Session, cursor: Cursor): string {
  const folder = folderNamed(session, onlyName(cursor));
  if (folder.path === "INBOX") throw no("INBOX cannot be deleted", "CANNOT");
  deleteFolder(account(session), folder);
  return "DELETE completed";
}

export function rename(session: Session, cursor: Cursor): string {
  space(cursor);
  const from = fromWire(astring(cursor));
  space(cursor);
  const to = checkNewName(fromWire(astring(cursor)));
  end(cursor);
  const owner = account(session);
  const folder = owner.folders.get(from);
  if (folder === undefined && !hasFoldersBelow(owner, from)) throw no("there is no such mailbox", "NONEXISTENT");
  if (owner.folders.has(to) || to === "INBOX") throw no("there is such a mailbox already", "ALREADYEXISTS");
  if (to.startsWith(`${from}${delimiter}`)) throw no("a mailbox cannot go below itself", "CANNOT");
  if (folder?.path === "INBOX") {
    // INBOX itself stays, empty, and so do the folders below it (RFC 9051 §6.3.6).
    copyMessages(owner, folder, [...folder.messages.values()], createFolder(owner, to), true);
    return "RENAME completed, INBOX is empty";
  }
  const moved = [...owner.folders.values()].filter(({ path }) => path === from || path.startsWith(`${from}${delimiter}`));
  renameFolders(
    owner,
    moved.map((each) => [each, to + each.path.slice(from.length)]),
  );
  return "RENAME completed";
}

export function subscribe(session: Session, cursor: Cursor): string {
  const folder = folderNamed(session, onlyName(cursor));
  setSubscribed(account(session), folder.path, true);
  return "SUBSCRIBE completed";
}

export function unsubscribe(session: Session, cursor: Cursor): string {
  setSubscribed(account(session), fromWire(onlyName(cursor)), false);
  return "UNSUBSCRIBE completed";
}

const statusValues: Readonly<Record<string, (folder: Folder) => number>> = {
  MESSAGES: (folder) => folder.messages.size,
  RECENT: () => 0,
  UIDNEXT: (folder) => folder.uidNext,
  UIDVALIDITY: (folder) => folder.uidValidity,
  UNSEEN: (folder) => [...folder.messages.values()].filter((message) => !message.flags.includes("\\Seen")).length,
  DELETED: (folder) => [...folder.messages.values()].filter((message) => message.flags.includes("\\Deleted")).length,
  SIZE: (folder) => [...folder.messages.values()].reduce((sum, message) => sum + message.size, 0),
  HIGHESTMODSEQ: (folder) => folder.modseq,
  APPENDLIMIT: () => messageBytesMax,
};

/** `(MESSAGES UNSEEN …)`, checked; also behind LIST's RETURN (STATUS …). */
export function statusItems(cursor: Cursor): string[] {
  const items = parenthesised(cursor, (item) => atom(item).toUpperCase());
  const unknown = items.find((item) => !Object.hasOwn(statusValues, item));
  if (unknown !== undefined) throw bad(`${unknown.slice(0, 40)} is no status item`);
  return items;
}

export function statusResponse(session: Session, folder: Folder, items: readonly string[]): string {
  if (items.includes("HIGHESTMODSEQ")) session.isCondstore = true;
  return `STATUS ${toWire(folder.path)} (${items.map((item) => `${item} ${statusValues[item]?.(folder)}`).join(" ")})`;
}

function onlyName(cursor: Cursor): string {
  space(cursor);
  const wire = astring(cursor);
  end(cursor);
  return wire;
}
