import { setTimeout as delay } from "node:timers/promises";

/**
 * Waits until the condition gives something other than undefined, null or false, and returns that. After the deadline it fails with `what`
 * and with the last error that the condition threw, if it did.
 */
export async function until<T>(condition: () => T | Promise<T>, what: string, timeoutMs = 30_000): Promise<Exclude<NonNullable<Awaited<T>>, false>> {
  const deadline = performance.now() + timeoutMs;
  let failure: unknown;
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    try {
      const value = await condition();
      failure = undefined;
      if (value !== undefined && value !== null && value !== false) return value as Exclude<NonNullable<Awaited<T>>, false>;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: failure });
    await delay(pauseMs);
  }
}
