import { fuzzSuite } from "./suite.ts";

/** The small part of `npm run fuzz`. */
fuzzSuite({ seed: 1, requests: 2_000, timeoutMs: 15 * 60_000 });
