import { bad } from "../failure.ts";
import { type Cursor, end } from "../parser.ts";
import { type Session, tellChanges, untagged, write } from "../session.ts";

/** Keeps address translators awake, and finds out in time that a client is gone. */
const stillHereMs = 120_000;

/** RFC 2177: tells what changes as it changes, until the client says DONE. */
export async function idle(session: Session, cursor: Cursor): Promise<string> {
  end(cursor);
  const folder = session.selected?.folder;
  // What a client does not take waits in the folder, not in memory: it is told after `drain`.
  const tell = () => {
    if (!session.socket.writableNeedDrain) tellChanges(session, true);
  };
  write(session, "+ idling\r\n");
  tell();
  folder?.listeners.add(tell);
  session.socket.on("drain", tell);
  const stillHere = setInterval(() => untagged(session, "OK still here"), stillHereMs);
  try {
    const line = await session.reader.line();
    if (line !== undefined && line.toUpperCase() !== "DONE") throw bad("IDLE ends with DONE");
    return "IDLE completed";
  } finally {
    clearInterval(stillHere);
    folder?.listeners.delete(tell);
    session.socket.off("drain", tell);
  }
}
