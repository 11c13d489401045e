import { ApiError } from "./errors.ts";

/** Bounds what the API streams at once: each stream holds a socket, a piece of memory and perhaps a connection to a mail server. */
export interface StreamGate {
  /** Runs `work`, or throws `service_unavailable` while as many streams as are allowed are under way. */
  use<Result>(work: () => Promise<Result>): Promise<Result>;
}

export function createStreamGate(max: number): StreamGate {
  let running = 0;
  return {
    async use(work) {
      if (running >= max) {
        throw new ApiError("service_unavailable", {
          detail: `${max} downloads are under way in this process, as many as EVERPOST_API_STREAMS_MAX allows.`,
          headers: { "Retry-After": "5" },
        });
      }
      running += 1;
      try {
        return await work();
      } finally {
        running -= 1;
      }
    },
  };
}
