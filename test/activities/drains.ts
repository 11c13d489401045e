import pino from "pino";
import type { DrainDependencies } from "../../activities/webhooks.ts";
import type { Database } from "../../db/database.ts";
import type { WebhookEndpointId } from "../../domain/ids.ts";
import { createHostResolver } from "../../network/resolve-host.ts";
import { createDeliverer } from "../../webhooks/deliver.ts";
import { keyRing } from "../webhooks/outbox.ts";

export const loopbackResolver = createHostResolver({ allowPrivateNetworks: ["127.0.0.0/8"] });

/** What drains need, for endpoints on loopback. */
export interface TestDrains extends DrainDependencies {
  /** The relays that were signalled, in order. */
  readonly woken: WebhookEndpointId[];
  close(): Promise<void>;
}

export function createDrains(db: Database, schedule: readonly number[]): TestDrains {
  const deliverer = createDeliverer({ resolveHost: loopbackResolver, timeoutMs: 1_000 });
  const woken: WebhookEndpointId[] = [];
  const signals = {
    wakeMailbox: async () => {},
    startShard: async () => {},
    wakeActions: async () => {},
    keepContent: async () => {},
    wakeRelay: async (id: WebhookEndpointId) => void woken.push(id),
  };
  const draining = new AbortController().signal;
  return { db, keyRing, log: pino({ level: "silent" }), signals, draining, deliverer, schedule, woken, close: () => deliverer.close() };
}
