/** Who goes first when a process has more to do than it can: what somebody waits for, before what is only nice to have soon. */
export interface Precedence {
  /** Does work that somebody waits for. For its first seconds, others stand back. */
  goFirst<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Resolves when nothing goes first, or when the time is up, or the signal aborts. */
  standBack(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Work that takes longer is no matter of moments: whoever stands back would never have its turn. */
const firstMs = 10_000;

export function createPrecedence(): Precedence {
  let ahead = 0;
  let free = Promise.withResolvers<void>();
  const leave = () => {
    ahead -= 1;
    if (ahead > 0) return;
    free.resolve();
    free = Promise.withResolvers<void>();
  };
  return {
    async goFirst(work) {
      ahead += 1;
      let isAhead = true;
      const step = () => {
        if (isAhead) leave();
        isAhead = false;
      };
      const timer = setTimeout(step, firstMs);
      try {
        return await work();
      } finally {
        clearTimeout(timer);
        step();
      }
    },
    async standBack(ms, signal) {
      const endsAt = performance.now() + ms;
      while (ahead > 0 && signal?.aborted !== true) {
        const leftMs = endsAt - performance.now();
        if (leftMs <= 0) return;
        await freeOr(free.promise, leftMs, signal);
      }
    },
  };
}

async function freeOr(free: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const finish = () => resolve();
  const timer = setTimeout(finish, ms);
  signal?.addEventListener("abort", finish, { once: true });
  try {
    await Promise.race([free, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", finish);
  }
}
