import { type Cursor, end, sequenceSet, space } from "../parser.ts";
import { account, find, type Session, selected, writable } from "../session.ts";
import { removeMessages } from "../store.ts";

/** Removes what is marked \Deleted; what has gone is told like any other change, at the end of the command. */
export function expunge(session: Session, cursor: Cursor): string {
  end(cursor);
  const { folder, view } = writable(session);
  removeDeleted(
    session,
    view.filter((uid) => folder.messages.has(uid)),
  );
  return "EXPUNGE completed";
}

/** RFC 4315: only of these, so that another client's marks are left alone. */
export function uidExpunge(session: Session, cursor: Cursor): string {
  space(cursor);
  const set = sequenceSet(cursor);
  end(cursor);
  removeDeleted(
    session,
    find(writable(session), set, true).map((found) => found.uid),
  );
  return "UID EXPUNGE completed";
}

function removeDeleted(session: Session, uids: readonly number[]): void {
  const { folder } = selected(session);
  removeMessages(
    account(session),
    folder,
    uids.filter((uid) => folder.messages.get(uid)?.flags.includes("\\Deleted")),
  );
}
