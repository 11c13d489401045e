import { numberSet } from "../encode.ts";
import { no } from "../failure.ts";
import { astring, type Cursor, end, sequenceSet, space } from "../parser.ts";
import { account, find, folderNamed, type Session, selected, untagged, writable } from "../session.ts";
import { copyMessages } from "../store.ts";

export function copy(session: Session, cursor: Cursor, byUid: boolean): string {
  const code = transfer(session, cursor, byUid, false);
  return `${code === undefined ? "" : `[${code}] `}COPY completed`;
}

/** RFC 6851: the new UIDs are told before the old messages are, in a line of their own. */
export function move(session: Session, cursor: Cursor, byUid: boolean): string {
  writable(session);
  const code = transfer(session, cursor, byUid, true);
  if (code !== undefined) untagged(session, `OK [${code}] moved`);
  return "MOVE completed";
}

/** Returns COPYUID (RFC 4315), or nothing where no message was named. */
function transfer(session: Session, cursor: Cursor, byUid: boolean, isMove: boolean): string | undefined {
  space(cursor);
  const set = sequenceSet(cursor);
  space(cursor);
  const wire = astring(cursor);
  end(cursor);
  const state = selected(session);
  const to = folderNamed(session, wire, "TRYCREATE");
  const found = find(state, set, byUid).map(({ message }) => message);
  const messages = found.filter((message) => message !== undefined);
  if (messages.length < found.length && !byUid) throw no("some of the messages are gone", "EXPUNGEISSUED");
  const uids = copyMessages(account(session), state.folder, messages, to, isMove);
  if (uids.length === 0) return undefined;
  return `COPYUID ${to.uidValidity} ${numberSet(messages.map((message) => message.uid))} ${numberSet(uids)}`;
}
