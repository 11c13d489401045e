/** Runs one step of a start; says what is being done as soon as it takes longer than two seconds, and then every five. */
export async function step<T>(what: string, say: (line: string) => void, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const report = () => say(`${what} (${Math.round((performance.now() - startedAt) / 1000)} s)`);
  let timer = setTimeout(() => {
    report();
    timer = setInterval(report, 5_000);
  }, 1_500);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}
