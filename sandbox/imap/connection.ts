import type { Socket } from "node:net";
import { capabilities, messageBytesMax } from "./capabilities.ts";
import { type Command, commands } from "./commands/index.ts";
import { bad } from "./failure.ts";
import { atom, cursorOver, space, take } from "./parser.ts";
import { createReader, type RawCommand } from "./reader.ts";
import { drained, failureLine, type Session, tellChanges, tellNew, untagged, write } from "./session.ts";

/** Before the login a client gets a minute and small literals, after it the half hour that RFC 9051 §5.4 asks for. */
const strangerTimeoutMs = 60_000;
const clientTimeoutMs = 31 * 60_000;
const strangerLiteralBytesMax = 8_192;
/** A client that sends this many lines in a row that are no IMAP speaks another protocol. */
const rubbishMax = 20;

/** Serves one client until it logs out, vanishes, or falls silent. Never rejects. */
export async function serveConnection(socket: Socket, login: Session["login"], greeting: string): Promise<void> {
  const session: Session = {
    socket,
    reader: createReader(socket),
    login,
    account: undefined,
    selected: undefined,
    isCondstore: false,
    failedLogins: 0,
    isEnding: false,
  };
  socket.setNoDelay(true);
  socket.on("error", () => {}); // the reader sees the end of the stream
  socket.on("timeout", () => {
    untagged(session, "BYE too long without a word");
    socket.destroy();
  });
  socket.setTimeout(strangerTimeoutMs);
  untagged(session, `OK [CAPABILITY ${capabilities}] ${greeting}`);
  let rubbish = 0;
  while (!session.isEnding && rubbish < rubbishMax) {
    const raw = await session.reader.command(session.account === undefined ? strangerLiteralBytesMax : messageBytesMax + strangerLiteralBytesMax);
    if (raw === undefined) break;
    rubbish = (await answer(session, raw)) ? 0 : rubbish + 1;
    socket.setTimeout(session.account === undefined ? strangerTimeoutMs : clientTimeoutMs);
    await drained(session);
  }
  if (rubbish >= rubbishMax) untagged(session, "BYE this is no IMAP");
  session.selected = undefined;
  socket.end();
  // A client that keeps its half open after BYE is not waited for.
  setTimeout(() => socket.destroy(), 1_000).unref();
}

/** Runs one command and writes its tagged answer. False when it was not understood. */
async function answer(session: Session, raw: RawCommand): Promise<boolean> {
  const cursor = cursorOver(raw.text, raw.kind === "command" ? raw.literals : []);
  const tag = take(cursor, /[!#$&',-[\]^-z|}~]{1,100}(?= |$)/y)?.[0];
  if (tag === undefined) {
    untagged(session, "BAD a command begins with a tag");
    return false;
  }
  if (raw.kind === "refused") {
    write(session, raw.reason === "literal too large" ? `${tag} NO [TOOBIG] ${raw.reason}\r\n` : `${tag} BAD ${raw.reason}\r\n`);
    return raw.reason === "literal too large";
  }
  let allowsExpunge = true;
  let line: string;
  try {
    space(cursor);
    let name = atom(cursor).toUpperCase();
    if (name === "UID") {
      space(cursor);
      name = `UID ${atom(cursor).toUpperCase()}`;
    }
    const command: Command | undefined = commands.get(name);
    if (command === undefined) throw bad(`${name.slice(0, 40)} is not a command`);
    allowsExpunge = command.allowsExpunge ?? true;
    checkState(session, command);
    if (command.state === "selected") tellNew(session);
    line = `OK ${await command.run(session, cursor)}`;
  } catch (error) {
    line = failureLine(error);
  }
  tellChanges(session, allowsExpunge);
  write(session, `${tag} ${line}\r\n`);
  return !line.startsWith("BAD");
}

function checkState(session: Session, command: Command): void {
  if (command.state === "stranger" && session.account !== undefined) throw bad("you are logged in already");
  if ((command.state === "account" || command.state === "selected") && session.account === undefined) throw bad("log in first");
  if (command.state === "selected" && session.selected === undefined) throw bad("select a mailbox first");
}
