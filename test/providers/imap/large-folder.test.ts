import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { scriptedFolder } from "../../helpers/misbehaving-imap.ts";
import { serve, without } from "./opened.ts";

const count = 1_000_000;
/** A million small objects alone take more than this; the modules that read mail take about a third of it. */
const heapMaxMb = 80;

interface Found {
  readonly total: number;
  readonly refs: readonly string[];
  readonly present: number;
}

async function listedInBoundedMemory(port: number): Promise<Found> {
  const worker = new Worker(new URL("./large-folder-client.ts", import.meta.url), {
    workerData: { port },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: heapMaxMb, maxYoungGenerationSizeMb: 16 },
  });
  const [found] = (await once(worker, "message")) as [Found];
  await worker.terminate();
  return found;
}

test.each([
  ["that answers in ranges", without(), 1],
  ["that names each UID", without("ESEARCH"), 1],
  ["that names each UID, with gaps all over", without("ESEARCH"), 10],
])(
  "a folder of a million messages is listed page by page in 80 MB, at a server %s",
  async (_what, capabilities, gapEvery) => {
    const uids = Array.from({ length: count }, (_, index) => index + 1 + (gapEvery === 1 ? 0 : Math.floor(index / gapEvery)));
    const uidNext = (uids.at(-1) ?? 0) + 1;
    const server = await serve({
      capabilities,
      folders: [scriptedFolder("INBOX", { uids, uidNext, modseq: capabilities.includes("CONDSTORE") ? 1 : null })],
    });
    const found = await listedInBoundedMemory(server.port);
    expect(found.total).toBe(count);
    expect(found.present).toBe(count);
    expect(found.refs).toEqual(uids.slice(-1_500).toReversed().map(String));
  },
  120_000,
);
