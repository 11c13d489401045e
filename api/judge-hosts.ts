import type { Config } from "../config.ts";
import { MailError } from "../domain/errors.ts";
import { createHostResolver } from "../network/resolve-host.ts";
import { MemberRefused } from "./errors.ts";

/** Somebody waits: a name whose servers are slow is judged when it is connected to, like every other. */
const lookupMsMax = 2_000;

/**
 * Refuses hosts inside our network as the request comes, by the member that names them. What a name leads to may change, so every connection judges its host
 * again: this is for whoever mistyped, and tells no more than that the address is not public.
 */
export async function judgeHosts(
  { allowPrivateNetworks }: Config,
  hosts: readonly { readonly pointer: string; readonly host: string }[],
): Promise<void> {
  const resolveHost = createHostResolver({ allowPrivateNetworks, timeoutMs: lookupMsMax });
  await Promise.all(
    hosts.map(({ pointer, host }) =>
      resolveHost(host).catch((error: unknown) => {
        if (!(error instanceof MailError)) throw error;
        if (error.code === "private_address_refused") throw new MemberRefused(pointer, error);
      }),
    ),
  );
}
