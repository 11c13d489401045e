import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createSignals } from "../../workers/signals.ts";
import { taskQueueName, workflowIds } from "../../workflows/names.ts";
import { connectTemporal, type TemporalConnection } from "../helpers/temporal.ts";

let temporal: TemporalConnection;
beforeAll(async () => {
  temporal = await connectTemporal();
});
afterAll(() => temporal.close());

test("two installations in one namespace each have their own shard of the same number", async () => {
  for (const prefix of [`one-${randomBytes(4).toString("hex")}`, `two-${randomBytes(4).toString("hex")}`]) {
    await createSignals(temporal.client, prefix).startShard(0);
    const handle = temporal.client.workflow.getHandle(workflowIds.idleShard(prefix, 0));
    expect((await handle.describe()).taskQueue).toBe(taskQueueName(prefix, "mail"));
    await handle.terminate("the test is over");
  }
});
