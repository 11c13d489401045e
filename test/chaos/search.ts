import { Client, Connection } from "@temporalio/client";
import type { ConnectedMailbox, Installation } from "../e2e/installation.ts";
import type { SpawnedProcess } from "../helpers/processes.ts";
import { findLeaks } from "../security/leaks.ts";
import { type Trace, temporalTraces } from "../security/traces.ts";

export interface Grounds {
  readonly installation: Installation;
  readonly temporalAddress: string;
  /** Every process of ours that ever ran. */
  readonly spawned: readonly SpawnedProcess[];
  /** Logs of the servers, blobs, metrics. */
  readonly files: readonly Trace[];
}

/** Requests that are refused with content, addresses and secrets in them; then everything is searched that was written anywhere. */
export async function searchEverywhere({ installation, temporalAddress, spawned, files }: Grounds, mailboxes: readonly ConnectedMailbox[]) {
  const { ledger, secrets, call, env } = installation;
  const [first] = mailboxes;
  if (first === undefined) throw new Error("nothing was connected");
  const wrong = { ...installation.connectBody(first), imap: { host: first.password, port: first.password } };
  await call("POST", "/v1/mailboxes", { body: { ...wrong, email: `${ledger.mark} at nowhere` } });
  await call("GET", `/v1/messages/${first.id}`);
  await call("POST", "/v1/message-actions", { body: { ids: [], action: { type: "delete" } } });
  await call("PATCH", `/v1/mailboxes/${first.id}`, { body: { password: { [first.password]: first.password } } });
  const connection = await Connection.connect({ address: temporalAddress });
  try {
    const client = new Client({ connection, namespace: env.TEMPORAL_NAMESPACE ?? "" });
    const passwords = mailboxes.map(({ email, password }) => [`the password of ${email}`, password] as const);
    const elsewhere = [
      ...(await temporalTraces(client, env.EVERPOST_TASK_QUEUE_PREFIX ?? "")),
      ...spawned.map((one) => ({ where: `log of process ${one.pid}`, text: one.logs() })),
      ...files,
      // A refusal may say again what was wrong in the request, and does so with addresses.
      ...installation.refusals,
    ];
    const known = Object.entries({ ...secrets, ...Object.fromEntries(passwords.slice(-3)) });
    return await findLeaks({
      db: installation.db,
      mark: ledger.mark,
      // The database that tests share may have no password.
      secrets: Object.fromEntries(known.filter(([, secret]) => secret !== "")),
      elsewhere,
    });
  } finally {
    await connection.close();
  }
}
