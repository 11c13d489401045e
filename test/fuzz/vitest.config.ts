import { defineConfig } from "vitest/config";

/** `npm run fuzz`: 50,000 requests, apart from `npm test`, which sends 2,000. */
export default defineConfig({
  test: {
    include: ["test/fuzz/**/*.fuzz.ts"],
    globalSetup: ["test/global-setup.ts"],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 120 * 60_000,
    teardownTimeout: 60_000,
  },
});
