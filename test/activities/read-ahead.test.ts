import { describe, expect, it } from "vitest";
import { readAhead } from "../../activities/read-ahead.ts";

/** Counts from 1 for ever, and notes what was begun. */
async function* counting(begun: number[], failsAt = Number.POSITIVE_INFINITY): AsyncGenerator<number> {
  for (let next = 1; ; next += 1) {
    begun.push(next);
    if (next === failsAt) throw new Error(`no ${next}`);
    yield next;
  }
}

/** Every promise that can go on has gone on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("reading ahead", () => {
  it("has one item under way while one is worked on, and no more", async () => {
    const begun: number[] = [];
    for await (const item of readAhead(counting(begun))) {
      await settled();
      expect(begun).toEqual(Array.from({ length: item + 1 }, (_, index) => index + 1));
      if (item === 3) break;
    }
    await settled();
    expect(begun).toEqual([1, 2, 3, 4]);
  });

  it("keeps the order and ends with its source", async () => {
    async function* three() {
      yield* [1, 2, 3];
    }
    const seen: number[] = [];
    async function* doubled(items: AsyncIterable<number>) {
      for await (const item of items) yield item * 2;
    }
    for await (const item of readAhead(doubled(readAhead(three())))) seen.push(item);
    expect(seen).toEqual([2, 4, 6]);
  });

  it("has begun before anybody asks, and ends without having been asked", async () => {
    const begun: number[] = [];
    const items = readAhead(counting(begun));
    await settled();
    expect(begun).toEqual([1]);
    await items.return();
    await settled();
    expect(begun).toEqual([1]);
  });

  it("fails when the item's turn comes, and not before", async () => {
    const seen: number[] = [];
    const read = async () => {
      for await (const item of readAhead(counting([], 3))) {
        await settled();
        seen.push(item);
      }
    };
    await expect(read()).rejects.toThrow("no 3");
    expect(seen).toEqual([1, 2]);
  });

  it("ends its source when nobody reads on, and a failure that is under way then disturbs nobody", async () => {
    let hasEnded = false;
    async function* ending() {
      try {
        yield* counting([], 2);
      } finally {
        hasEnded = true;
      }
    }
    for await (const item of readAhead(ending())) if (item === 1) break;
    await settled();
    expect(hasEnded).toBe(true);
  });
});
