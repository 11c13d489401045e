import { join } from "node:path";
import { createAccessKey, findLiveAccessKey } from "../db/access-keys.ts";
import { createCustomer, findCustomer } from "../db/customers.ts";
import type { Connection, Database } from "../db/database.ts";
import { keyScopes } from "../domain/access.ts";
import type { CustomerId } from "../domain/ids.ts";
import { isId } from "../domain/ids.ts";
import { keep, readIfThere } from "./data-dir.ts";
import { StartError } from "./processes.ts";

export interface Keys {
  readonly administrator: string;
  /** Of the customer whom the sandbox belongs to. */
  readonly customer: string;
}

/**
 * The access keys of this installation: made by the first run, kept beside the data (0600), and made anew only when the database does not know
 * them, as after DATABASE_URL was pointed elsewhere. The files are written before the transaction commits: a crash between the two leaves a
 * file that the next start finds unknown, never a key in the database that nobody has.
 */
export async function ensureKeys(db: Database, dataDir: string): Promise<Keys> {
  return db.transaction().execute(async (trx) => {
    const customerId = await ensureCustomer(trx, dataDir);
    return {
      administrator: await ensureKey(trx, dataDir, "administrator-key", null),
      customer: await ensureKey(trx, dataDir, "customer-key", customerId),
    };
  });
}

export interface SandboxAccount {
  readonly email: string;
  readonly password: string;
  readonly imapPort: number;
  readonly smtpPort: number;
}

/** Connects the sandbox's account through the API as a customer would, once: whoever deletes that mailbox does not get it back. Returns its id. */
export async function ensureSandboxMailbox(apiUrl: string, key: string, account: SandboxAccount, dataDir: string): Promise<string> {
  const note = `sandbox-mailbox-${account.email}`;
  const [known, ports] = (readIfThere(join(dataDir, note)) ?? "").trim().split(" ");
  const servers = {
    imap: { host: "127.0.0.1", port: account.imapPort, security: "none", allowInsecure: true, username: account.email },
    smtp: { host: "127.0.0.1", port: account.smtpPort, security: "none", allowInsecure: true, username: account.email },
  };
  const wantedPorts = `${account.imapPort}/${account.smtpPort}`;
  if (known !== undefined && known !== "") {
    const found = await call(apiUrl, key, "GET", `/v1/mailboxes/${known}`);
    if (found.status === 200 && ports !== wantedPorts) {
      await call(apiUrl, key, "PATCH", `/v1/mailboxes/${known}`, servers);
      keep(dataDir, note, `${known} ${wantedPorts}`);
    }
    // Unknown means either that its owner deleted it, or that this is another database, whose customer is new as well.
    const isOurCustomer = readIfThere(join(dataDir, "customer"))?.trim() === readIfThere(join(dataDir, `${note}.customer`))?.trim();
    if (found.status === 200 || isOurCustomer) return known;
  }
  const externalId = "sandbox";
  const body = { provider: "imap", email: account.email, externalId, password: account.password, ...servers };
  const created = await call(apiUrl, key, "POST", "/v1/mailboxes", body);
  const id = created.status < 300 ? created.body.id : await findByExternalId(apiUrl, key, externalId);
  if (typeof id !== "string") throw new StartError(`the sandbox mailbox could not be connected: ${problemOf(created)}`);
  keep(dataDir, `${note}.customer`, readIfThere(join(dataDir, "customer"))?.trim() ?? "");
  keep(dataDir, note, `${id} ${wantedPorts}`);
  return id;
}

async function ensureCustomer(trx: Connection, dataDir: string): Promise<CustomerId> {
  const kept = readIfThere(join(dataDir, "customer"))?.trim() ?? "";
  if (isId("customer", kept) && (await findCustomer(trx, kept)) !== undefined) return kept;
  const { id } = await createCustomer(trx, { name: "Sandbox" });
  keep(dataDir, "customer", id);
  return id;
}

async function ensureKey(trx: Connection, dataDir: string, name: string, customerId: CustomerId | null): Promise<string> {
  const kept = readIfThere(join(dataDir, name))?.trim() ?? "";
  const row = kept === "" ? undefined : await findLiveAccessKey(trx, kept);
  if (row !== undefined && row.customer_id === customerId) return kept;
  const role = customerId === null ? "administrator" : "customer";
  const { key } = await createAccessKey(trx, { customerId, role, name: "made by npm start", scopes: keyScopes });
  keep(dataDir, name, key);
  return key;
}

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

async function call(apiUrl: string, key: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  const response = await fetch(apiUrl + path, {
    method,
    headers,
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const parsed: unknown = await response.json().catch(() => ({}));
  return { status: response.status, body: typeof parsed === "object" && parsed !== null ? { ...parsed } : {} };
}

/** A start that was killed after the API had connected the mailbox and before its id was noted. */
async function findByExternalId(apiUrl: string, key: string, externalId: string): Promise<unknown> {
  const { body } = await call(apiUrl, key, "GET", `/v1/mailboxes?externalId=${encodeURIComponent(externalId)}`);
  const items = [body.items, body.data].find(Array.isArray) ?? [];
  return items.find((item: { externalId?: unknown }) => item.externalId === externalId)?.id;
}

function problemOf({ status, body }: Answer): string {
  const words = [body.title, body.detail].filter((part) => typeof part === "string");
  const errors = Array.isArray(body.errors) ? [JSON.stringify(body.errors)] : [];
  return `HTTP ${status} ${[...words, ...errors].join(": ")}`.slice(0, 500);
}
