import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  clipRanges,
  countRanges,
  missingFrom,
  parseSequenceSet,
  takeFirst,
  takeLast,
  toRanges,
  toSequenceSet,
} from "../../../providers/imap/ranges.ts";

const expand = (ranges: readonly (readonly [number, number])[]) =>
  ranges.flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, index) => a + index));

describe("ranges of UIDs", () => {
  const uids = fc.uniqueArray(fc.integer({ min: 1, max: 200 }), { maxLength: 80 });
  const sorted = (list: readonly number[]) => list.toSorted((a, b) => a - b);

  test("hold exactly the numbers they were made of, in any order, and ascend on the wire [row 55]", () => {
    fc.assert(
      fc.property(uids, (list) => {
        const ranges = toRanges(list);
        expect(expand(ranges)).toEqual(sorted(list));
        expect(countRanges(ranges)).toBe(list.length);
        expect(toSequenceSet(ranges).match(/\d+/g)?.map(Number) ?? []).toEqual(
          ranges.flatMap(([first, last]) => (first === last ? [first] : [first, last])),
        );
        expect(list.length === 0 ? [] : expand(parseSequenceSet(toSequenceSet(ranges)))).toEqual(sorted(list));
      }),
    );
  });

  test("are cut at either end and clipped as lists are", () => {
    fc.assert(
      fc.property(uids, fc.nat(90), fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }), (list, count, first, last) => {
        const ranges = toRanges(list);
        expect(expand(takeFirst(ranges, count))).toEqual(sorted(list).slice(0, count));
        expect(expand(takeLast(ranges, count))).toEqual(count === 0 ? [] : sorted(list).slice(-count));
        expect(expand(clipRanges(ranges, first, last))).toEqual(sorted(list).filter((uid) => uid >= first && uid <= last));
        expect(missingFrom(ranges, new Set(sorted(list).slice(0, count)))).toEqual(sorted(list).slice(count));
      }),
    );
  });

  test.each([
    [
      "1:3,5",
      [
        [1, 3],
        [5, 5],
      ],
    ],
    ["5:3", [[3, 5]]],
    ["4,1:3", [[1, 4]]],
    ["1:5,3:9", [[1, 9]]],
    ["*", []],
    ["1:*", []],
    ["0,-3,x,2.5,99999999999", []],
    ["", []],
  ])("read %j from a server", (text, ranges) => {
    expect(parseSequenceSet(text)).toEqual(ranges);
  });
});
