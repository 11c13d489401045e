import { fuzzSuite } from "./suite.ts";

/** Another seed each time; it is printed with the findings. */
fuzzSuite({ seed: Date.now() % 1_000_000, requests: 50_000, timeoutMs: 120 * 60_000 });
