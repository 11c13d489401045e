import { randomUUID } from "node:crypto";
import type { ConnectedMailbox, ConnectOptions, Installation } from "../e2e/installation.ts";
import type { MailUser } from "../e2e/mail.ts";
import { until } from "../helpers/wait.ts";

/*
 * What careful clients do: an answer that did not come, or that says "not now", is asked for again. How long a loaded machine takes to answer is no fault.
 */

/** As long as anything is waited for that must come: what comes too late is judged by `lateness`, and what never does by the checker. */
export const patienceMs = 1_800_000;

/** A keeper of contents that was lost is started by housekeeping, which comes every five minutes, or half a minute later. */
export const settlingMs = 420_000;

/** Connects exactly one mailbox: with an Idempotency-Key, and once more elsewhere if no answer came. */
export function connectPatiently(
  { connect }: Installation,
  user: MailUser,
  more: ConnectOptions = {},
  apis: () => readonly { readonly url: string }[] = () => [],
): Promise<ConnectedMailbox> {
  const key = randomUUID();
  let attempt = 0;
  const ask = () => {
    const all = apis();
    const at = all[attempt++ % Math.max(1, all.length)];
    return connect(user, more, { headers: { "Idempotency-Key": key }, ...(at === undefined ? {} : { at }) });
  };
  return until(ask, `${user.email} to be connected`, patienceMs);
}

/** Asks for a look at every folder, and then for everything that is wrong once that had time to settle. */
export async function faultsLeft(installation: Installation, mailbox: ConnectedMailbox): Promise<readonly string[]> {
  const sync = async () => (await installation.call("POST", `/v1/mailboxes/${mailbox.id}/sync`)).status === 200;
  await until(sync, `a sync of ${mailbox.id}`, patienceMs);
  return (await installation.faults(mailbox, settlingMs)).map((fault) => `${mailbox.email}: ${fault}`);
}

/** As any supervisor does it: what ends on its way up, because a server did not answer it in time, is started again. */
export function startSupervised<Process>(start: () => Promise<Process>): Promise<Process> {
  return until(start, "a process to come up", patienceMs);
}
