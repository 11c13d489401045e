/** So many at once, the others in the order in which they came. */
export interface Gate {
  /** Waits for a place; returns what gives it back, which may be called twice. Once the signal aborts, nobody waits: the caller asks the signal. */
  enter(signal: AbortSignal): Promise<() => void>;
}

export function createGate(places: number): Gate {
  const queue: (() => void)[] = [];
  let free = places;
  return {
    async enter(signal) {
      while (free <= 0 && !signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        queue.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
        await promise;
        // Who gave up must not be called in somebody else's stead.
        const index = queue.indexOf(resolve);
        if (index >= 0) queue.splice(index, 1);
      }
      free -= 1;
      let isInside = true;
      return () => {
        if (!isInside) return;
        isInside = false;
        free += 1;
        queue.shift()?.();
      };
    },
  };
}
