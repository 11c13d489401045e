import { bad } from "../failure.ts";
import { delimiter, fromWire, matchesPattern, toWire } from "../mailbox-name.ts";
import { astring, atom, type Cursor, end, listMailbox, list as parenthesised, peek, space, takeIf } from "../parser.ts";
import { account, type Session, untagged } from "../session.ts";
import type { Account } from "../store.ts";
import { statusItems, statusResponse } from "./folders.ts";

/** LIST with the selection and return options of RFC 5258, 5819 and 6154. */
export function list(session: Session, cursor: Cursor): string {
  space(cursor);
  const selection = peek(cursor) === "(" ? options(cursor, ["SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"]) : undefined;
  if (selection !== undefined) space(cursor);
  const reference = fromWire(astring(cursor));
  space(cursor);
  const patterns = peek(cursor) === "(" ? parenthesised(cursor, listMailbox) : [listMailbox(cursor)];
  const returns = takeIf(cursor, " ") ? returnOptions(cursor) : { names: [], status: undefined };
  end(cursor);
  if (selection?.includes("RECURSIVEMATCH") && !selection.some((name) => name === "SUBSCRIBED" || name === "SPECIAL-USE")) {
    throw bad("RECURSIVEMATCH needs another selection option");
  }
  if (patterns.every((pattern) => pattern === "")) {
    untagged(session, `LIST (\\Noselect) "${delimiter}" ""`);
    return "LIST completed";
  }
  const owner = account(session);
  const isChosen = (path: string) =>
    (!selection?.includes("SUBSCRIBED") || owner.subscriptions.has(path)) &&
    (!selection?.includes("SPECIAL-USE") || owner.folders.get(path)?.specialUse !== undefined);
  const tellsSubscribed = returns.names.includes("SUBSCRIBED") || selection?.includes("SUBSCRIBED");
  const names = namesOf(owner, selection?.includes("SUBSCRIBED") ?? false);
  for (const path of names) {
    if (!patterns.some((pattern) => matchesPattern(path, fromWire(reference + pattern)))) continue;
    const chosenBelow =
      selection?.includes("RECURSIVEMATCH") && [...names].some((other) => other.startsWith(`${path}${delimiter}`) && isChosen(other));
    if (!isChosen(path) && !chosenBelow) continue;
    const attributes = attributesOf(owner, path);
    if (tellsSubscribed && owner.subscriptions.has(path)) attributes.push("\\Subscribed");
    const childInfo = chosenBelow && selection?.includes("SUBSCRIBED") ? ' (CHILDINFO ("SUBSCRIBED"))' : "";
    untagged(session, `LIST (${attributes.join(" ")}) "${delimiter}" ${toWire(path)}${childInfo}`);
    const folder = owner.folders.get(path);
    if (returns.status !== undefined && folder !== undefined) untagged(session, statusResponse(session, folder, returns.status));
  }
  return "LIST completed";
}

/** The old form: subscribed names, and with `%` the levels above them. */
export function lsub(session: Session, cursor: Cursor): string {
  space(cursor);
  const reference = fromWire(astring(cursor));
  space(cursor);
  const pattern = fromWire(reference + listMailbox(cursor));
  end(cursor);
  const { subscriptions } = account(session);
  const shown = new Map<string, string>();
  for (const path of subscriptions) {
    if (matchesPattern(path, pattern)) shown.set(path, "");
    else if (pattern.endsWith("%"))
      for (const above of levelsAbove(path)) if (matchesPattern(above, pattern) && !shown.has(above)) shown.set(above, "\\Noselect");
  }
  for (const [path, attribute] of shown) untagged(session, `LSUB (${subscriptions.has(path) ? "" : attribute}) "${delimiter}" ${toWire(path)}`);
  return "LSUB completed";
}

function options(cursor: Cursor, known: readonly string[]): string[] {
  const names = parenthesised(cursor, (item) => atom(item).toUpperCase());
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw bad(`${unknown.slice(0, 40)} is no option of LIST`);
  return names;
}

function returnOptions(cursor: Cursor): { names: string[]; status: string[] | undefined } {
  if (atom(cursor).toUpperCase() !== "RETURN") throw bad("expected RETURN");
  space(cursor);
  let status: string[] | undefined;
  const names = parenthesised(cursor, (item) => {
    const name = atom(item).toUpperCase();
    if (name === "STATUS") {
      space(item);
      status = statusItems(item);
    } else if (!["SUBSCRIBED", "CHILDREN", "SPECIAL-USE"].includes(name)) throw bad(`${name.slice(0, 40)} is no option of RETURN`);
    return name;
  });
  return { names, status };
}

/** Every folder and every level above one, INBOX first. Subscriptions outlive their folders, so those count where they are asked for. */
function namesOf(owner: Account, withSubscriptions: boolean): string[] {
  const names = new Set(owner.folders.keys());
  if (withSubscriptions) for (const path of owner.subscriptions) names.add(path);
  for (const path of [...names]) for (const above of levelsAbove(path)) names.add(above);
  return [...names].sort((a, b) => (a === "INBOX" ? -1 : b === "INBOX" ? 1 : a < b ? -1 : 1));
}

function levelsAbove(path: string): string[] {
  const parts = path.split(delimiter);
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join(delimiter));
}

function attributesOf(owner: Account, path: string): string[] {
  const folder = owner.folders.get(path);
  const hasChildren = [...owner.folders.keys()].some((other) => other.startsWith(`${path}${delimiter}`));
  const attributes = [hasChildren ? "\\HasChildren" : "\\HasNoChildren"];
  if (folder === undefined) attributes.push("\\NonExistent", "\\Noselect");
  if (folder?.specialUse !== undefined) attributes.push(folder.specialUse);
  return attributes;
}
