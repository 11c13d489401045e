/**
 * Runs one step of a start; says what is being done as soon as it takes longer than two seconds, and then every five. Work that has more to say says it
 * by `tell`, and is then left to speak for itself.
 */
export async function step<T>(what: string, say: (line: string) => void, work: (tell: (line: string) => void) => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const report = () => say(`${what} (${Math.round((performance.now() - startedAt) / 1000)} s)`);
  let timer = setTimeout(() => {
    report();
    timer = setInterval(report, 5_000);
  }, 1_500);
  try {
    return await work((line) => {
      clearTimeout(timer);
      say(line);
    });
  } finally {
    clearTimeout(timer);
  }
}
