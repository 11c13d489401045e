import { describe, expect, test } from "vitest";
import { scale, scaled } from "./random.ts";
import { type StormOptions, storm } from "./storm.ts";

export type NamedStorm = StormOptions & { readonly name: string };

/** A test of each. They stand in files of their own because files may run beside each other, and storms of one file do not. */
export function eachStorm(storms: readonly NamedStorm[]): void {
  describe("nothing is lost, doubled or left stuck by", () => {
    test.for(storms)("$name", async ({ name, ...options }, { task }) => {
      const [mailboxes, history] = [scaled(options.mailboxes, 4), scaled(options.history, 1_000)];
      const report = await storm(scale === 1 ? name : `${name}, at scale ${scale}`, { ...options, mailboxes, history });
      task.meta.chaos = report;
      expect(report).toMatchObject({ faults: [], late: 0, leaks: [] });
    });
  });
}
