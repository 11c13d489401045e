import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, expect, it } from "vitest";
import { cutBuffersFromSmallPieces, whileThreadsAreSmall } from "../../workers/memory.ts";

const poolSize = Buffer.poolSize;
afterEach(() => {
  Buffer.poolSize = poolSize;
});

it("a few bytes that are kept keep no more than eight kilobytes alive", () => {
  cutBuffersFromSmallPieces();
  // The piece that is begun stays as large as it is.
  for (let bytes = 0; bytes < poolSize; bytes += 1_024) Buffer.allocUnsafe(1_024);
  expect(Buffer.allocUnsafe(300).buffer.byteLength).toBe(8_192);
});

it("the thread of workflows gets a small young generation, and threads that start later do not", async () => {
  const small = await whileThreadsAreSmall(youngMbOfThread);
  expect(small).toBeLessThanOrEqual(8);
  expect(await youngMbOfThread()).toBeGreaterThan(small);
});

/** How large a thread's young generation becomes when most of what it makes lives for a while. */
async function youngMbOfThread(): Promise<number> {
  const thread = new Worker(
    `const { getHeapSpaceStatistics } = require("node:v8");
     const kept = [];
     let most = 0;
     for (let n = 0; n < 3_000_000; n += 1) {
       kept.push({ n, of: [n] });
       if (kept.length > 200_000) kept.length = 0;
       if (n % 100_000 === 0) most = Math.max(most, getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space").space_size);
     }
     require("node:worker_threads").parentPort.postMessage(most / 2 ** 20);`,
    { eval: true },
  );
  const [[mb]] = await Promise.all([once(thread, "message"), once(thread, "exit")]);
  return Number(mb);
}
