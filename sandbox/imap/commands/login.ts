import { capabilities } from "../capabilities.ts";
import { bad, no } from "../failure.ts";
import { astring, atom, type Cursor, end, list, peek, space, stringBytes, take, takeIf } from "../parser.ts";
import { type Session, untagged, write } from "../session.ts";

const failedLoginsMax = 10;

export function capability(session: Session, cursor: Cursor): string {
  end(cursor);
  untagged(session, `CAPABILITY ${capabilities}`);
  return "CAPABILITY completed";
}

/** Also CHECK: what has changed is told after every command anyway. */
export function noop(_session: Session, cursor: Cursor): string {
  end(cursor);
  return "completed";
}

export function logout(session: Session, cursor: Cursor): string {
  end(cursor);
  session.selected = undefined;
  session.isEnding = true;
  untagged(session, "BYE until next time");
  return "LOGOUT completed";
}

/** RFC 2971. What the client says of itself is read and forgotten. */
export function id(session: Session, cursor: Cursor): string {
  space(cursor);
  if (take(cursor, /NIL/iy) === undefined) {
    list(cursor, (item) => {
      if (stringBytes(item) === undefined && take(item, /NIL/iy) === undefined) throw bad("ID takes strings and NIL");
    });
  }
  end(cursor);
  untagged(session, 'ID ("name" "Everpost sandbox" "vendor" "Everpost")');
  return "ID completed";
}

export function login(session: Session, cursor: Cursor): string {
  space(cursor);
  const user = astring(cursor);
  space(cursor);
  const password = astring(cursor);
  end(cursor);
  return open(session, user, password);
}

/** PLAIN (RFC 4616), with or without an initial response (RFC 4959). */
export async function authenticate(session: Session, cursor: Cursor): Promise<string> {
  space(cursor);
  const mechanism = atom(cursor).toUpperCase();
  const initial = takeIf(cursor, " ") ? (take(cursor, /[A-Za-z0-9+/=]+/y)?.[0] ?? "*") : undefined;
  end(cursor);
  if (mechanism !== "PLAIN") throw no("only PLAIN is offered", "CANNOT");
  if (initial === undefined) write(session, "+ \r\n");
  const response = initial ?? (await session.reader.line()) ?? "*";
  if (response === "*" || !/^[A-Za-z0-9+/]*={0,2}$/.test(response)) throw bad("the authentication was cancelled or is not base64");
  const [authorisation, user, password, ...rest] = Buffer.from(response, "base64").toString("utf8").split("\0");
  if (user === undefined || password === undefined || rest.length > 0) throw bad("PLAIN takes three parts, set apart by NUL");
  if (authorisation !== "" && authorisation !== user) throw no("nobody may act for another", "AUTHORIZATIONFAILED");
  return open(session, user, password);
}

/** RFC 5161: names only what was switched on; the unknown is passed over. */
export function enable(session: Session, cursor: Cursor): string {
  const enabled: string[] = [];
  do {
    space(cursor);
    if (atom(cursor).toUpperCase() !== "CONDSTORE") continue;
    session.isCondstore = true;
    enabled.push(" CONDSTORE");
  } while (peek(cursor) !== "");
  untagged(session, `ENABLED${enabled.slice(0, 1).join("")}`);
  return "ENABLE completed";
}

function open(session: Session, user: string, password: string): string {
  session.account = session.login(user, password);
  if (session.account === undefined) {
    session.failedLogins++;
    if (session.failedLogins >= failedLoginsMax) session.isEnding = true;
    throw no("unknown user or wrong password", "AUTHENTICATIONFAILED");
  }
  return `[CAPABILITY ${capabilities}] logged in`;
}
