import { defineConfig } from "vitest/config";
import { ChaosSummary } from "./summary.ts";

/** `npm run chaos`: an hour of force, one storm at a time unless told otherwise, apart from `npm test`, which has a small one. */
export default defineConfig({
  test: {
    include: ["test/chaos/**/*.chaos.ts"],
    globalSetup: ["test/global-setup.ts"],
    reporters: ["default", new ChaosSummary()],
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 60 * 60_000,
    hookTimeout: 300_000,
    teardownTimeout: 60_000,
  },
});
