import { readdirSync } from "node:fs";
import { type Benchmark, runBenchmark } from "./harness.ts";

/**
 * `npm run bench -- NAME` runs bench/NAME.ts and ends with 1 if a target was missed. Where a benchmark has parts, `npm run bench -- NAME PART` runs one;
 * `--profile` leaves CPU profiles of worker and API in profiles/.
 */
const names = readdirSync(import.meta.dirname)
  .filter((file) => /^(backfill|connect|idle|push|read|webhooks)\.ts$/.test(file))
  .map((file) => file.slice(0, -3));
const name = process.argv[2] ?? "";
if (!names.includes(name)) {
  console.error(`Which one? npm run bench -- ${names.join(" | ")}`);
  process.exit(2);
}
const { benchmark } = (await import(`./${name}.ts`)) as { readonly benchmark: Benchmark };
process.exit((await runBenchmark(benchmark)) ? 0 : 1);
