import type { Cursor } from "../parser.ts";
import type { Session } from "../session.ts";
import { append } from "./append.ts";
import { copy, move } from "./copy.ts";
import { expunge, uidExpunge } from "./expunge.ts";
import { fetch } from "./fetch.ts";
import { createCommand, deleteCommand, namespace, rename, status, subscribe, unsubscribe } from "./folders.ts";
import { idle } from "./idle.ts";
import { list, lsub } from "./list.ts";
import { authenticate, capability, enable, id, login, logout, noop } from "./login.ts";
import { search } from "./search.ts";
import { close, examine, select, unselect } from "./select.ts";
import { store } from "./store.ts";

/** One verb of the protocol. */
export interface Command {
  /** When it may be used: before the login only, at any time, after it, or with a folder selected. */
  readonly state: "stranger" | "any" | "account" | "selected";
  /** False where the client may be counting by sequence number while this runs, so that removals have to wait. */
  readonly allowsExpunge?: boolean;
  /** Reads its arguments, which begin with the space before them, and returns what stands after OK. */
  readonly run: (session: Session, cursor: Cursor) => string | Promise<string>;
}

export const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ["CAPABILITY", { state: "any", run: capability }],
  ["NOOP", { state: "any", run: noop }],
  ["CHECK", { state: "selected", run: noop }],
  ["LOGOUT", { state: "any", run: logout }],
  ["ID", { state: "any", run: id }],
  ["LOGIN", { state: "stranger", run: login }],
  ["AUTHENTICATE", { state: "stranger", run: authenticate }],
  ["ENABLE", { state: "account", run: enable }],
  ["NAMESPACE", { state: "account", run: namespace }],
  ["LIST", { state: "account", run: list }],
  ["LSUB", { state: "account", run: lsub }],
  ["STATUS", { state: "account", run: status }],
  ["CREATE", { state: "account", run: createCommand }],
  ["DELETE", { state: "account", run: deleteCommand }],
  ["RENAME", { state: "account", run: rename }],
  ["SUBSCRIBE", { state: "account", run: subscribe }],
  ["UNSUBSCRIBE", { state: "account", run: unsubscribe }],
  ["APPEND", { state: "account", run: append }],
  ["IDLE", { state: "account", run: idle }],
  ["SELECT", { state: "account", run: select }],
  ["EXAMINE", { state: "account", run: examine }],
  ["CLOSE", { state: "selected", run: close }],
  ["UNSELECT", { state: "selected", run: unselect }],
  ["FETCH", { state: "selected", allowsExpunge: false, run: (session, cursor) => fetch(session, cursor, false) }],
  ["UID FETCH", { state: "selected", run: (session, cursor) => fetch(session, cursor, true) }],
  ["STORE", { state: "selected", allowsExpunge: false, run: (session, cursor) => store(session, cursor, false) }],
  ["UID STORE", { state: "selected", run: (session, cursor) => store(session, cursor, true) }],
  ["SEARCH", { state: "selected", allowsExpunge: false, run: (session, cursor) => search(session, cursor, false) }],
  ["UID SEARCH", { state: "selected", run: (session, cursor) => search(session, cursor, true) }],
  ["COPY", { state: "selected", run: (session, cursor) => copy(session, cursor, false) }],
  ["UID COPY", { state: "selected", run: (session, cursor) => copy(session, cursor, true) }],
  ["MOVE", { state: "selected", run: (session, cursor) => move(session, cursor, false) }],
  ["UID MOVE", { state: "selected", run: (session, cursor) => move(session, cursor, true) }],
  ["EXPUNGE", { state: "selected", run: expunge }],
  ["UID EXPUNGE", { state: "selected", run: uidExpunge }],
]);
