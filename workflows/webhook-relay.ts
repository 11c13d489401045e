import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import type { DrainResult } from "../activities/webhooks.ts";
import type { WebhookEndpointId } from "../domain/ids.ts";
import { searchAttributes } from "./names.ts";
import { relayActivities } from "./proxies.ts";

export interface WebhookRelayInput {
  readonly endpointId: WebhookEndpointId;
  /** What an earlier run hands on; absent on the first. */
  readonly state?: WebhookRelayState;
  /** Tests bring their own figures. */
  readonly pace?: { readonly idleMs?: number; readonly historyLengthMax?: number };
}

export interface WebhookRelayState {
  readonly v: 1;
  delivered: number;
  failed: number;
  /** Drains in a row that broke, not deliveries: the database or the workers are away. */
  brokenDrains: number;
  isTagged: boolean;
}

/** Something is due, or the endpoint was changed. A signal: whoever recorded an event waits for no delivery. */
export const wakeSignal = defineSignal("wake");

/** A run's history stays below this: some 200 drains. */
const historyLengthMax = 1_500;
/** A relay with nothing pending ends after this; the next wake starts it again (`signalWithStart`). */
const idleMsMax = 10 * 60_000;
const brokenPauseMsMax = 5 * 60_000;

/**
 * One webhook endpoint's relay: drains what is due, then sleeps until it is woken or the next attempt is due. It decides nothing about a delivery; the
 * drain does, and writes it down. No failure ends it: it ends when nothing is pending, or the endpoint is gone or disabled.
 */
export async function webhookRelay({ endpointId, state: carried, pace = {} }: WebhookRelayInput): Promise<void> {
  const state: WebhookRelayState = carried ?? { v: 1, delivered: 0, failed: 0, brokenDrains: 0, isTagged: false };
  let isWoken = false;
  setHandler(wakeSignal, () => {
    isWoken = true;
  });
  const { drainEndpoint } = relayActivities();

  for (;;) {
    isWoken = false;
    const drained = await drain(() => drainEndpoint({ endpointId }), state);
    tag(state, drained);
    setCurrentDetails(describe(state, drained));
    if (drained?.state === "ended" && !isWoken) return;
    if (shouldContinueAsNew(pace.historyLengthMax ?? historyLengthMax)) {
      await condition(allHandlersFinished);
      // The new run begins with a drain, so a wake that came meanwhile is served.
      return continueAsNew<typeof webhookRelay>({ endpointId, state, pace });
    }
    const waitMs = waitAfter(drained, state, pace.idleMs ?? idleMsMax);
    const wasWoken = waitMs === 0 || (await condition(() => isWoken, waitMs));
    if (!wasWoken && drained?.state === "asleep" && drained.nextDueAt === null) return;
  }
}

/** Undefined if the drain broke: what it did is written down, and the next one goes on from there. */
async function drain(attempt: () => Promise<DrainResult>, state: WebhookRelayState): Promise<DrainResult | undefined> {
  try {
    const drained = await attempt();
    state.delivered += drained.delivered;
    state.failed += drained.failed;
    state.brokenDrains = 0;
    return drained;
  } catch (error) {
    if (isCancellation(error)) throw error;
    state.brokenDrains += 1;
    return undefined;
  }
}

function waitAfter(drained: DrainResult | undefined, { brokenDrains }: WebhookRelayState, idleMs: number): number {
  if (drained === undefined) return Math.min(2 ** brokenDrains * 1_000, brokenPauseMsMax);
  if (drained.state !== "asleep") return 0;
  return drained.nextDueAt === null ? idleMs : Math.max(0, drained.nextDueAt - Date.now());
}

function tag(state: WebhookRelayState, drained: DrainResult | undefined): void {
  if (state.isTagged || drained === undefined || drained.customerId === null) return;
  state.isTagged = true;
  upsertSearchAttributes([{ key: searchAttributes.customerId, value: drained.customerId }]);
}

function shouldContinueAsNew(lengthMax: number): boolean {
  const { continueAsNewSuggested, historyLength, targetWorkerDeploymentVersionChanged } = workflowInfo();
  return continueAsNewSuggested || historyLength > lengthMax || targetWorkerDeploymentVersionChanged === true;
}

function describe(state: WebhookRelayState, drained: DrainResult | undefined): string {
  const next = drained?.nextDueAt == null ? "when something happens" : new Date(drained.nextDueAt).toISOString();
  const now = drained === undefined ? `**the drain broke ${state.brokenDrains} times in a row**; it is tried again by itself` : drained.state;
  return `State: ${now}\n\nDelivered: ${state.delivered} · failed attempts: ${state.failed}\n\nNext: ${next}`;
}
