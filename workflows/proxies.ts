import { type ActivityOptions, proxyActivities, proxyLocalActivities, workflowInfo } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import { type TaskQueue, taskQueueName, taskQueues } from "./names.ts";

/**
 * The queue of another kind of work in the same installation: the workflow's own queue tells the prefix.
 */
function queue(name: TaskQueue): string {
  const own = workflowInfo().taskQueue;
  return taskQueueName(own.endsWith(taskQueues.mail) ? own.slice(0, -taskQueues.mail.length).replace(/-$/, "") : "", name);
}

/** Reads from a mail provider: retried a little here, and by the workflow with its own, longer pauses. */
export function providerActivities(options: ActivityOptions = {}) {
  return proxyActivities<Activities>({
    taskQueue: queue("providers"),
    startToCloseTimeout: "2 minutes",
    scheduleToCloseTimeout: "30 minutes",
    heartbeatTimeout: "15 seconds",
    retry: { initialInterval: "1 second", backoffCoefficient: 3, maximumInterval: "30 seconds", maximumAttempts: 3 },
    ...options,
  });
}

/** A first sync: long, told to be alive by its heartbeats, resumed from the cursor in the database. */
export function bulkActivities(options: ActivityOptions = {}) {
  return proxyActivities<Activities>({
    taskQueue: queue("bulk"),
    startToCloseTimeout: "30 minutes",
    scheduleToCloseTimeout: "24 hours",
    heartbeatTimeout: "15 seconds",
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "1 minute", maximumAttempts: 5 },
    ...options,
  });
}

/** What is kept of messages: as long as a first sync, with pauses of its own workflow after the few attempts here. */
export function contentActivities(options: ActivityOptions = {}) {
  return proxyActivities<Activities>({
    taskQueue: queue("content"),
    startToCloseTimeout: "30 minutes",
    heartbeatTimeout: "15 seconds",
    retry: { initialInterval: "1 second", backoffCoefficient: 3, maximumInterval: "30 seconds", maximumAttempts: 3 },
    ...options,
  });
}

/** Work on our own database, mostly short, which may be away for minutes. However long a step may take, that a worker died with it is noticed at once. */
export function databaseActivities(options: ActivityOptions = {}) {
  return proxyActivities<Activities>({
    startToCloseTimeout: "30 seconds",
    scheduleToCloseTimeout: "1 hour",
    heartbeatTimeout: "15 seconds",
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "15 seconds" },
    ...options,
  });
}

/** The same without a hop, for the hot loop; falls back to timers of the workflow when the database is away for longer. */
export function localActivities() {
  return proxyLocalActivities<Activities>({
    startToCloseTimeout: "10 seconds",
    scheduleToCloseTimeout: "1 hour",
    localRetryThreshold: "5 seconds",
    retry: { initialInterval: "200 milliseconds", backoffCoefficient: 2, maximumInterval: "15 seconds" },
  });
}

/** An IDLE shard: one slot for hundreds of connections, for as long as it is let. */
export function idleActivities() {
  return proxyActivities<Activities>({
    taskQueue: queue("idle"),
    startToCloseTimeout: "24 hours",
    // Three of the worker's heartbeat intervals: for this long nobody listens after a worker died.
    heartbeatTimeout: "15 seconds",
    cancellationType: "WAIT_CANCELLATION_COMPLETED",
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "30 seconds" },
  });
}

/** A drain runs for a minute and then finishes what is under way; who falls silent is dead, and another worker takes over. */
export function relayActivities() {
  return proxyActivities<Activities>({
    taskQueue: queue("webhooks"),
    startToCloseTimeout: "3 minutes",
    scheduleToCloseTimeout: "1 hour",
    heartbeatTimeout: "30 seconds",
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "30 seconds" },
    summary: "deliver what is due",
  });
}
