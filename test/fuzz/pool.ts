import { idPrefixes } from "../../domain/ids.ts";
import type { Chance } from "../chaos/random.ts";

/** Ids of things that are there, gathered from answers: what makes a fuzz reach behind the first check. */
export interface Pool {
  /** An id with this prefix: mostly of a thing of the caller's, sometimes of another's, of one that is gone, or of none. */
  any(prefix: string): string;
  /** One of nothing. */
  invented(prefix: string): string;
  /** One that may be destroyed, if there is one. */
  loose(prefix: string): string | undefined;
  /** One that stays. */
  lasting(prefix: string): string | undefined;
  /** Takes up the ids in an answer; `isLasting` before the fuzz begins. */
  gather(text: string, isLasting: boolean): void;
  /** What is gone is asked for from now on as such. */
  forget(id: string): void;
  keepCursor(operation: string, cursor: string): void;
  cursor(operation: string): string | undefined;
}

const perKindMax = 400;
const everyId = new RegExp(`\\b(?:${Object.values(idPrefixes).join("|")})_[1-9A-HJ-NP-Za-km-z]{22}\\b`, "g");

export function createPool(chance: Chance, foreign: ReadonlySet<string>): Pool {
  const lasting = new Map<string, string[]>();
  const loose = new Map<string, string[]>();
  const gone: string[] = [];
  const cursors = new Map<string, string[]>();
  const strangers = Map.groupBy(foreign, prefixOf);

  const pickFrom = (ids: readonly string[] | undefined) => (ids === undefined || ids.length === 0 ? undefined : chance.pick(ids));
  const invented = (prefix: string) =>
    `${prefix}_${Array.from({ length: 22 }, () => chance.pick([..."123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"])).join("")}`;

  return {
    any(prefix) {
      const roll = chance.next();
      const own = pickFrom(roll < 0.6 ? lasting.get(prefix) : loose.get(prefix)) ?? pickFrom(lasting.get(prefix)) ?? pickFrom(loose.get(prefix));
      if (roll < 0.85 && own !== undefined) return own;
      if (roll < 0.9) return pickFrom(strangers.get(prefix)) ?? invented(prefix);
      if (roll < 0.95) return pickFrom(gone.filter((id) => prefixOf(id) === prefix)) ?? invented(prefix);
      return invented(prefix);
    },
    invented,
    loose: (prefix) => pickFrom(loose.get(prefix)),
    lasting: (prefix) => pickFrom(lasting.get(prefix)),
    gather(text, isLasting) {
      for (const [id] of text.matchAll(everyId)) {
        const prefix = prefixOf(id);
        if (foreign.has(id) || lasting.get(prefix)?.includes(id) || loose.get(prefix)?.includes(id) || gone.includes(id)) continue;
        const into = isLasting ? lasting : loose;
        const ids = into.get(prefix) ?? [];
        into.set(prefix, ids);
        if (ids.length >= perKindMax) ids.shift();
        ids.push(id);
      }
    },
    forget(id) {
      const ids = loose.get(prefixOf(id));
      const at = ids?.indexOf(id) ?? -1;
      if (at >= 0) ids?.splice(at, 1);
      gone.push(id);
      if (gone.length > perKindMax) gone.shift();
    },
    keepCursor(operation, cursor) {
      const kept = cursors.get(operation) ?? [];
      cursors.set(operation, kept);
      if (kept.length >= 20) kept.shift();
      kept.push(cursor);
    },
    cursor: (operation) => pickFrom(cursors.get(operation)),
  };
}

export function prefixOf(id: string): string {
  return id.slice(0, 3);
}
