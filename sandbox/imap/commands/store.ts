import { numberSet } from "../encode.ts";
import { bad, no } from "../failure.ts";
import { atom, type Cursor, end, expect, number, flags as parseFlags, sequenceSet, space, take, takeIf } from "../parser.ts";
import { account, find, flagsItems, type Session, untagged, writable } from "../session.ts";
import { type Message, setFlags } from "../store.ts";

const keywordsMax = 50;

export function store(session: Session, cursor: Cursor, byUid: boolean): string {
  space(cursor);
  const set = sequenceSet(cursor);
  space(cursor);
  const unchangedSince = modifier(cursor);
  const action = take(cursor, /([+-]?)FLAGS(\.SILENT)?(?= )/iy);
  if (action === undefined) throw bad("expected FLAGS, +FLAGS or -FLAGS");
  space(cursor);
  const given = parseFlags(cursor);
  end(cursor);
  const state = writable(session);
  if (unchangedSince !== undefined) session.isCondstore = true;

  const found = find(state, set, byUid);
  const present = found.map(({ message }) => message).filter((message) => message !== undefined);
  const chosen = present.filter((message) => unchangedSince === undefined || message.modseq <= unchangedSince);
  const chosenUids = new Set(chosen.map((message) => message.uid));
  const next = chosen.map((message) => [message, changed(message.flags, action[1] ?? "", given)] as const);
  const isSilent = action[2] !== undefined;
  // Another session's change that this client has not heard of yet is not silenced.
  const known = new Set(chosen.filter((message) => message.modseq <= state.toldModseq).map((message) => message.uid));
  setFlags(account(session), state.folder, next);
  for (const { sequence, uid, message } of found) {
    const stored = state.folder.messages.get(uid);
    if (stored === undefined || message === undefined || !chosenUids.has(uid)) continue;
    if (!isSilent) untagged(session, `${sequence} FETCH (${flagsItems(session, stored).join(" ")})`);
    else if (session.isCondstore && stored.modseq > message.modseq) untagged(session, `${sequence} FETCH (UID ${uid} MODSEQ (${stored.modseq}))`);
    if (!isSilent || known.has(uid)) state.toldFlags.set(uid, stored.modseq);
  }
  const modified = found.filter(({ uid, message }) => message !== undefined && !chosenUids.has(uid));
  if (modified.length > 0) return `[MODIFIED ${numberSet(modified.map(({ uid, sequence }) => (byUid ? uid : sequence)))}] some had changed since`;
  return present.length < found.length ? "[EXPUNGEISSUED] some of the messages are gone" : "STORE completed";
}

/** Sorted, each once, keywords alike but for their case being one. */
export function normaliseFlags(flags: readonly string[]): string[] {
  const byName = new Map(flags.toReversed().map((flag) => [flag.toLowerCase(), flag]));
  if (byName.size > keywordsMax) throw no(`a message has at most ${keywordsMax} flags`, "LIMIT");
  return [...byName.values()].sort();
}

function modifier(cursor: Cursor): number | undefined {
  if (!takeIf(cursor, "(")) return undefined;
  if (atom(cursor).toUpperCase() !== "UNCHANGEDSINCE") throw bad("the only modifier is UNCHANGEDSINCE");
  space(cursor);
  const value = number(cursor);
  expect(cursor, ")");
  space(cursor);
  return value;
}

function changed(flags: Message["flags"], sign: string, given: readonly string[]): string[] {
  if (sign === "+") return normaliseFlags([...flags, ...given]);
  if (sign === "") return normaliseFlags(given);
  const taken = new Set(given.map((flag) => flag.toLowerCase()));
  return flags.filter((flag) => !taken.has(flag.toLowerCase()));
}
