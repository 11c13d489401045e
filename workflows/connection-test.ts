import type { ConnectionTestId } from "../domain/ids.ts";
import { providerActivities } from "./proxies.ts";

/** One test of settings that nothing saves: the sealed request and the report are in connection_tests, only the id passes through here. */
export async function connectionTest({ testId }: { readonly testId: ConnectionTestId }): Promise<void> {
  // Once: what a test is for is to see the failure, and its report holds it.
  await providerActivities({ retry: { maximumAttempts: 1 }, startToCloseTimeout: "90 seconds", summary: "test a connection" }).testConnection({
    testId,
  });
}
