/** How much of the machine is left for us. */
export interface MachineLoad extends Disposable {
  /** How many times longer work has taken so far than it takes on a machine that does nothing else; 1 at least. */
  stretch(): number;
}

const everyMs = 2_000;
/** Of CPU, each time: long enough to be put off by others, and half a percent of a core. */
const probeMs = 10;

/** Now and then does a little work and compares how long that took with what CPU it took. */
export function watchLoad(): MachineLoad {
  let workedMs = 0;
  let tookMs = 0;
  const probe = () => {
    const before = process.threadCpuUsage();
    const startedAt = performance.now();
    let usedMs = 0;
    while (usedMs < probeMs) {
      const { user, system } = process.threadCpuUsage(before);
      usedMs = (user + system) / 1_000;
    }
    workedMs += usedMs;
    tookMs += performance.now() - startedAt;
  };
  const timer = setInterval(probe, everyMs).unref();
  return {
    stretch() {
      if (workedMs === 0) probe();
      return Math.max(1, tookMs / workedMs);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
