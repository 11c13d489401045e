import { bad } from "../failure.ts";
import { astring, atom, type Cursor, end, list as parenthesised, space, takeIf } from "../parser.ts";
import { folderNamed, type Session, selected, untagged } from "../session.ts";
import { removeMessages } from "../store.ts";

export const select = (session: Session, cursor: Cursor): string => open(session, cursor, false);
export const examine = (session: Session, cursor: Cursor): string => open(session, cursor, true);

export function unselect(session: Session, cursor: Cursor): string {
  end(cursor);
  session.selected = undefined;
  return "UNSELECT completed";
}

/** Removes what is marked \Deleted and tells nobody here of it: the client has left the folder. */
export function close(session: Session, cursor: Cursor): string {
  end(cursor);
  const { folder, isReadOnly } = selected(session);
  session.selected = undefined;
  const deleted = [...folder.messages.values()].filter((message) => message.flags.includes("\\Deleted"));
  if (!isReadOnly && session.account !== undefined)
    removeMessages(
      session.account,
      folder,
      deleted.map((message) => message.uid),
    );
  return "CLOSE completed";
}

function open(session: Session, cursor: Cursor, isReadOnly: boolean): string {
  space(cursor);
  const wire = astring(cursor);
  if (takeIf(cursor, " ")) {
    const parameters = parenthesised(cursor, atom).map((parameter) => parameter.toUpperCase());
    if (parameters.some((parameter) => parameter !== "CONDSTORE")) throw bad("the only parameter is CONDSTORE");
    if (parameters.length > 0) session.isCondstore = true;
  }
  end(cursor);
  const wasSelected = session.selected !== undefined;
  session.selected = undefined; // also when the new one is not to be had (RFC 9051 §6.3.2)
  const folder = folderNamed(session, wire);
  if (wasSelected) untagged(session, "OK [CLOSED] the mailbox before is closed");

  const messages = [...folder.messages.values()];
  const keywords = new Set(messages.flatMap((message) => message.flags.filter((flag) => !flag.startsWith("\\"))));
  const flags = ["\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft", ...keywords].join(" ");
  const unseen = messages.findIndex((message) => !message.flags.includes("\\Seen"));
  untagged(session, `FLAGS (${flags})`);
  untagged(session, isReadOnly ? "OK [PERMANENTFLAGS ()] nothing can be changed" : `OK [PERMANENTFLAGS (${flags} \\*)] and keywords of your own`);
  untagged(session, `${messages.length} EXISTS`);
  untagged(session, "0 RECENT");
  if (unseen !== -1) untagged(session, `OK [UNSEEN ${unseen + 1}] the first unseen`);
  untagged(session, `OK [UIDVALIDITY ${folder.uidValidity}] UIDs are valid`);
  untagged(session, `OK [UIDNEXT ${folder.uidNext}] the next UID`);
  untagged(session, `OK [HIGHESTMODSEQ ${folder.modseq}] the latest change`);
  session.selected = {
    folder,
    isReadOnly,
    view: messages.map((message) => message.uid),
    toldModseq: folder.modseq,
    toldRemovals: folder.removals,
    toldFlags: new Map(),
  };
  return isReadOnly ? "[READ-ONLY] EXAMINE completed" : "[READ-WRITE] SELECT completed";
}
