import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible";
import { ApiError } from "./errors.ts";

export interface RateLimit {
  /** Takes one request off the key's allowance; returns the headers that say what is left, or throws `rate_limited` with them. */
  take(key: string): Promise<Readonly<Record<string, string>>>;
}

/**
 * So many requests a minute for each access key, counted in this process alone: with several API processes the allowance is that of all of them
 * together. It keeps a runaway client from the rest; it is not a quota.
 */
export function createRateLimit(perMinute: number): RateLimit {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: 60 });
  const policy = { "RateLimit-Policy": `"minute";q=${perMinute};w=60` };
  return {
    async take(key) {
      const outcome = await limiter.consume(key).catch((refused: unknown) => refused);
      if (!(outcome instanceof RateLimiterRes)) throw outcome;
      const seconds = Math.max(1, Math.ceil(outcome.msBeforeNext / 1000));
      const headers = { ...policy, RateLimit: `"minute";r=${outcome.remainingPoints};t=${seconds}` };
      if (outcome.consumedPoints > perMinute) throw new ApiError("rate_limited", { headers: { ...headers, "Retry-After": String(seconds) } });
      return headers;
    },
  };
}
