import type { Activities } from "../activities/index.ts";
import { providerActivities } from "./proxies.ts";

/** Finds out where a domain's mail servers are. The domain is no secret; the address it came from stays in the API. */
export async function autodetect({ domain }: { readonly domain: string }): ReturnType<Activities["autodetect"]> {
  return providerActivities({ startToCloseTimeout: "30 seconds", retry: { maximumAttempts: 2 }, summary: "look up mail servers" }).autodetect({
    domain,
  });
}
