/** Chance that can be repeated: the same seed gives the same numbers (mulberry32). */
export interface Chance {
  /** In [0, 1). */
  next(): number;
  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number;
  pick<T>(items: readonly T[]): T;
  shuffle<T>(items: readonly T[]): readonly T[];
}

export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (min: number, max: number) => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    between,
    pick: (items) => {
      const item = items[between(0, items.length - 1)];
      if (item === undefined) throw new Error("nothing to pick from");
      return item;
    },
    shuffle: (items) =>
      items
        .map((item) => [next(), item] as const)
        .toSorted(([a], [b]) => a - b)
        .map(([, item]) => item),
  };
}

/** How large a run of chaos is: of mailboxes, their mail and clients there are so many times as many, of faults there are as many as ever. */
export const scale = Number(process.env.CHAOS_SCALE ?? 1);

export function scaled(count: number, atLeast: number): number {
  return Math.max(Math.min(count, atLeast), Math.round(count * scale));
}

/** What a run of chaos goes by: printed with its reports, and given again as CHAOS_SEED it repeats its choices. */
export const runSeed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);

/** A chance of a thing's own, the same whenever it is asked for: by its name (FNV-1a) and the seed. */
export function chanceFor(seed: number, name: string): Chance {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return chanceOf(seed ^ hash);
}
