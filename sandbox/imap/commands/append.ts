import { messageBytesMax } from "../capabilities.ts";
import { bad, no } from "../failure.ts";
import { astring, type Cursor, dateTime, end, flags as parseFlags, peek, space, stringBytes } from "../parser.ts";
import { account, folderNamed, type Session } from "../session.ts";
import { addMessages } from "../store.ts";
import { normaliseFlags } from "./store.ts";

export function append(session: Session, cursor: Cursor): string {
  space(cursor);
  const wire = astring(cursor);
  space(cursor);
  let flags: string[] = [];
  if (peek(cursor) === "(") {
    flags = parseFlags(cursor);
    space(cursor);
  }
  let receivedAt = Date.now();
  if (peek(cursor) === '"') {
    receivedAt = dateTime(cursor).getTime();
    space(cursor);
  }
  const source = stringBytes(cursor);
  if (source === undefined) throw bad("expected the message as a literal");
  end(cursor);
  const folder = folderNamed(session, wire, "TRYCREATE");
  if (source.length === 0) throw no("an empty message is none");
  if (source.length > messageBytesMax) throw no(`a message has at most ${messageBytesMax} bytes`, "TOOBIG");
  if (source.includes(0)) throw bad("a message has no NUL byte"); // not without BINARY (RFC 3516), which is not offered
  const [uid] = addMessages(account(session), folder, [{ source, flags: normaliseFlags(flags), receivedAt }]);
  return `[APPENDUID ${folder.uidValidity} ${uid}] APPEND completed`;
}
