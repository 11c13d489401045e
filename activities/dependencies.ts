import type { Logger } from "pino";
import type { BlobStore } from "../blobs/store.ts";
import type { Database } from "../db/database.ts";
import type { KeyRing } from "../db/secrets.ts";
import type { HostResolver } from "../domain/host.ts";
import type { CustomerId, MailboxId, WebhookEndpointId } from "../domain/ids.ts";
import type { ProviderDefinition } from "../providers/provider.ts";
import type { Deliverer } from "../webhooks/deliver.ts";

/** What activities reach the running workflows with. The composition root builds it on Temporal's client, so that no activity knows a workflow. */
export interface Signals {
  /** Wakes a mailbox's workflow, starting it if it was lost. Throws while Temporal is away. */
  wakeMailbox(id: MailboxId, paths: readonly string[]): Promise<void>;
  /** Wakes an endpoint's relay, starting it if it sleeps. */
  wakeRelay(id: WebhookEndpointId): Promise<void>;
  /** Has a mailbox's waiting changes carried out. */
  wakeActions(id: MailboxId): Promise<void>;
  /** Says that contents of a mailbox wait to be kept, starting the workflow that keeps them. */
  keepContent(id: MailboxId): Promise<void>;
  /** Starts a shard's workflow if it does not run. */
  startShard(shard: number): Promise<void>;
}

/** How what was told goes out, for whoever has just committed events. */
export interface Relays {
  /** Sees to it that a customer's endpoints get what is due; returns how many had slept. Waits for no delivery. */
  wake(customerId: CustomerId): Promise<number>;
  /** Resolves when nothing is under way in this process any more. */
  settled(): Promise<void>;
}

/** Everything an activity needs from outside, given once when a worker starts. */
export interface ActivityDependencies {
  readonly db: Database;
  readonly databaseUrl: string;
  readonly keyRing: KeyRing;
  /** Where kept content lies. */
  readonly blobs: BlobStore;
  readonly log: Logger;
  readonly signals: Signals;
  readonly relays: Relays;
  readonly resolveHost: HostResolver;
  /** One for the process, so that connections to endpoints are reused; whoever starts the process closes it. */
  readonly deliverer: Deliverer;
  readonly getProvider: (kind: string) => ProviderDefinition;
  /** Aborts when this process drains: activities that could go on for long end here and now, and are continued elsewhere. */
  readonly draining: AbortSignal;
  readonly allowPrivateNetworks: readonly string[];
  readonly sync: {
    readonly pageSize: number;
    readonly pollFloorMs: number;
    readonly statusPollMs: number;
    /** A message that no quiet look could settle is called deleted after this. */
    readonly graceMs: number;
    readonly idleConnectionsPerShard: number;
  };
}
