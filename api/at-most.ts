/** Runs work beside each other, `max` at once; the rest waits in the order in which it came. */
export type AtMost = <Result>(work: () => Promise<Result>) => Promise<Result>;

export function createAtMost(max: number): AtMost {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running === max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // The place goes from hand to hand: whoever comes in between does not overtake.
      if (next === undefined) running--;
      else next();
    }
  };
}
