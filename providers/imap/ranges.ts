import type { RefRanges } from "../../domain/sync.ts";

/** UIDs as an IMAP sequence set, ascending: descending sets are refused by some servers. */
export function toSequenceSet(ranges: RefRanges): string {
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}:${last}`)).join(",");
}

/** Parses a server's sequence set (`1:400,402,910:905`) into ascending, disjoint ranges. What is no positive number is left out. */
export function parseSequenceSet(text: string): RefRanges {
  const ranges: [number, number][] = [];
  for (const part of text.split(",")) {
    const [from = "", to = from] = part.trim().split(":");
    const first = toUid(from);
    const last = toUid(to);
    if (first !== undefined && last !== undefined) ranges.push([Math.min(first, last), Math.max(first, last)]);
  }
  return mergeRanges(ranges);
}

/** Numbers as ranges; sorts them first if need be. */
export function toRanges(uids: readonly number[]): RefRanges {
  const ranges: [number, number][] = [];
  let isSorted = true;
  for (const uid of uids) {
    const last = ranges.at(-1);
    if (last === undefined) ranges.push([uid, uid]);
    else if (uid === last[1] + 1) last[1] = uid;
    else if (uid > last[1] + 1) ranges.push([uid, uid]);
    else if (uid < last[0]) {
      isSorted = false;
      break;
    }
  }
  return isSorted ? ranges : toRanges(uids.toSorted((a, b) => a - b));
}

export function countRanges(ranges: RefRanges): number {
  return ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/** The part of the ranges within [first, last]. */
export function clipRanges(ranges: RefRanges, first: number, last: number): RefRanges {
  const clipped: [number, number][] = [];
  for (const [from, to] of ranges) {
    if (to < first || from > last) continue;
    clipped.push([Math.max(from, first), Math.min(to, last)]);
  }
  return clipped;
}

/** The `count` lowest UIDs. */
export function takeFirst(ranges: RefRanges, count: number): RefRanges {
  const taken: [number, number][] = [];
  let left = count;
  for (const [first, last] of ranges) {
    if (left <= 0) break;
    const until = Math.min(last, first + left - 1);
    taken.push([first, until]);
    left -= until - first + 1;
  }
  return taken;
}

/** The `count` highest UIDs, still ascending. */
export function takeLast(ranges: RefRanges, count: number): RefRanges {
  const taken: [number, number][] = [];
  let left = count;
  for (let index = ranges.length - 1; index >= 0 && left > 0; index -= 1) {
    const [first, last] = ranges[index] as readonly [number, number];
    const from = Math.max(first, last - left + 1);
    taken.unshift([from, last]);
    left -= last - from + 1;
  }
  return taken;
}

/** The UIDs of the ranges that are not among `found`. */
export function missingFrom(ranges: RefRanges, found: ReadonlySet<number>): number[] {
  const missing: number[] = [];
  for (const [first, last] of ranges) {
    for (let uid = first; uid <= last; uid += 1) if (!found.has(uid)) missing.push(uid);
  }
  return missing;
}

export function lowest(ranges: RefRanges): number | undefined {
  return ranges[0]?.[0];
}

export function highest(ranges: RefRanges): number | undefined {
  return ranges.at(-1)?.[1];
}

/** What both name. */
export function intersectRanges(ranges: RefRanges, others: RefRanges): RefRanges {
  const common: (readonly [number, number])[] = [];
  let at = 0;
  for (const [first, last] of ranges) {
    while ((others[at]?.[1] ?? Number.POSITIVE_INFINITY) < first) at += 1;
    for (let index = at; (others[index]?.[0] ?? Number.POSITIVE_INFINITY) <= last; index += 1) {
      const [from, to] = others[index] as readonly [number, number];
      common.push([Math.max(first, from), Math.min(last, to)]);
    }
  }
  return common;
}

/** Ranges in any order as ascending, disjoint ones. */
export function mergeRanges(ranges: readonly [number, number][]): RefRanges {
  const merged: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const previous = merged.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else merged.push([first, last]);
  }
  return merged;
}

function toUid(text: string): number | undefined {
  const uid = /^\d{1,10}$/.test(text) ? Number(text) : 0;
  return uid > 0 ? uid : undefined;
}
