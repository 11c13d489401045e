/** So few removals are believed at once, whatever share of a folder they are. */
const believedMax = 50;
/** The larger part of a folder does not vanish by itself. */
const shareMax = 0.5;
/** A server that still says so after this is believed. */
export const holdMs = 5 * 60_000;

/**
 * Whether a listing that leaves out `lost` of `known` messages is held back until it is said again. A person who empties a folder and a server that
 * lost its index look the same in one listing; the second is forgotten when the server has recovered, the first is not.
 */
export function isMassRemoval(lost: number, known: number): boolean {
  return lost > believedMax && lost > known * shareMax;
}
