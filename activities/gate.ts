/** So many at once, the others in the order in which they came. */
export interface Gate {
  /** Waits for a place; returns what gives it back, which may be called twice. Once the signal aborts, nobody waits: the caller asks the signal. */
  enter(signal: AbortSignal): Promise<() => void>;
}

export function createGate(places: number): Gate {
  const queue: (() => void)[] = [];
  let free = places;

  /** A place that was given back goes to who waits longest, so that no newcomer is faster. */
  function giveBack(): void {
    free += 1;
    if (free <= 0) return;
    const next = queue.shift();
    if (next === undefined) return;
    free -= 1;
    next();
  }

  async function place(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const giveUp = () => {
      const at = queue.indexOf(resolve);
      // It got its place in this very moment.
      if (at < 0) return;
      queue.splice(at, 1);
      free -= 1;
      resolve();
    };
    queue.push(resolve);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  return {
    async enter(signal) {
      if (free > 0 || signal.aborted) free -= 1;
      else await place(signal);
      let isInside = true;
      return () => {
        if (!isInside) return;
        isInside = false;
        giveBack();
      };
    },
  };
}
